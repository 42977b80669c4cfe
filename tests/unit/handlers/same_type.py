"""Declares a type that `samples` declares too."""

from __future__ import annotations

from typing import Any

from taskflow import task


@task("co.echo")
async def another(payload: dict[str, Any]) -> dict[str, Any]:
    return payload
