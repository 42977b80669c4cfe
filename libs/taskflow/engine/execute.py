"""execute: run the handlers of won tasks, each in a slot, and hand what they came to to `record`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from taskflow.domain.attempt import Cancelled, Outcome, Released
from taskflow.domain.task import Claimed
from taskflow.engine.lines import LineKeeper
from taskflow.engine.record import Recorder
from taskflow.engine.slots import Slots
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
        *,
        on_free: Callable[[], None],
    ) -> None:
        self._runner = runner
        self._recorder = recorder
        self._lines = lines
        self._slots = slots
        self._on_free = on_free
        self._isolated = asyncio.Semaphore(ISOLATED_MAX)
        self._waiting: dict[tuple[str, int], asyncio.Future[Outcome]] = {}
        self._attempts: dict[asyncio.Task[None], Claimed] = {}
        self.held: dict[tuple[str, int], Claimed] = {}
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, task: Claimed) -> None:
        """Begin an attempt; its slot is busy from now on."""
        self._slots.busy += 1
        self._slots.held += 1
        self.held[(task.id, task.version)] = task
        attempt = asyncio.create_task(self._attempt(task))
        self._attempts[attempt] = task
        attempt.add_done_callback(self._ended)

    def cancel(self, task_id: str, version: int) -> bool:
        """Stop the handler that runs this version of a task, if one does."""
        key = (task_id, version)
        task = self.held.get(key)
        if task is None or (key not in self._waiting and key not in self._runner.held()):
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
        if self._attempts:
            await asyncio.wait(list(self._attempts), timeout=timeout_seconds)
        if self._attempts:
            log.info("drain is over, handing back", count=len(self._attempts))
            self.release_all("the worker is shutting down")
            await asyncio.wait(list(self._attempts), timeout=grace_seconds + RECORD_SECONDS_MAX)

    async def _attempt(self, task: Claimed) -> None:
        try:
            outcome = await (self._run_alone(task) if task.losses else self._runner.run(task))
        finally:
            self._slots.busy -= 1
            self._on_free()
        await self._lines.flushed(task)
        await self._recorder.finish(task, outcome)

    async def _run_alone(self, task: Claimed) -> Outcome:
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
            return await self._runner.run(task, isolated=True)
        finally:
            self._waiting.pop(key, None)
            if not turn.cancel():
                self._isolated.release()

    def _unwanted(self, task: Claimed, outcome: Outcome) -> None:
        stopped = self._waiting.get((task.id, task.version))
        if stopped is not None and not stopped.done():
            stopped.set_result(outcome)

    def _ended(self, attempt: asyncio.Task[None]) -> None:
        task = self._attempts.pop(attempt)
        if self._slots.ended():
            self._on_free()
        del self.held[(task.id, task.version)]
        with contextlib.suppress(asyncio.CancelledError):
            error = attempt.exception()
            if error is not None and not self.failed.done():
                self.failed.set_exception(error)
