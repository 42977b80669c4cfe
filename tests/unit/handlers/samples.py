"""Handlers of every kind, good and bad, for the tests of how handlers run. Imported by child processes too."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import logging
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from msgspec import Raw

from taskflow import Context, PermanentError, RetryLater, Snooze, Struct, task


class Typed(Struct):
    width: int


class Place(Struct):
    path: str


class Unprintable(Exception):
    def __str__(self) -> str:
        raise SystemExit("not even this")


class OddSnooze(Snooze):
    def __init__(self) -> None:
        """Forgets the delay."""


RESULTS: dict[str, Any] = {
    "nan": math.nan,
    "set": {1, 2},
    "object": object(),
    "keys": {1: 2},
    "large": "x" * 300 * 1024,
    "surrogate": {"a\ud800": ["\udfff"]},
    "nul": "a\x00b",
}


def _raise(kind: str) -> None:
    match kind:
        case "plain":
            raise ValueError("wrong \x00 \ud800 value")
        case "permanent":
            raise PermanentError("never")
        case "later":
            raise RetryLater(7, "soon")
        case "snooze":
            raise Snooze(3, "not yet")
        case "odd":
            raise OddSnooze
        case "exit":
            sys.exit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "cancelled":
            raise asyncio.CancelledError
        case "unprintable":
            raise Unprintable
        case "enormous":
            raise ValueError("x" * 10_000_000)
        case _:
            raise AssertionError(f"no such kind: {kind}")


@task("co.echo")
async def co_echo(payload: Raw) -> Raw:
    return payload


@task("co.typed", timeout_seconds=5, max_attempts=2)
async def co_typed(payload: Typed, context: Context) -> dict[str, Any]:
    return {"twice": payload.width * 2, "task": context.task_id}


@task("co.nothing")
async def co_nothing() -> None: ...


@task("co.result")
async def co_result(payload: str) -> Any:
    return RESULTS[payload]


@task("co.raise")
async def co_raise(payload: str) -> None:
    _raise(payload)


@task("co.sleep")
async def co_sleep(payload: Any, context: Context) -> None:
    context.log("begun")
    try:
        await asyncio.sleep(60)
    finally:
        context.log(f"tidied, cancelled={context.cancelled}")


LET_GO = threading.Event()


@task("co.swallow")
async def co_swallow() -> str:
    """Ends only when it is let go."""
    while not LET_GO.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.02)
    return "late"


@task("co.talk")
async def co_talk(payload: Any, context: Context) -> None:
    _talk(context)
    await context.progress(0.5, "half")
    await context.log("awaited")
    await asyncio.to_thread(print, "from a thread")


@task("co.pid")
async def co_pid() -> int:
    return os.getpid()


@task("def.pid")
def def_pid() -> int:
    return os.getpid()


@task("def.typed")
def def_typed(payload: Typed, context: Context) -> dict[str, Any]:
    return {"twice": payload.width * 2, "task": context.task_id, "key": context.idempotency_key}


@task("def.result")
def def_result(payload: str) -> Any:
    return RESULTS[payload]


@task("def.raise")
def def_raise(payload: str) -> None:
    _raise(payload)


@task("def.talk")
def def_talk(payload: Any, context: Context) -> None:
    _talk(context)
    thread = threading.Thread(target=print, args=("from a thread",))
    thread.start()
    thread.join()


def _talk(context: Context) -> None:
    context.log.debug("detail")
    logging.getLogger("some.library").info("by %s", "logging")
    print("by print")
    print("in parts", end="")
    print("", "and more", file=sys.stdout)
    print("to stderr", file=sys.stderr)
    print("no newline", end="")
    context.progress(0.25)


@task("def.spin")
def def_spin(payload: Place) -> None:
    """Computes for ever, with a grandchild that sleeps."""
    grandchild = subprocess.Popen(["sleep", "60"])
    Path(payload.path).write_text(f"{os.getpid()} {grandchild.pid}")
    while True:
        pass


@task("def.tidy")
def def_tidy(payload: Place, context: Context) -> None:
    try:
        context.log("begun")
        time.sleep(60)
    finally:
        Path(payload.path).write_text(f"cancelled={context.cancelled}")
        context.log("tidied")


@task("def.stubborn")
def def_stubborn(payload: Any, context: Context) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    context.log("begun")
    time.sleep(60)


@task("def.swallow")
def def_swallow(payload: Any, context: Context) -> str:
    context.log("begun")
    try:
        time.sleep(60)
    except BaseException:
        return "late"
    return "never"


@task("def.gil")
def def_gil(payload: Any, context: Context) -> None:
    """Loops in C for ever and never gives up the interpreter's lock."""
    context.log("begun")
    sum(itertools.repeat(0))


@task("def.exit")
def def_exit(payload: int) -> None:
    subprocess.Popen(["sleep", "60"])
    print("last words", flush=True)
    os._exit(payload)


@task("def.segfault")
def def_segfault() -> None:
    ctypes.string_at(0)


@task("def.fork")
def def_fork(payload: Any, context: Context) -> int:
    """Forks by hand and by multiprocessing; the copies must not answer for it."""
    if (pid := os.fork()) == 0:
        print("from the copy")
        return -1
    os.waitpid(pid, 0)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return int(pool.apply(abs, (-5,)))
