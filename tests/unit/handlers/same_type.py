"""Declares a type that `samples` declares too."""

from __future__ import annotations

from taskflow import task


@task("co.echo")
async def another(payload: dict) -> dict:  # type: ignore[type-arg]
    return payload
