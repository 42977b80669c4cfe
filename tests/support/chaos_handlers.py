"""Handlers that say much or too much, take their process along, or cannot be ended but by force."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from taskflow import Context, PermanentError, Snooze, Struct, task


class Flood(Struct):
    """How often to speak."""

    times: int


class Place(Struct):
    """A file for the pids of the handler and of what it started."""

    path: str


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


@task("kills_its_process")
async def kills_its_process() -> None:
    """Die, and take along whatever runs in the same process."""
    os.kill(os.getpid(), signal.SIGKILL)


def _tell_pids(path: str) -> None:
    """Start a grandchild that ignores SIGTERM too, and write both pids down."""
    grandchild = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600"])
    draft = Path(f"{path}.new")
    draft.write_text(f"{os.getpid()} {grandchild.pid}")
    draft.replace(path)


@task("spins_in_child", timeout_seconds=2)
def spins_in_child(payload: Place) -> None:
    """Compute for ever."""
    _tell_pids(payload.path)
    while True:
        pass


@task("ignores_sigterm", timeout_seconds=2)
def ignores_sigterm(payload: Place) -> None:
    """Sleep on, whatever is signalled or raised."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _tell_pids(payload.path)
    while True:
        with suppress(BaseException):
            time.sleep(600)


@task("stuck_in_c", timeout_seconds=2)
def stuck_in_c(payload: Place) -> None:
    """Loop in C and never give up the interpreter's lock."""
    _tell_pids(payload.path)
    sum(itertools.repeat(0))


class Chat(Struct):
    """How much to say, and how to end."""

    steps: int = 6
    pause_seconds: float = 0.1
    fails: int = 0
    snoozes_below: int = 0
    lives_lost: int = 0


@task("chats", timeout_seconds=60)
async def chats(payload: Chat, context: Context) -> int:
    """Say something all the time; snooze while the version is small, fail the first attempts, give up the first lives."""
    for step in range(payload.steps):
        context.log(f"line {step} of version {context.version}")
        context.progress((step + 1) / payload.steps, f"step {step}")
        await asyncio.sleep(payload.pause_seconds)
        if step == payload.steps // 2:
            _leave_off(payload, context)
    return payload.steps


def _leave_off(payload: Chat, context: Context) -> None:
    if context.version < payload.snoozes_below:
        raise Snooze(0.3)
    if context.life <= payload.lives_lost:
        raise PermanentError("not in this life")
    if context.attempt <= payload.fails:
        raise ValueError("the next attempt may help")
