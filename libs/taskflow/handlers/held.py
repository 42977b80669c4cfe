"""A task in this worker's hands: what it is, and why its handler has to end, once it has to."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from taskflow.domain.attempt import Cancelled, Released, TimedOut
from taskflow.domain.task import Claimed

End = TimedOut | Cancelled | Released
"""Why a handler is stopped, as the outcome to report."""


def nobody() -> None:
    """Nothing runs yet that could be stopped."""


class Held:
    """One call of `Runner.run`. Who runs the handler sets `on_stop`, which `stop` calls once, and `ended`.

    `over_at`: when the handler has to begin to end, by `time.monotonic`: at its deadline, or when it was stopped.
    `coroutine`: the loop's task that runs it; `kill`: ends the child process that runs it, from any thread.
    """

    __slots__ = ("begun", "claimed", "coroutine", "ended", "kill", "on_stop", "over_at", "stopping")

    def __init__(self, claimed: Claimed) -> None:
        self.claimed = claimed
        self.begun = False
        self.ended = False
        self.stopping: End | None = None
        self.on_stop: Callable[[], object] = nobody
        self.over_at = math.inf
        self.coroutine: asyncio.Task[None] | None = None
        self.kill: Callable[[], object] | None = None

    def begin(self) -> None:
        """The handler is about to be called: its time begins."""
        self.over_at = time.monotonic() + self.claimed.timeout_seconds

    def stop(self, end: End) -> None:
        """Have the handler end. The first reason stands, but a cancel outranks the others."""
        if self.ended:
            return
        if self.stopping is None:
            self.stopping = end
            self.over_at = min(self.over_at, time.monotonic())
            self.on_stop()
        elif isinstance(end, Cancelled):
            self.stopping = end

    def end(self) -> End | None:
        """The outcome of a handler that was stopped."""
        if isinstance(self.stopping, Released) and not self.begun:
            return Released(self.stopping.reason, begun=False)
        return self.stopping
