"""Handlers that will not end, each in its own way."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
import time
from typing import Any

from taskflow import Struct, task


class Stuck(Struct):
    """How long to be stuck; a file that gets this process's id, for the test to look at."""

    seconds: float = 3600.0
    path: str = ""


def _told(path: str) -> None:
    if path:
        with open(path, "a") as file:
            file.write(f"{os.getpid()}\n")


@task("swallows_cancel")
async def swallows_cancel(payload: Stuck) -> None:
    """Wait on, whatever it is told."""
    _told(payload.path)
    until = time.monotonic() + payload.seconds
    while time.monotonic() < until:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.1)


@task("blocks_loop")
async def blocks_loop(payload: Stuck) -> str:
    """Keep the event loop for itself, a little of it at a time free for other threads."""
    _told(payload.path)
    time.sleep(payload.seconds)  # noqa: ASYNC251 - that is the point
    return "at last"


@task("spins_on_loop")
async def spins_on_loop(payload: Stuck) -> None:
    """Compute on the event loop for ever."""
    _told(payload.path)
    while True:
        pass


@task("hogs_interpreter")
async def hogs_interpreter(payload: Stuck) -> Any:
    """Keep even the interpreter's lock: no thread of this process runs any more."""
    _told(payload.path)
    return re.match(r"(a+)+$", "a" * 40 + "b")


@task("leaves_a_spinner")
async def leaves_a_spinner(payload: Stuck) -> str:
    """End well, but leave something on the loop that soon blocks it for ever."""
    _told(payload.path)
    asyncio.get_running_loop().call_later(0.2, threading.Event().wait)
    return "fine"
