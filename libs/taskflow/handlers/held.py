"""A task in this worker's hands: what it is, and why its handler has to end, once it has to."""

from __future__ import annotations

from collections.abc import Callable

from taskflow.domain.attempt import Cancelled, Released, TimedOut
from taskflow.domain.task import Claimed

End = TimedOut | Cancelled | Released
"""Why a handler is stopped, as the outcome to report."""


def nobody() -> None:
    """Nothing runs yet that could be stopped."""


class Held:
    """One call of `Runner.run`. Who runs the handler sets `on_stop`, which `stop` calls once, and `ended`."""

    __slots__ = ("begun", "claimed", "ended", "on_stop", "stopping")

    def __init__(self, claimed: Claimed) -> None:
        self.claimed = claimed
        self.begun = False
        self.ended = False
        self.stopping: End | None = None
        self.on_stop: Callable[[], object] = nobody

    def stop(self, end: End) -> None:
        """Have the handler end. The first reason stands, but a cancel outranks the others."""
        if self.ended:
            return
        if self.stopping is None:
            self.stopping = end
            self.on_stop()
        elif isinstance(end, Cancelled):
            self.stopping = end

    def end(self) -> End | None:
        """The outcome of a handler that was stopped."""
        if isinstance(self.stopping, Released) and not self.begun:
            return Released(self.stopping.reason, begun=False)
        return self.stopping
