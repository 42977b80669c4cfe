"""execute: run the handlers of won tasks, each in a slot, and hand what they came to to `record`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from taskflow.domain.attempt import Cancelled, Deferred, Outcome, Released
from taskflow.domain.task import Claimed
from taskflow.engine.lines import LineKeeper
from taskflow.engine.meters import measure_run
from taskflow.engine.record import Recorder
from taskflow.engine.slots import Slots
from taskflow.engine.spans import AttemptSpans
from taskflow.engine.timings import Timings
from taskflow.handlers.runner import Runner
from taskflow.kit.logging import get_logger

log = get_logger(__name__)

ISOLATED_MAX = 10
"""How many tasks that lost a worker before run at once, each in a process of its own."""
ISOLATED_WAIT_SECONDS_MAX = 5.0
"""How long one waits for that here: well within the margin after which rescue takes a task for timed out."""

RECORD_SECONDS_MAX = 10.0
"""How long a drain waits for what was handed back to be recorded."""


class Executor:
    """The attempts under way: held from the won claim until their end is recorded."""

    def __init__(
        self,
        runner: Runner,
        recorder: Recorder,
        lines: LineKeeper,
        slots: Slots,
        timings: Timings,
        *,
        on_free: Callable[[], None],
    ) -> None:
        self._runner = runner
        self._recorder = recorder
        self._lines = lines
        self._slots = slots
        self._timings = timings
        self._on_free = on_free
        self._spans = AttemptSpans()
        self._isolated = asyncio.Semaphore(ISOLATED_MAX)
        self._waiting: dict[tuple[str, int], asyncio.Future[Outcome]] = {}
        self._slow: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.held: dict[tuple[str, int], Claimed] = {}
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        recorder.watch(self._recorded, self._fail)

    def start(self, task: Claimed) -> None:
        """Begin an attempt; its slot is busy from now on. A push takes one of its own kind."""
        if task.target is None:
            self._slots.busy += 1
        else:
            self._slots.pushing += 1
        self._slots.held += 1
        task.begun_at = time.monotonic()
        self._spans.begin(task)
        self.held[(task.id, task.version)] = task
        self._idle.clear()
        if task.losses and task.target is None:
            self._spawn(self._run_alone(task))
        else:
            self._runner.start(task, self._ended)

    def cancel(self, task_id: str, version: int) -> bool:
        """Stop the handler that runs this version of a task, if one does."""
        key = (task_id, version)
        task = self.held.get(key)
        if task is None or (key not in self._waiting and not self._runner.holds(task_id, version)):
            return False
        self._runner.cancel(task.id, task.version)
        self._unwanted(task, Cancelled())
        return True

    def release_all(self, reason: str) -> None:
        """Stop every handler; what they did not finish goes back."""
        for task in list(self.held.values()):
            self._runner.release(task.id, task.version, reason)
            self._unwanted(task, Released(reason, begun=False))

    async def drain(self, timeout_seconds: float, grace_seconds: float) -> None:
        """Let handlers finish; those that are not done in time are stopped and handed back."""
        await self._emptied(timeout_seconds)
        if self.held:
            log.info("drain.expired", count=len(self.held))
            self.release_all("the worker is shutting down")
            await self._emptied(grace_seconds + RECORD_SECONDS_MAX)

    async def _emptied(self, timeout_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout_seconds)

    def _ended(self, task: Claimed, outcome: Outcome | BaseException) -> None:
        """A handler has ended: its slot is free, what it came to is to be recorded, after what it said."""
        if task.target is None:
            self._slots.busy -= 1
            self._on_free()
        else:
            self._slots.pushing -= 1
        self._spans.end(task, outcome)
        if not (isinstance(outcome, Deferred) or (isinstance(outcome, Released) and not outcome.begun)):
            seconds = time.monotonic() - task.begun_at
            measure_run(task, seconds)
            self._timings.ran(task, seconds)
        if isinstance(outcome, BaseException):
            self._fail(outcome)
        elif self._lines.pending(task):
            self._spawn(self._record_after_lines(task, outcome))
        else:
            self._record(task, outcome)

    async def _record_after_lines(self, task: Claimed, outcome: Outcome) -> None:
        await self._lines.flushed(task)
        self._record(task, outcome)

    def _record(self, task: Claimed, outcome: Outcome) -> None:
        try:
            self._recorder.add(task, outcome)
        except Exception as error:
            self._fail(error)

    def _recorded(self, tasks: Sequence[Claimed]) -> None:
        """Attempts are done with. Of those that others had recorded, nothing was held."""
        done = [task for task in tasks if self.held.pop((task.id, task.version), None) is not None]
        if self._slots.ended(len(done)):
            self._on_free()
        if not self.held:
            self._idle.set()

    def _fail(self, error: BaseException) -> None:
        """No fault of a handler: the worker cannot go on. That the loop closes is none."""
        if not self.failed.done() and not isinstance(error, asyncio.CancelledError):
            self.failed.set_exception(error)

    def _spawn(self, slow: Coroutine[Any, Any, None]) -> None:
        loop_task = asyncio.create_task(slow)
        self._slow.add(loop_task)
        loop_task.add_done_callback(self._over)

    def _over(self, loop_task: asyncio.Task[None]) -> None:
        self._slow.discard(loop_task)
        if not loop_task.cancelled() and (error := loop_task.exception()) is not None:
            self._fail(error)

    async def _run_alone(self, task: Claimed) -> None:
        self._ended(task, await self._outcome_alone(task))

    async def _outcome_alone(self, task: Claimed) -> Outcome:
        """In a process of its own, once there is room for one; a task that waits for that can still be stopped."""
        key = (task.id, task.version)
        stopped: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[key] = stopped
        turn = asyncio.create_task(self._isolated.acquire())
        try:
            either: set[asyncio.Future[Any]] = {turn, stopped}
            await asyncio.wait(either, timeout=ISOLATED_WAIT_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                return stopped.result()
            if not turn.done():
                return Released("it waits to run in a process of its own", begun=False)
            del self._waiting[key]
            task.begun_at = time.monotonic()
            return await self._runner.run(task, isolated=True)
        finally:
            self._waiting.pop(key, None)
            if not turn.cancel():
                self._isolated.release()

    def _unwanted(self, task: Claimed, outcome: Outcome) -> None:
        stopped = self._waiting.get((task.id, task.version))
        if stopped is not None and not stopped.done():
            stopped.set_result(outcome)
