"""The children of a worker: processes for `def` handlers, started on demand, kept warm, killed when need be.

Used by the runner. A child runs one handler at a time; one that was stopped, or died, is never used again.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from taskflow.domain.attempt import DIED, Failed, Outcome, TimedOut
from taskflow.domain.task import Claimed
from taskflow.handlers.coroutines import History
from taskflow.handlers.deadlines import Deadlines
from taskflow.handlers.frames import Bye, Line, Stop
from taskflow.handlers.held import Held
from taskflow.handlers.outcomes import error_info, timed_out
from taskflow.handlers.process import LAST_WORDS_SECONDS_MAX, ChildProcess

START_SECONDS_MAX = 60.0
"""How long a child may take to import its handlers."""
IDLE_SECONDS_MAX = 60.0
"""How long a child without work is kept."""
BYE_SECONDS_MAX = 1.0


class Children:
    """As many children as `def` handlers run at once; `slots` at most are kept warm."""

    def __init__(
        self,
        imports: Sequence[str],
        slots: int,
        grace_seconds: float,
        deadlines: Deadlines,
        on_history: History,
        idle_seconds: float = IDLE_SECONDS_MAX,
    ) -> None:
        self._imports = imports
        self._deadlines = deadlines
        self._slots = slots
        self._grace_seconds = grace_seconds
        self._idle_seconds = idle_seconds
        self._on_history = on_history
        self._loop = asyncio.get_running_loop()
        self._living: set[ChildProcess] = set()
        self._idle: list[ChildProcess] = []
        self._partings: set[asyncio.Task[None]] = set()
        self._tidying: asyncio.TimerHandle | None = None

    @property
    def pids(self) -> list[int]:
        """The process ids of the living children."""
        return [child.pid for child in self._living]

    def signal(self, number: signal.Signals) -> None:
        """Signal every living child with all it started; from any thread."""
        for child in self._living.copy():
            child.signal(number)

    async def run(self, held: Held, isolated: bool) -> Outcome:
        """Run one handler in a child until it has really ended; `isolated`: in a fresh one of its own."""
        stopped: asyncio.Future[None] = self._loop.create_future()
        held.on_stop = lambda _: _resolve(stopped)
        child = self._idle.pop() if self._idle and not isolated else None
        reusable = False
        try:
            if child is None:
                try:
                    child = self._started()
                except OSError as error:
                    return Failed(error_info("ChildNotStarted", f"cannot start a child process: {error}"))
                failure = await self._failure_to_start(child, stopped)
                if failure is not None or stopped.done():
                    return held.end() or failure or _not_ready()
            outcome, reusable = await self._called(child, held, stopped)
            return outcome
        finally:
            if child is not None:
                self._put_back(child, warm=reusable and not isolated, busy=not reusable)

    async def close(self) -> None:
        """End all children; none is left."""
        if self._tidying is not None:
            self._tidying.cancel()
        while self._idle:
            self._part_with(self._idle.pop())
        if self._partings:
            await asyncio.wait(set(self._partings))
        for child in list(self._living):
            await child.end(0)
            if child.exited.done():  # the callback that says so may come a turn of the loop later
                self._forget(child)

    def _started(self) -> ChildProcess:
        if self._idle and len(self._living) >= self._slots:
            self._part_with(self._idle.pop(0))
        child = ChildProcess(self._imports)
        child.start()
        self._living.add(child)
        child.exited.add_done_callback(lambda _: self._forget(child))
        return child

    async def _failure_to_start(self, child: ChildProcess, stopped: asyncio.Future[None]) -> Failed | None:
        """Wait until the child has imported its handlers, or cannot."""
        await child.greet()
        await _first(child.ready, child.exited, stopped, timeout=START_SECONDS_MAX)
        if child.exited.done():
            await _first(child.ready, child.closed, timeout=LAST_WORDS_SECONDS_MAX)
        if child.ready.done():
            error = child.ready.result()
            return None if error is None else Failed(error)
        if child.exited.done():
            how = _how(child.exited.result())
            return Failed(error_info("ChildNotStarted", f"the child process ended while it imported: {how}"))
        return None if stopped.done() else _not_ready()

    async def _called(
        self, child: ChildProcess, held: Held, stopped: asyncio.Future[None]
    ) -> tuple[Outcome, bool]:
        """Run the handler in `child`: the outcome, and whether the child can be used again."""
        claimed = held.claimed
        held.begun = True
        self._deadlines.watch(held)
        held.kill = partial(child.signal, signal.SIGKILL)
        deadline = time.time() + claimed.timeout_seconds
        result = child.call(claimed, deadline, partial(self._on_line, claimed))
        try:
            await _first(result, child.exited, stopped)
        finally:
            held.kill = None
        if child.exited.done():
            await _first(result, child.closed, timeout=LAST_WORDS_SECONDS_MAX)
        if result.done():
            return result.result(), not child.exited.done()
        if held.stopping is not None:
            return await self._stopped(child, held), False
        how = _how(child.exited.result())
        return Failed(error_info(DIED, f"the handler's process died: {how}"), died=True), False

    async def _stopped(self, child: ChildProcess, held: Held) -> Outcome:
        """SIGTERM to the group, after the grace SIGKILL; returns when the process is gone."""
        child.send(Stop())
        child.signal(signal.SIGTERM)
        await asyncio.wait({child.exited}, timeout=self._grace_seconds)
        killed = not child.exited.done()
        await child.end(0)
        outcome = held.end()
        if outcome is None or (killed and isinstance(outcome, TimedOut)):
            return timed_out(
                held.claimed, f"did not end within {self._grace_seconds:g} s of grace and was killed"
            )
        return outcome

    def _on_line(self, claimed: Claimed, line: Line) -> None:
        self._on_history(claimed, line.kind, line.level, line.text, line.fraction)

    def _put_back(self, child: ChildProcess, warm: bool, busy: bool) -> None:
        if busy:
            child.signal(signal.SIGKILL)
        elif warm and child in self._living:
            child.idle_since = self._loop.time()
            self._idle.append(child)
            if self._tidying is None:
                self._tidying = self._loop.call_later(self._idle_seconds, self._tidy)
        else:
            self._part_with(child)

    def _tidy(self) -> None:
        """End the children that have had no work for long; the list is in the order of their last work."""
        now = self._loop.time()
        while self._idle and now - self._idle[0].idle_since >= self._idle_seconds:
            self._part_with(self._idle.pop(0))
        wait = self._idle_seconds - (now - self._idle[0].idle_since) if self._idle else None
        self._tidying = None if wait is None else self._loop.call_later(wait, self._tidy)

    def _part_with(self, child: ChildProcess) -> None:
        parting = self._loop.create_task(_part(child))
        self._partings.add(parting)
        parting.add_done_callback(self._partings.discard)

    def _forget(self, child: ChildProcess) -> None:
        self._living.discard(child)
        if child in self._idle:
            self._idle.remove(child)


async def _first(*futures: asyncio.Future[Any], timeout: float | None = None) -> None:
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


async def _part(child: ChildProcess) -> None:
    child.send(Bye())
    await child.end(BYE_SECONDS_MAX)


def _not_ready() -> Failed:
    message = f"the child process did not import its handlers within {START_SECONDS_MAX:g} s"
    return Failed(error_info("ChildNotStarted", message))


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
    return f"signal {-code} ({name}{', perhaps out of memory' if -code == signal.SIGKILL else ''})"
