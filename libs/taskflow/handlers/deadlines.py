"""Deadlines of running handlers: one timer for all of them, for one each would cost every small task its making.

Used by coroutines and children.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable

from taskflow.handlers.held import Held
from taskflow.handlers.outcomes import timed_out

LOOK_SECONDS_MIN = 0.02
"""Looks are at least so far apart, so that thousands of deadlines close together cost few of them."""
_EARLY_SECONDS = 0.002
"""Timers of the loop count whole milliseconds, and may ring by so much too soon."""


class Deadlines:
    """Stops every handler whose time is over, at most `LOOK_SECONDS_MIN` late. `held()` gives what runs."""

    def __init__(self, held: Callable[[], Iterable[Held]]) -> None:
        self._held = held
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._next_at = math.inf

    def watch(self, held: Held) -> None:
        """Its handler is about to be called: its time begins."""
        held.over_at = over_at = time.monotonic() + held.claimed.timeout_seconds
        if over_at < self._next_at:
            self._arm(over_at, over_at - held.claimed.timeout_seconds)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, at: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next_at = at
        self._timer = self._loop.call_later(max(at - now, 0), self._look)

    def _look(self) -> None:
        now = time.monotonic()
        self._timer, self._next_at = None, math.inf
        nearest = math.inf
        for held in list(self._held()):
            if held.stopping is not None or held.ended:
                continue
            if held.over_at <= now + _EARLY_SECONDS:
                held.stop(timed_out(held.claimed))
            else:
                nearest = min(nearest, held.over_at)
        if nearest < self._next_at:  # a stop may have armed it already
            self._arm(max(nearest, now + LOOK_SECONDS_MIN), now)
