"""doctor: look for what may never be, in the rows and in the bus, and tell it apart from what mends itself in time.

What one statement writes together is judged in one snapshot: there nothing can be halfway. Lost doorbells, untended tasks
and open tries come to be in a healthy system too and are mended by the scheduler; they count only if they are still there
after the time which that may take.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from taskflow.bus.connect import Bus
from taskflow.bus.errors import BusAway, StreamMissing
from taskflow.bus.streams import read_watermark
from taskflow.domain.task import Claimed
from taskflow.domain.transitions import LIVE, TERMINAL
from taskflow.engine.heal import GRACE
from taskflow.engine.rescue import DEADLINE_MARGIN_SECONDS
from taskflow.store import audit, catalog, doorbells, stats, tending, workers
from taskflow.store.audit import Bound, Found, Scan
from taskflow.store.connect import Conn, Line
from taskflow.store.doorbells import Head

EXAMPLES = 5
UNTENDED_MAX = 100_000
LOOK_SECONDS = 1.0
SCAN_SECONDS_MAX = 3_600.0
"""How long a look at all tasks may hold its connection."""
_NONE = Found(0, [])
Figures = dict[tuple[str, ...], int]
"""By (queue, type, status), or by owner and these."""

CHECKS = {
    "conservation": "accepted = live + terminal + pruned; found is the difference",
    "figures": "places where the figures differ from the rows",
    "doorbells": "queued tasks without a doorbell",
    "parked": "parked tasks that a live worker would run",
    "running": "running tasks without a live worker, or past their time",
    "letters_missing": "failed tasks without a dead letter",
    "letters_orphaned": "pending dead letters without a failed life",
    "successes_missing": "completed tasks without a success in their life",
    "successes_twice": "tasks with two successes in one life",
    "tries_missing": "tasks whose executions are not all there",
    "tries_open": "executions left open though their task was cancelled",
    "attempts_over": "tasks with more attempts than allowed",
}
"""Every check by name, in the order in which they are told."""


class Patience(NamedTuple):
    """How long a healthy system may take to mend lost doorbells, and untended tasks and open tries; seconds."""

    heal_seconds: float
    rescue_seconds: float

    @classmethod
    def of(cls, lease_seconds: float) -> Patience:
        """A lost stream is made anew and rung again within three ticks; rescue holds still for a lease, and may just
        have looked."""
        return cls(15.0, lease_seconds * 4 / 3 + 5)


class Law(Struct, frozen=True):
    """accepted = live + terminal + pruned."""

    accepted: int
    live: int
    terminal: int
    pruned: int

    @property
    def gap(self) -> int:
        """Accepted tasks that are nowhere; less than 0: tasks that nobody accepted."""
        return self.accepted - self.live - self.terminal - self.pruned


class Passing(NamedTuple):
    """What a healthy system may show for a while. `bounds` is None if NATS could not be asked."""

    at: datetime | None
    bounds: list[Bound] | None
    doorbells: Found
    parked: Found
    untended: dict[tuple[str, int], tuple[Claimed, bool]]
    tries: set[tuple[str, int]]

    def and_later(self, later: Passing) -> Passing:
        """What was there both times."""
        return later._replace(
            untended={key: later.untended[key] for key in self.untended.keys() & later.untended.keys()},
            tries=self.tries & later.tries,
        )


_NOT_LOOKED = Passing(None, None, _NONE, _NONE, {}, set())


class Diagnosis(NamedTuple):
    """What was found, by check; a check that was not or could not be made is missing.

    `differences`: what must be added to the figures of (queue, type, status); `owned`: to those of (owner, queue, type,
    status).
    """

    found: dict[str, Found]
    passing: Passing
    law: Law
    differences: Figures
    owned: Figures


class Doctor:
    """Looks, and changes nothing. One line of its own: a scan may hold it for minutes."""

    def __init__(
        self, line: Line, bus: Bus, *, patience: Patience, handler_grace: float, letters_kept_seconds: float
    ) -> None:
        self._line = line
        self._bus = bus
        self._patience = patience
        self._margin_seconds = handler_grace + DEADLINE_MARGIN_SECONDS
        self._open_seconds = self._margin_seconds + patience.rescue_seconds
        self._letters_kept_seconds = letters_kept_seconds

    async def examine(self) -> Diagnosis:
        """Every check: a scan of all tasks and dead letters, all of it in one snapshot."""
        at, bounds = await self._bounds()

        async def act(conn: Conn) -> tuple[Passing, Diagnosis]:
            async with conn.transaction(isolation="repeatable_read", readonly=True):
                return await self._passing(conn, at, bounds), await self._scanned(conn)

        passing, scanned = await self._line.run(act)
        passing = await self._what_stays(passing)
        return scanned._replace(found={**scanned.found, **_told(passing)}, passing=passing)

    async def look(self) -> Diagnosis:
        """The checks that cost little however many tasks are stored, and the law by the figures alone."""
        at, bounds = await self._bounds()

        async def act(conn: Conn) -> tuple[Passing, Law]:
            async with conn.transaction(isolation="repeatable_read", readonly=True):
                return await self._passing(conn, at, bounds), _law(await _figures(conn), None)

        passing, law = await self._line.run(act)
        passing = await self._what_stays(passing)
        return Diagnosis(_told(passing), passing, law, {}, {})

    async def scan(self, conn: Conn) -> Diagnosis:
        """The checks that go through all tasks and dead letters."""
        async with conn.transaction(isolation="repeatable_read", readonly=True):
            return await self._scanned(conn)

    async def _scanned(self, conn: Conn) -> Diagnosis:
        figures, owned = await _figures(conn), await stats.read_owned(conn)
        scan = await audit.scan_tasks(conn, letters_kept_seconds=self._letters_kept_seconds)
        law, differences = _law(figures, scan), _differences(figures, scan.counts)
        owned = _differences(owned, scan.owned)
        found = {
            "conservation": Found(abs(law.gap), []),
            "figures": Found(len(differences) + len(owned), _places(differences) + _places(owned)),
            "letters_orphaned": await audit.scan_letters(conn),
            **scan.flagged,
        }
        return Diagnosis(found, _NOT_LOOKED, law, differences, owned)

    async def _bounds(self) -> tuple[datetime | None, list[Bound] | None]:
        """Which queued rows have no doorbell, by the bus: asked before the rows, which may only have moved on since."""
        heads = await self._line.run(doorbells.read_heads)
        at = heads[0].now if heads else None
        if not self._bus.connected:
            return at, None
        try:
            return at, [await self._bound(head) for head in heads if head.rung_at < head.now - GRACE]
        except BusAway:
            return at, None

    async def _bound(self, head: Head) -> Bound:
        try:
            stamp = (await read_watermark(self._bus, head.lane, head.queue)).stamp
        except StreamMissing:
            stamp = None
        return Bound(head.queue, head.lane, (stamp or head.now) - GRACE)

    async def _passing(self, conn: Conn, at: datetime | None, bounds: list[Bound] | None) -> Passing:
        lost = await audit.lost_doorbells(conn, bounds, examples=EXAMPLES) if bounds else _NONE
        served = await read_served(conn) if at else []
        parked = await audit.parked_though_served(conn, served, queued_before=at) if at and served else _NONE
        untended = await tending.find_untended(conn, UNTENDED_MAX, self._margin_seconds)
        tries = await audit.open_tries(conn, open_seconds=self._open_seconds)
        by_claim = {(task.id, task.version): (task, live) for task, live in untended}
        return Passing(at, bounds, lost, parked, by_claim, set(tries))

    async def _what_stays(self, passing: Passing) -> Passing:
        """Look again and again until nothing is left, or what is left should long have been mended."""
        began = time.monotonic()
        while (left := began + self._wait_for(passing) - time.monotonic()) > 0:
            await asyncio.sleep(min(left, LOOK_SECONDS))
            passing = passing.and_later(await self._again(passing))
        return passing

    def _wait_for(self, passing: Passing) -> float:
        bells = passing.doorbells.n or passing.parked.n
        rows = passing.untended or passing.tries
        return max(
            self._patience.heal_seconds if bells else 0.0, self._patience.rescue_seconds if rows else 0.0
        )

    async def _again(self, first: Passing) -> Passing:
        """The same look later, for nothing that is younger than the first one."""
        _, bounds = await self._bounds()
        bounds = _earlier(first.bounds, bounds)

        async def act(conn: Conn) -> Passing:
            async with conn.transaction(isolation="repeatable_read", readonly=True):
                return await self._passing(conn, first.at, bounds)

        return await self._line.run(act)


async def read_served(conn: Conn) -> list[tuple[str, str]]:
    """The (queue, type) pairs that live workers run and nobody has paused."""
    rows = await workers.read_workers(conn)
    paused_queues, paused_types = await catalog.read_pauses(conn)
    return [
        (queue, name)
        for queue, name in sorted(workers.served(rows))
        if queue not in paused_queues and name not in paused_types
    ]


def _earlier(first: list[Bound] | None, later: list[Bound] | None) -> list[Bound] | None:
    """What is below both bounds of a subject was lost before the first look, and is still."""
    if first is None or later is None:
        return None
    before = {(bound.queue, bound.lane): bound.before for bound in first}
    return [
        bound._replace(before=min(bound.before, before[bound.queue, bound.lane]))
        for bound in later
        if (bound.queue, bound.lane) in before
    ]


def _told(passing: Passing) -> dict[str, Found]:
    found = {
        "parked": passing.parked,
        "running": Found(len(passing.untended), [task_id for task_id, _ in sorted(passing.untended)]),
        "tries_open": Found(len(passing.tries), [task_id for task_id, _ in sorted(passing.tries)]),
    }
    return found if passing.bounds is None else {**found, "doorbells": passing.doorbells}


async def _figures(conn: Conn) -> Figures:
    return {(total.queue, total.type, total.status): total.n for total in await stats.read_totals(conn)}


def _law(figures: Figures, scan: Scan | None) -> Law:
    """Live and terminal tasks by the rows, or by the figures if there was no scan; the rest is in the figures alone."""
    rows = figures if scan is None else scan.counts

    def of(kinds: frozenset[str], told: Figures) -> int:
        return sum(n for (_, _, status), n in told.items() if status in kinds)

    return Law(
        of(frozenset({"accepted"}), figures), of(LIVE, rows), of(TERMINAL, rows), of(frozenset({"pruned"}), figures)
    )  # fmt: skip


def _differences(figures: Figures, counts: Figures) -> Figures:
    """What must be added to the figures. Accepted tasks that are nowhere become pruned; rows nobody accepted, accepted."""
    kinds = LIVE | TERMINAL
    places = counts.keys() | {place for place in figures if place[-1] in kinds}
    wanted = {place: counts.get(place, 0) - figures.get(place, 0) for place in places}
    for of in {place[:-1] for place in figures.keys() | places}:
        rows = sum(counts.get((*of, status), 0) for status in kinds)
        gap = figures.get((*of, "accepted"), 0) - rows - figures.get((*of, "pruned"), 0)
        wanted[*of, "pruned" if gap > 0 else "accepted"] = abs(gap)
    return {place: n for place, n in wanted.items() if n}


def _places(differences: Figures) -> list[str]:
    return [f"{'/'.join(place)}: {n:+d}" for place, n in sorted(differences.items())]
