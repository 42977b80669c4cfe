"""watchdog: end this process if one of its handlers will not end, or if nothing can end one any more.

Runs in the heart's thread, so that a blocked event loop cannot stop it. A coroutine past its deadline (or its cancel)
and the grace costs its process. If the loop still turns, the worker drains at once and ends in order. If it does not,
this thread does what is left: it records the attempt that is to blame, gives all others back, and ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import math
import signal
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from taskflow.domain.attempt import Cancelled, ErrorInfo, Outcome, Released, TimedOut
from taskflow.domain.task import Claimed
from taskflow.handlers.held import Held
from taskflow.handlers.outcomes import error_info
from taskflow.handlers.runner import Runner
from taskflow.kit.lifecycle import EXIT_BROKEN, end_now
from taskflow.kit.logging import get_logger

log = get_logger(__name__)

LOOK_SECONDS = 0.5
SILENT_SECONDS = 2.0
"""A loop that has not answered for so long is blocked."""
STUCK_SECONDS = 1.0
"""How long a coroutine may go on after its grace until it costs the process."""
LAST_STEPS_SECONDS_MAX = 30.0
"""How long the orderly end of a process may take, on top of the grace."""
_REASON = "the worker process had to end: another of its handlers would not"

GiveUp = Callable[[list[tuple[Claimed, Outcome]]], Awaitable[None]]
"""Record these ends and hand back whatever else runs under this worker's name; on the watching thread."""


class Verdict(NamedTuple):
    """What becomes of each handler when the process ends; `culprits` are named in the log."""

    ends: list[tuple[Claimed, Outcome]]
    culprits: list[str]


