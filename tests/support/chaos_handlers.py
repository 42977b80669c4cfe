"""Handlers that say too much."""

from __future__ import annotations

import asyncio
from typing import Any

from taskflow import Context, Struct, task


class Flood(Struct):
    """How often to speak."""

    times: int


@task("flood", timeout_seconds=60)
async def flood(payload: Flood, context: Context) -> int:
    """Log without ever yielding."""
    for n in range(payload.times):
        context.log(f"line {n}")
    return payload.times


@task("flood_in_child", timeout_seconds=60)
def flood_in_child(payload: Flood, context: Context) -> int:
    """Log from a child process."""
    for n in range(payload.times):
        context.log(f"line {n}")
    return payload.times


@task("reports", timeout_seconds=60)
async def reports(payload: Flood, context: Context) -> Any:
    """Report progress all the time."""
    for n in range(payload.times):
        context.progress((n + 1) / payload.times, f"step {n}")
        if n % 10 == 0:
            await asyncio.sleep(0)
    return payload.times
