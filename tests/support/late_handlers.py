"""A type that no worker declares until one with this module appears."""

from __future__ import annotations

from taskflow import task


@task("comes_late")
async def comes_late() -> str:
    """Run at last."""
    return "at last"