class Watchdog:
    """Looks twice a second. `on_stuck` is called on the event loop, `give_up` awaited on the watching thread."""

    def __init__(
        self,
        runner: Runner,
        held: Callable[[], dict[tuple[str, int], Claimed]],
        *,
        grace_seconds: float,
        lease_seconds: float,
        on_stuck: Callable[[], None],
        give_up: GiveUp,
    ) -> None:
        self._runner = runner
        self._held = held
        self._grace_seconds = grace_seconds
        self._lease_seconds = lease_seconds
        self._on_stuck = on_stuck
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._heard_at = time.monotonic()
        self._looked_at = time.monotonic()
        self._strangers: dict[tuple[str, int], float] = {}
        self._ending = False

    async def run(self) -> None:
        """Look until cancelled; on the watching thread."""
        guard_against_hogs(self._lease_seconds)
        try:
            while True:
                await self._look()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def learn(self, running: set[tuple[str, int]], held_before: dict[tuple[str, int], Claimed]) -> None:
        """A beat told what PostgreSQL believes: of what was held then, the rest is not wanted any more."""
        now = time.monotonic()
        strange = held_before.keys() - running
        self._strangers = {key: self._strangers.get(key, now) for key in strange}

    async def _look(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, _hog_seconds(self._lease_seconds))
        now = time.monotonic()
        if now - self._looked_at > SILENT_SECONDS:  # the process itself stood still: give the loop its time
            self._heard_at = now
        self._looked_at = now
        blocked = now - self._heard_at > SILENT_SECONDS
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._heard)
        if blocked:
            await self._judge_blocked(now)
        elif not self._ending and any(
            now - since > STUCK_SECONDS for since in self._runner.stuck.copy().values()
        ):
            self._end_in_order()

    def _heard(self) -> None:
        self._heard_at = time.monotonic()

    def _end_in_order(self) -> None:
        self._ending = True
        log.error(
            "handler.overran",
            tasks=[key[0] for key in self._runner.stuck.copy()],
        )
        fuse = threading.Timer(
            self._grace_seconds + LAST_STEPS_SECONDS_MAX,
            end_now,
            [EXIT_BROKEN, "the end in order took too long"],
        )
        fuse.daemon = True
        fuse.start()
        self._loop.call_soon_threadsafe(self._on_stuck)

    async def _judge_blocked(self, now: float) -> None:
        """The loop does not turn: it cannot end what is overdue, so this thread does."""
        watched = self._runner.watched()
        overdue = [held for held in watched if now > self._over_at(held) + self._grace_seconds]
        for held in overdue:
            if (kill := held.kill) is not None and held.stopping is None:
                log.warning("handler.killed", task_id=held.claimed.id)
                held.stopping = TimedOut(_overdue(held.claimed, "and was killed: the event loop was blocked"))
                kill()
        culprits = [held for held in overdue if held.coroutine is not None]
        abandoned = not watched and now - self._heard_at > SILENT_SECONDS + 2 * self._lease_seconds
        if culprits or abandoned or self._runner.stuck:
            await self._end_at_once(watched, culprits)

    def _over_at(self, held: Held) -> float:
        return min(held.over_at, self._strangers.get((held.claimed.id, held.claimed.version), math.inf))

    async def _end_at_once(self, watched: list[Held], overdue: list[Held]) -> None:
        self._runner.refuse()  # or what begins from now on would run again elsewhere, as if it had not begun
        stack = self._stack()
        verdict = self._verdict(watched, overdue, stack)
        log.error("loop.blocked", tasks=verdict.culprits, stack=stack)
        self._runner.signal_children(signal.SIGSTOP)  # their tasks are about to be handed back
        try:
            await asyncio.wait_for(self._give_up(verdict.ends), self._lease_seconds)
        except Exception as error:  # rescue will take what could not be handed back
            log.error("handback.failed", error=repr(error))  # noqa: TRY400 - one line is enough
        self._runner.signal_children(signal.SIGKILL)
        end_now(EXIT_BROKEN, "a handler blocked the event loop")

    def _verdict(self, watched: list[Held], overdue: list[Held], stack: str) -> Verdict:
        """Who is on the loop is to blame; if that cannot be told, all who are overdue, unless one was given up before."""
        on_loop = [held for held in overdue if self._is_on_loop(held)]
        blamed = on_loop or ([] if self._runner.stuck else overdue)
        keys = {(held.claimed.id, held.claimed.version): held for held in watched}
        ends: list[tuple[Claimed, Outcome]] = []
        for task in self._held().values():
            held = keys.get((task.id, task.version))
            ends.append((task, self._end(task, held, held in blamed, stack)))
        return Verdict(ends, [held.claimed.id for held in blamed])

    def _end(self, task: Claimed, held: Held | None, blamed: bool, stack: str) -> Outcome:
        if (task.id, task.version) in self._strangers:
            return Cancelled()
        if held is not None and blamed:
            error = _overdue(
                task, "and blocked the worker's event loop, so that its process was ended", stack
            )
            return held.stopping or TimedOut(error)
        return Released(_REASON, begun=held is None or held.begun)

    def _is_on_loop(self, held: Held) -> bool:
        return held.coroutine is not None and asyncio.current_task(self._loop) is held.coroutine

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._thread_id)
        return "" if frame is None else "".join(traceback.format_stack(frame, limit=-30))


def guard_against_hogs(lease_seconds: float) -> None:
    """Have the kernel end this process if it computes for long without letting any thread of Python run.

    A C call that keeps the interpreter lock (a runaway regular expression) stops the watchdog too. It winds up this
    timer at each look; the timer counts the process's CPU time, so that a process that was stopped (SIGSTOP) or
    starved is not taken for one that hogs. Before SIGPROF ends the process, faulthandler writes its stacks.
    """
    with contextlib.suppress(
        AttributeError, RuntimeError, ValueError, OSError
    ):  # no such signal, no real stderr
        faulthandler.register(signal.SIGPROF, chain=True)
    signal.setitimer(signal.ITIMER_PROF, _hog_seconds(lease_seconds))


def _hog_seconds(lease_seconds: float) -> float:
    return 2 * lease_seconds + 3


def _overdue(task: Claimed, how: str, trace: str | None = None) -> ErrorInfo:
    return error_info(
        "TimedOut", f"the handler did not end in time ({task.timeout_seconds:g} s) {how}", trace
    )
