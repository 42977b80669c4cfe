"""timings: how long tasks waited and ran here, counted in memory and added to the series every few seconds.

Nothing is written while nothing happens. What cannot be written is kept and goes with the next; no task ever fails of it. A
worker that is killed takes the times of its last seconds with it: they are samples, the counts beside them are exact.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Self

from taskflow.domain.errors import Unavailable
from taskflow.domain.histogram import BUCKETS, bucket_of, merge, trimmed
from taskflow.domain.task import Claimed
from taskflow.kit.logging import get_logger
from taskflow.store.connect import Database
from taskflow.store.series import Times, add_times

log = get_logger(__name__)

FLUSH_SECONDS = 10.0
KINDS_MAX = 200
"""Pairs of queue and type that one flush tells of; what comes on top goes into the sum over all alone."""
_CLOSE_SECONDS = 3.0
"""How long an ending worker tries to leave its last times behind."""

Kind = tuple[str, str]
_ALL: Kind = ("", "")


class _Tally:
    """The times of one queue and type."""

    __slots__ = ("runs", "waits")

    def __init__(self) -> None:
        self.waits = [0] * BUCKETS
        self.runs = [0] * BUCKETS

    def add(self, other: _Tally) -> None:
        self.waits, self.runs = merge(self.waits, other.waits), merge(self.runs, other.runs)


class Timings:
    """Counts times. Enter it after its database; leaving it flushes what is left. Not for several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tallies: dict[Kind, _Tally] = {}
        self._begun_at = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.flush()
        except (Unavailable, TimeoutError) as error:
            log.warning("timings.lost", error=str(error))

    def waited(self, won: Sequence[Claimed]) -> None:
        """These were claimed, and know how long they had been queued."""
        for task in won:
            tally = self._tallies.get((task.queue, task.type)) or self._new(task)
            tally.waits[bucket_of(task.waited_seconds)] += 1

    def ran(self, task: Claimed, seconds: float) -> None:
        """A handler has ended."""
        tally = self._tallies.get((task.queue, task.type)) or self._new(task)
        tally.runs[bucket_of(seconds)] += 1

    async def flush(self) -> float:
        """Add what was counted to the series; returns in how many seconds to come again: at a full ten of them, so that
        what is told together happened in one minute.
        """
        if self._tallies:
            await self._write()
        return FLUSH_SECONDS - time.time() % FLUSH_SECONDS

    async def _write(self) -> None:
        taken, self._tallies = self._tallies, {}
        begun_at = self._begun_at
        half_ago = (time.monotonic() - begun_at) / 2
        try:
            async with self._database.connection() as conn:
                await add_times(conn, _told(taken), seconds_ago=half_ago)
        except (Unavailable, asyncio.CancelledError):
            self._keep(taken)
            self._begun_at = begun_at
            raise
        except Exception as error:  # a worker does not end for its times, and trying again would not mend it
            log.exception("timings.refused", error=str(error))

    def _keep(self, taken: dict[Kind, _Tally]) -> None:
        """Count what was not written once more."""
        for kind, tally in taken.items():
            (self._tallies.get(kind) or self._made(kind)).add(tally)

    def _new(self, task: Claimed) -> _Tally:
        return self._made((task.queue, task.type))

    def _made(self, kind: Kind) -> _Tally:
        if not self._tallies:
            self._begun_at = time.monotonic()
        if len(self._tallies) >= KINDS_MAX:
            return self._tallies.setdefault(_ALL, _Tally())
        return self._tallies.setdefault(kind, _Tally())


def _told(tallies: dict[Kind, _Tally]) -> list[Times]:
    """What the series are told: each kind, each queue, each type, and all together."""
    sums: dict[Kind, _Tally] = defaultdict(_Tally)
    for (queue, name), tally in tallies.items():
        for kind in {(queue, name), (queue, ""), ("", name), _ALL}:
            sums[kind].add(tally)
    return [Times(*kind, trimmed(each.waits), trimmed(each.runs)) for kind, each in sums.items()]
