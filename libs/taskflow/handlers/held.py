"""A task in this worker's hands: what it is, and why its handler has to end, once it has to."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from taskflow.domain.attempt import Cancelled, Outcome, Released, TimedOut
from taskflow.domain.task import Claimed

if TYPE_CHECKING:
    from taskflow.handlers.context import Context

End = TimedOut | Cancelled | Released
"""Why a handler is stopped, as the outcome to report."""
OnEnd = Callable[[Claimed, Outcome | BaseException], None]
"""Told once how a handler ended. An exception is no fault of the handler's: the history failed, or the loop closes."""


def nobody(_held: Held) -> None:
    """Nothing runs yet that could be stopped."""


class Held:
    """One handler that is run. Who runs it sets `on_stop`, which `stop` calls once, and `ended`.

    `over_at`: when the handler has to begin to end, by `time.monotonic`: at its deadline, or when it was stopped.
    `coroutine`: the loop's task that runs it; `kill`: ends the child process that runs it, from any thread.
    `told`: how it ended is reported.
    """

    __slots__ = (
        "begun",
        "claimed",
        "context",
        "coroutine",
        "ended",
        "kill",
        "on_end",
        "on_stop",
        "over_at",
        "stopping",
        "told",
    )

    def __init__(self, claimed: Claimed, on_end: OnEnd) -> None:
        self.claimed = claimed
        self.on_end = on_end
        self.begun = False
        self.ended = False
        self.told = False
        self.stopping: End | None = None
        self.on_stop: Callable[[Held], object] = nobody
        self.over_at = math.inf
        self.context: Context | None = None
        self.coroutine: asyncio.Task[None] | None = None
        self.kill: Callable[[], object] | None = None

    def stop(self, end: End) -> None:
        """Have the handler end. The first reason stands, but a cancel outranks the others."""
        if self.ended:
            return
        if self.stopping is None:
            self.stopping = end
            self.over_at = min(self.over_at, time.monotonic())
            self.on_stop(self)
        elif isinstance(end, Cancelled):
            self.stopping = end

    def end(self) -> End | None:
        """The outcome of a handler that was stopped."""
        if isinstance(self.stopping, Released) and not self.begun:
            return Released(self.stopping.reason, begun=False)
        return self.stopping
