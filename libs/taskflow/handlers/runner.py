"""Runs the handlers of claimed tasks and says how each ended. Used by the engine's `execute`.

Coroutines run on the loop, functions in child processes; whatever a handler does, `run` returns an outcome.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from taskflow.domain.attempt import Cancelled, Outcome, Released
from taskflow.domain.task import Claimed
from taskflow.handlers.capture import Capture
from taskflow.handlers.children import IDLE_SECONDS_MAX, Children
from taskflow.handlers.coroutines import Coroutines, History
from taskflow.handlers.held import Held, nobody
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
        self._capture = Capture()
        self._closing: asyncio.Event | None = None
        self._refusing = False

    async def __aenter__(self) -> Self:
        self._coroutines = Coroutines(self._grace_seconds, self._on_history)
        self._children = Children(
            self._imports, self._slots, self._grace_seconds, self._on_history, self._idle_seconds
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
            await self._children.close()
            self._capture.__exit__(None, None, None)

    async def run(self, claimed: Claimed, isolated: bool = False) -> Outcome:
        """Run the handler of `claimed` until it has ended. `isolated`: in a child process of its own."""
        spec = self.registry.types.get(claimed.type)
        if spec is None:
            return Released(f"this worker has no handler for type {claimed.type!r}", begun=False)
        if self._closing is not None or self._refusing:
            return Released("the worker ended", begun=False)
        key = (claimed.id, claimed.version)
        held = self._held[key] = Held(claimed)
        try:
            if spec.is_async and not isolated:
                return await self._coroutines.run(spec, held)
            return await self._children.run(held, isolated)
        finally:
            held.on_stop = nobody  # it refers to `held`: a cycle for every task would keep the collector busy
            self._forget(key)

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

    def _forget(self, key: Key) -> None:
        del self._held[key]
        if self._closing is not None:
            self._closing.set()

    def _stop(self, key: Key, end: Cancelled | Released) -> None:
        held = self._held.get(key)
        if held is not None:
            held.stop(end)
