"""The handlers that the measured workers run beside the built-in ones."""

from __future__ import annotations

import os
import time

from taskflow import PermanentError, Struct, task


@task("bench.stamp")
async def stamp() -> float:
    """When the handler really started. The payload holds when the caller meant to send it, by the same clock."""
    return time.time()


class Row(Struct):
    """A row to import; the cause of its failure is a file that is missing."""

    row: int
    cause: str


@task("bench.fails", max_attempts=1)
async def fails(payload: Row) -> int:
    """Fail for good, in fifty kinds, until the cause is gone."""
    if not os.path.exists(payload.cause):
        _fail(payload.row)
    return payload.row


def _fail(row: int) -> None:
    kind = type(f"Failure{chr(65 + row % 50 // 26)}{chr(65 + row % 50 % 26)}", (PermanentError,), {})
    raise kind(f"kind {row % 50} of row {row}")
