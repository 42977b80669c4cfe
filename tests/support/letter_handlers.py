"""Handlers for tests of dead letters: each fails until its cause, a file, is mended."""

from __future__ import annotations

import os

from taskflow import PermanentError, Struct, task


class Cause(Struct):
    """A file whose absence is the cause of a failure; `row` makes messages differ."""

    path: str
    row: int = 0


@task("imports", max_attempts=2)
async def imports(payload: Cause) -> str:
    """Fail twice while the file is missing."""
    if not os.path.exists(payload.path):
        raise LookupError(f"row {payload.row} needs '{payload.path}'")
    return "imported"


@task("mails")
async def mails(payload: Cause) -> str:
    """Fail for good at once while the file is missing."""
    if not os.path.exists(payload.path):
        raise PermanentError(f"no server for row {payload.row}")
    return "sent"


@task("breaks")
async def breaks(payload: Cause) -> str:
    """The type with a burial limit."""
    if not os.path.exists(payload.path):
        raise PermanentError("a bad deploy")
    return "mended"
