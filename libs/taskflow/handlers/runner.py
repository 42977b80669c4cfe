"""Runs the handlers of claimed tasks and says how each ended. Used by the engine's `execute`.

Coroutines run on the loop, functions in child processes; whatever a handler does, `run` returns an outcome.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self

from taskflow.domain.attempt import Cancelled, Outcome, Released
from taskflow.domain.task import Claimed
from taskflow.handlers.capture import Capture
from taskflow.handlers.children import IDLE_SECONDS_MAX, Children
from taskflow.handlers.coroutines import Coroutines, History
from taskflow.handlers.deadlines import Deadlines
from taskflow.handlers.held import Held, OnEnd, nobody
from taskflow.handlers.registry import Registry

Key = tuple[str, int]
"""A task's id and version."""


class Runner:
    """The handlers of one worker process. `imports`: what a child process imports to find them again."""

    def __init__(
        self,
        registry: Registry,
        *,
        imports: Sequence[str],
        slots: int,
        on_history: History,
        handler_grace: float = 5.0,
        idle_seconds: float = IDLE_SECONDS_MAX,
    ) -> None:
        self.registry = registry
        self._imports = tuple(imports)
        self._slots = slots
        self._grace_seconds = handler_grace
        self._idle_seconds = idle_seconds
        self._on_history = on_history
        self._held: dict[Key, Held] = {}
        self._runs: dict[asyncio.Task[None], Held] = {}
        self._capture = Capture()
        self._closing: asyncio.Event | None = None
        self._refusing = False

    async def __aenter__(self) -> Self:
        self._deadlines = Deadlines(self._held.values)
        self._coroutines = Coroutines(self._grace_seconds, self._deadlines, self._on_history, self._ended)
        self._children = Children(
            self._imports,
            self._slots,
            self._grace_seconds,
            self._deadlines,
            self._on_history,
            self._idle_seconds,
        )
        self._capture.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what still runs, and leave no process behind."""
        self._closing = asyncio.Event()
        try:
            for task_id, version in self.held():
                self.release(task_id, version, "the worker ended")
            while self._held:
                self._closing.clear()
                await self._closing.wait()
        finally:
            self._deadlines.close()
            await self._children.close()
            self._capture.__exit__(None, None, None)

    def start(self, claimed: Claimed, on_end: OnEnd, isolated: bool = False) -> None:
        """Run the handler of `claimed`; `on_end` is told once, on the loop. `isolated`: in a child process of its own."""
        spec = self.registry.handler_of(claimed)
        if spec is None:
            on_end(claimed, Released(f"this worker has no handler for type {claimed.type!r}", begun=False))
        elif self._closing is not None or self._refusing:
            on_end(claimed, Released("the worker ended", begun=False))
        else:
            held = self._held[(claimed.id, claimed.version)] = Held(claimed, on_end)
            if spec.is_async and not isolated:
                self._coroutines.start(spec, held)
            else:
                run = asyncio.create_task(self._run_in_child(held, isolated))
                self._runs[run] = held
                run.add_done_callback(self._runs.pop)

    async def run(self, claimed: Claimed, isolated: bool = False) -> Outcome:
        """Run the handler of `claimed` until it has ended. Cancelled, it gives the handler up."""
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.start(claimed, partial(_settle, ended), isolated)
        try:
            return await ended
        except asyncio.CancelledError:
            self._give_up((claimed.id, claimed.version))
            raise

    def cancel(self, task_id: str, version: int) -> None:
        """The task was cancelled: have its handler end; `run` then returns Cancelled."""
        self._stop((task_id, version), Cancelled())

    def release(self, task_id: str, version: int, reason: str) -> None:
        """The task is to be handed back: have its handler end; `run` then returns Released."""
        self._stop((task_id, version), Released(reason))

    def refuse(self) -> None:
        """Let no handler begin any more; from any thread. Whether one had begun can be told from then on."""
        self._refusing = True
        self._coroutines.refusing = True

    def held(self) -> set[Key]:
        """What is being run: a task's id and version each."""
        return set(self._held)

    def watched(self) -> list[Held]:
        """What is being run, for a thread that watches over it."""
        return list(self._held.copy().values())

    @property
    def stuck(self) -> dict[Key, float]:
        """Coroutines given up after their grace that still run, since when (`time.monotonic`).

        Only the end of this process ends them.
        """
        return self._coroutines.stuck

    def signal_children(self, number: signal.Signals) -> None:
        """Signal every living child process with all it started; from any thread."""
        self._children.signal(number)

    @property
    def child_pids(self) -> list[int]:
        """The process ids of the living child processes."""
        return self._children.pids

    def holds(self, task_id: str, version: int) -> bool:
        """Whether this version of a task is being run."""
        return (task_id, version) in self._held

    async def _run_in_child(self, held: Held, isolated: bool) -> None:
        try:
            outcome: Outcome | BaseException = await self._children.run(held, isolated)
        except BaseException as error:  # not the handler's: the history has failed, or the loop closes
            outcome = error
        held.on_stop = nobody  # it refers to what ran: a cycle for every task would keep the collector busy
        self._ended(held, outcome)

    def _ended(self, held: Held, outcome: Outcome | BaseException) -> None:
        self._held.pop((held.claimed.id, held.claimed.version), None)
        if self._closing is not None:
            self._closing.set()
        held.on_end(held.claimed, outcome)

    def _give_up(self, key: Key) -> None:
        held = self._held.get(key)
        if held is None:
            return
        if held.coroutine is not None:
            self._coroutines.give_up(held)
        for run, its in self._runs.items():
            if its is held:
                run.cancel()

    def _stop(self, key: Key, end: Cancelled | Released) -> None:
        held = self._held.get(key)
        if held is not None:
            held.stop(end)


def _settle(ended: asyncio.Future[Outcome], _claimed: Claimed, outcome: Outcome | BaseException) -> None:
    if ended.done():
        return
    if isinstance(outcome, BaseException):
        ended.set_exception(outcome)
    else:
        ended.set_result(outcome)
