"""lookout: one look for all duties of the scheduler, so that a system with nothing to do sends one statement a tick.

A duty that the last look found nothing for rests; without a look of late, every duty looks for itself.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from taskflow.store import tending
from taskflow.store.connect import Line
from taskflow.store.tending import Signs

FRESH_SECONDS = 2.0
"""Less than the age at which a duty would act on a row (5 s for a doorbell, a lease for a claim): what was not there yet
at a look this young is none of its business now.
"""


class Lookout:
    """Looks when it is time to turn tasks, and remembers what it saw for the others."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._signs: Signs | None = None
        self._seen_at = 0.0

    async def look(self) -> Signs:
        """What there is to do at all."""
        began = time.monotonic()
        self._signs = await self._line.run(tending.look)
        self._seen_at = began
        return self._signs

    def none(self, wanted: Callable[[Signs], bool]) -> bool:
        """Whether it is known that there is nothing of this kind. Time in which this process stood still counts."""
        fresh = time.monotonic() - self._seen_at < FRESH_SECONDS
        return fresh and self._signs is not None and not wanted(self._signs)

    def unless_none(
        self, wanted: Callable[[Signs], bool], run_once: Callable[[], Awaitable[bool]]
    ) -> Callable[[], Awaitable[bool]]:
        """`run_once` of a duty that may be skipped while there is nothing of this kind."""

        async def run_if_wanted() -> bool:
            return not self.none(wanted) and await run_once()

        return run_if_wanted
