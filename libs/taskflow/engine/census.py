"""census: what the whole system looks like now, as gauges. Told by the scheduler alone, and only when somebody asks.

Nothing is read while nobody scrapes: an idle system stays idle. What cannot be read now is not told at all, rather than
told as it was; `taskflow_census_up` says so.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from operator import itemgetter

from taskflow.domain.task import LANE_NAMES
from taskflow.domain.transitions import LIVE
from taskflow.engine.meters import NAMES_MAX
from taskflow.kit.logging import get_logger
from taskflow.kit.metrics import Bounded, Gauge, gauge
from taskflow.store import census, stats, webhook_reads, workers
from taskflow.store.connect import Conn, Line

log = get_logger(__name__)

AGE_SECONDS_MAX = 4.5
"""Scrapers that ask within this time share a reading."""
PATIENCE_SECONDS = 4.0
LETTERS_PATIENCE_SECONDS = 2.0
LETTERS_AGE_SECONDS_MAX = 60.0

UP = gauge("taskflow_census_up", "Whether the figures of the whole system could be read at this scrape.")
TASKS = gauge("taskflow_tasks", "Tasks there are, by status.", ["queue", "status"])
OLDEST = gauge(
    "taskflow_queue_oldest_age_seconds", "How long the oldest queued task has waited.", ["queue", "priority"]
)
PAUSED = gauge("taskflow_queue_paused", "1 while a queue is paused.", ["queue"])
WORKERS = gauge("taskflow_workers_live", "Live workers that serve a queue and do not drain.", ["queue"])
ALL_WORKERS = gauge("taskflow_workers", "Workers, by whether their lease lives.", ["state"])
LETTERS = gauge("taskflow_dead_letters_pending", "Dead letters nobody has resolved.", ["queue", "reason"])
RANGES_END = gauge(
    "taskflow_id_ranges_end_timestamp_seconds", "Until when new tasks have a partition to go to."
)

WEBHOOKS_PENDING = gauge("taskflow_webhooks_pending", "Webhook deliveries that are under way or to come.")
WEBHOOKS_LATE = gauge(
    "taskflow_webhooks_late_seconds", "For how long the first pending webhook delivery is due."
)
ENDPOINTS_SLOWED = gauge(
    "taskflow_webhook_endpoints_slowed",
    "URLs that failed too often in a row, and get one try in ten minutes.",
)

_SINGLE = (RANGES_END, WEBHOOKS_PENDING, WEBHOOKS_LATE, ENDPOINTS_SLOWED)
_LABELLED = (TASKS, OLDEST, PAUSED, WORKERS, ALL_WORKERS, LETTERS)


class Census:
    """Reads all figures on a line of its own, at most every few seconds."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._queues = Bounded(NAMES_MAX)
        self._read_at = float("-inf")
        self._letters: list[census.Letters] = []
        self._letters_due_at = 0.0
        self._reading = asyncio.Lock()
        UP.set(0)

    async def refresh(self) -> None:
        """Bring the gauges up to date, or empty them if that cannot be done now."""
        async with self._reading:
            if time.monotonic() - self._read_at < AGE_SECONDS_MAX:
                return
            self._read_at = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._line.run(self._count)
                UP.set(1)
            except Exception as error:  # of any kind: what else is measured must be told all the same
                _forget()
                UP.set(0)
                log.warning("census.failed", error=str(error) or "no answer")

    async def _count(self, conn: Conn) -> None:
        totals = await stats.read_totals(conn)
        waiting, letters = await census.read_waiting(conn), await self._pending(conn)
        paused, rows = await census.read_paused(conn), await workers.read_workers(conn)
        ends, sent = await census.read_ranges_end(conn), await webhook_reads.count_webhooks(conn)
        for name in sorted(paused):  # so that those told by name are the same ones after a restart
            self._queues(name)
        _forget()
        self._set(
            TASKS, ((t.queue, (t.status,), t.n) for t in totals if t.status not in {"accepted", "pruned"})
        )
        self._set(TASKS, ((name, (status,), 0) for name in paused for status in sorted(LIVE)))
        self._set(OLDEST, ((name, (lane,), 0) for name in paused for lane in LANE_NAMES))
        for place, age in self._oldest(waiting).items():
            OLDEST.labels(*place).set(age)
        for name, is_paused in sorted(paused.items(), key=itemgetter(1), reverse=True):  # `other`: if all are
            PAUSED.labels(*self._queues(name)).set(is_paused)
        serving = Counter(queue for row in rows if row.live and not row.drain for queue in row.queues)
        self._set(WORKERS, ((name, (), serving[name]) for name in paused))
        self._set(LETTERS, ((each.queue, (each.reason,), each.n) for each in letters))
        for state, count in {
            "live": 0,
            "gone": 0,
            **Counter("live" if row.live else "gone" for row in rows),
        }.items():
            ALL_WORKERS.labels(state).set(count)
        RANGES_END.set(ends.timestamp() if ends else 0)
        WEBHOOKS_PENDING.set(sent.pending)
        WEBHOOKS_LATE.set(max(0.0, sent.late_seconds))
        ENDPOINTS_SLOWED.set(sent.slowed)

    async def _pending(self, conn: Conn) -> list[census.Letters]:
        """Pending letters are counted one by one: the longer it takes, the more seldom; too many are not told."""
        began = time.monotonic()
        if began >= self._letters_due_at:
            self._letters, self._letters_due_at = [], began + LETTERS_AGE_SECONDS_MAX
            try:
                self._letters = await census.read_letters(conn, LETTERS_PATIENCE_SECONDS)
            except TimeoutError:
                log.warning("letters.uncounted", seconds=LETTERS_PATIENCE_SECONDS)
            else:
                took = time.monotonic() - began
                self._letters_due_at = began + min(100 * took, LETTERS_AGE_SECONDS_MAX)
        return self._letters

    def _oldest(self, waiting: Iterable[census.Waiting]) -> dict[tuple[str, ...], float]:
        ages: dict[tuple[str, ...], float] = {}
        for each in waiting:
            place = (*self._queues(each.queue), LANE_NAMES[each.lane])
            ages[place] = max(ages.get(place, 0.0), each.oldest_seconds)
        return ages

    def _set(self, told: Gauge, figures: Iterable[tuple[str, tuple[str, ...], int]]) -> None:
        """What is told of queues beyond the bound is told of `other` together."""
        for queue, rest, count in figures:
            told.labels(*self._queues(queue), *rest).inc(count)


def _forget() -> None:
    for told in _LABELLED:
        told.clear()
    for single in _SINGLE:
        single.set(float("nan"))
