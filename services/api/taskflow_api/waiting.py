"""Waiting inside a call: for a task to end, or for news of it, never past the drain."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from taskflow.domain.errors import NotFound
from taskflow.domain.task import Task
from taskflow.engine.waiting import Follower
from taskflow_api.operation import Call

if TYPE_CHECKING:
    from litestar.types import Receive


_LEFT = frozenset({"http.disconnect", "websocket.disconnect"})


async def task_when_done(call: Call, task_id: str, seconds: float, early: Follower | None = None) -> Task:
    """The task once it is terminal, else as it is after `seconds`, at the drain, or when the caller left.

    `early`: an ear for it that was open before it was made.
    """
    task: Task | None = None
    if seconds > 0 and not call.drain.draining:
        async with Race(drained=call.drain.begun(), gone=left(call.receive)) as race:
            waiting = race.start(
                "task", call.services.waiters.wait(task_id, seconds, early, call.caller.sees)
            )
            if "task" in await race.first(None):
                task = waiting.result()
    if task is None:
        task = await call.services.reader.task(task_id, call.caller.sees)
    if task is None:
        raise NotFound(f"there is no task {task_id}")
    return task


async def left(receive: Receive) -> None:
    """Wait until the caller has gone. The body must have been read."""
    while (await receive())["type"] not in _LEFT:
        pass


class Race:
    """Some waits by name, the first of which counts. Leaving the block ends the others."""

    def __init__(self, **waits: Coroutine[Any, Any, Any]) -> None:
        self._waits: dict[asyncio.Task[Any], str] = {}
        for name, wait in waits.items():
            self.start(name, wait)

    async def __aenter__(self) -> Race:
        return self

    def start(self, name: str, wait: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Add one more wait."""
        task = asyncio.ensure_future(wait)
        self._waits[task] = name
        return task

    async def first(self, timeout: float | None) -> set[str]:
        """The names of the waits that are over, none if `timeout` seconds pass. Raises what one raised."""
        done, _ = await asyncio.wait(self._waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        names = {self._waits.pop(task) for task in done}
        for task in done:
            task.result()
        return names

    async def __aexit__(self, *_: object) -> None:
        for task in self._waits:
            task.cancel()
        await asyncio.gather(*self._waits, return_exceptions=True)
