"""The handlers that the measured workers run beside the built-in ones."""

from __future__ import annotations

import time

from taskflow import task


@task("bench.stamp")
async def stamp() -> float:
    """When the handler really started. The payload holds when the caller meant to send it, by the same clock."""
    return time.time()
