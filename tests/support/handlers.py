"""Handlers that the tests' workers run beside the built-in ones."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from typing import Any

from taskflow import Context, PermanentError, RetryLater, Snooze, Struct, task


class Nap(Struct):
    """How long to sleep."""

    seconds: float = 0.0


class Cause(Struct):
    """A file whose absence is the cause of a failure."""

    path: str


@task("nap")
async def nap(payload: Nap) -> dict[str, float]:
    """Sleep on the loop."""
    await asyncio.sleep(payload.seconds)
    return {"slept": payload.seconds}


@task("loaded_modules")
async def loaded_modules() -> list[str]:
    """What this worker has imported."""
    return sorted(sys.modules)


@task("nap_in_child")
def nap_in_child(payload: Nap) -> dict[str, int]:
    """Sleep in a child process."""
    time.sleep(payload.seconds)
    return {"pid": os.getpid()}


@task("needs_file", max_attempts=2)
async def needs_file(payload: Cause) -> dict[str, bool]:
    """Fail while a file is missing: the cause that an operator mends."""
    if not os.path.exists(payload.path):
        raise FileNotFoundError(payload.path)
    return {"found": True}


@task("gives_up")
async def gives_up() -> None:
    """Fail for good at once."""
    raise PermanentError("no attempt can help")


@task("comes_back")
async def comes_back(_payload: Any, context: Context) -> dict[str, int]:
    """Ask for a later attempt once."""
    if context.attempt == 1:
        raise RetryLater(0.1, "not yet")
    return {"attempt": context.attempt}


@task("snoozes")
async def snoozes(payload: dict[str, str], context: Context) -> dict[str, int]:
    """Snooze until a file is there."""
    if not os.path.exists(payload["path"]):
        raise Snooze(0.2)
    return {"attempt": context.attempt}


@task("talks")
async def talks(_payload: Any, context: Context) -> str:
    """Log, print, report progress."""
    context.log("said through the context", level="warning")
    logging.getLogger("talks").info("said through logging")
    print("said by print")
    context.progress(0.5, "half")
    await asyncio.sleep(0.05)
    context.progress(1.0, "whole")
    return "said"


@task("leaves")
async def leaves(payload: str) -> Any:
    """Leave what cannot be kept."""
    match payload:
        case "set":
            return {1, 2}
        case "nan":
            return float("nan")
        case "huge":
            return "x" * 300 * 1024
        case "surrogate":
            return "a\ud800b"
        case "nul_error":
            raise ValueError("a\x00b\ud800c")
        case _:
            return payload


@task("dies")
def dies() -> None:
    """End the child process under the handler."""
    os._exit(3)
