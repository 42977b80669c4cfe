"""Reading: tasks and their history, dead letters, figures, queues, workers, types."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Self

from taskflow.domain.dead_letter import DeadLetter, DeadLetterDetail, LetterGroup
from taskflow.domain.errors import Overloaded
from taskflow.domain.filters import LetterFilters, TaskFilters
from taskflow.domain.task import DEFAULT_QUEUE, LANE_NAMES, Execution, LogLine, Task, TaskEvent
from taskflow.domain.views import DayCount, QueueInfo, Stats, TypeInfo, WorkerInfo, WorkerStatus
from taskflow.engine.directory import Directory, schema_value
from taskflow.engine.histories import Histories
from taskflow.kit.batcher import Batcher, Full
from taskflow.kit.clock import now, rfc3339
from taskflow.store import catalog, dead_letters, history, search, stats, tasks
from taskflow.store.connect import Database
from taskflow.store.errors import verdict
from taskflow.store.history import Asked
from taskflow.store.search import Found, PageWanted
from taskflow.store.stats import Day, Total
from taskflow.store.tasks import Wanted
from taskflow.store.workers import WorkerRow

READS_MAX = 100
"""Tasks in one statement: each may bear a payload and a result of 256 KiB."""
READS_AT_ONCE = 4
READS_WAITING_MAX = 20_000
STATS_SECONDS = 2.0
STATS_KEPT_MAX = 1_000
"""Owners whose figures are remembered so long; all of an owner's callers share them."""
EVENTS_PAGE = 1_000
LETTERS_PAGE = 50
"""Dead letters read at once with their payloads, of 256 KiB each at most."""


class Reader:
    """Answers questions; changes nothing. Enter it first: callers who ask for one task each share their statements."""

    def __init__(self, database: Database, directory: Directory) -> None:
        self._database = database
        self._directory = directory
        self._started_at = time.monotonic()
        self._stats: dict[str | None, tuple[float, Stats]] = {}
        self._counting = asyncio.Lock()
        self._histories = Histories(database)
        self._singles: Batcher[Wanted, Task | None] = Batcher(
            self._read,
            verdict=verdict,
            items_max=READS_MAX,
            pending_max=READS_WAITING_MAX,
            repeat_seconds=0,
            flights=READS_AT_ONCE,
        )

    async def __aenter__(self) -> Self:
        await self._singles.__aenter__()
        await self._histories.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._histories.__aexit__(*_)
        await self._singles.__aexit__(*_)

    async def task(self, task_id: str, owner: str | None = None) -> Task | None:
        """The task as it is now, or None; of an owner: only his. Reading begins after the call."""
        try:
            return await self._singles.put(Wanted(task_id, owner))
        except Full as error:
            raise Overloaded("too many reads are waiting", retry_after_seconds=1) from error

    async def numbered_task(self, task_id: str, owner: str | None = None) -> tuple[Task, int] | None:
        """The same, with the newest number of its history: what comes after it is all that comes."""
        async with self._database.connection() as conn:
            found = await tasks.read_numbered(conn, Wanted(task_id, owner))
        if found is not None:
            await self.tell_waits([found[0]])
        return found

    async def _read(self, wanted: list[Wanted]) -> Sequence[Task | None]:
        async with self._database.connection() as conn:
            found = await tasks.read_tasks(conn, list(set(wanted)))
        await self.tell_waits(found.values())
        return [found.get(one) for one in wanted]

    async def tasks(
        self,
        filters: TaskFilters,
        limit: int,
        before: str | None,
        include_payload: bool,
        include_result: bool,
    ) -> Found:
        """Newest first, older than `before`; a search that takes too long ends early, and says so."""
        asked = PageWanted(limit, before, include_payload, include_result)
        async with self._database.connection() as conn:
            found = await search.search_tasks(conn, filters, asked)
        await self.tell_waits(found.tasks)
        return found

    async def tell_waits(self, found: Iterable[Task]) -> None:
        """Add to tasks as they were read what those that wait are waiting for."""
        await self._directory.fresh()
        for task in found:
            self._tell_wait(task)

    async def executions(self, task_id: str, owner: str | None = None) -> list[Execution] | None:
        """All tries of a task, oldest first; None without such a task, or if it is not the owner's."""
        async with self._database.connection() as conn:
            if not await history.task_exists(conn, task_id, owner):
                return None
            return await history.read_executions(conn, task_id)

    async def logs(
        self, task_id: str, after: int, limit: int, owner: str | None = None
    ) -> list[LogLine] | None:
        """Log lines after number `after`, oldest first; None without such a task, or if it is not the owner's."""
        async with self._database.connection() as conn:
            if not await history.task_exists(conn, task_id, owner):
                return None
            return await history.read_logs(conn, task_id, after=after, limit=limit)

    async def events(
        self, task_id: str, after: int, owner: str | None = None, limit: int = EVENTS_PAGE
    ) -> list[TaskEvent] | None:
        """What happened after number `after`, in order without a gap; if not all of it, `limit` at least. None as above."""
        return await self._histories.events(Asked(task_id, after, owner, limit))

    async def dead_letters(self, filters: LetterFilters, limit: int, before: str | None) -> list[DeadLetter]:
        """Newest first, older than `before`."""
        async with self._database.connection() as conn:
            return await dead_letters.list_letters(conn, filters, limit=limit, before=before)

    async def dead_letter(self, letter_id: str, owner: str | None = None) -> DeadLetterDetail | None:
        """One dead letter, or None; of an owner: only his."""
        async with self._database.connection() as conn:
            return (await dead_letters.read_letters(conn, [letter_id], owner=owner)).get(letter_id)

    async def letter_pages(self, filters: LetterFilters) -> AsyncIterator[list[DeadLetterDetail]]:
        """All that match, with their details, newest first, in pages; what is written meanwhile is not among them."""
        before: str | None = None
        while True:
            async with self._database.connection() as conn:
                page = await dead_letters.list_letters(conn, filters, limit=LETTERS_PAGE, before=before)
                found = await dead_letters.read_letters(conn, [letter.id for letter in page])
            if not page:
                return
            yield [found[letter.id] for letter in page if letter.id in found]
            before = page[-1].id

    async def letter_groups(self, filters: LetterFilters, limit: int) -> list[LetterGroup]:
        """Dead letters by fingerprint, the largest group first."""
        async with self._database.connection() as conn:
            return await dead_letters.group_letters(conn, filters, limit=limit)

    async def queues(self, owner: str | None = None) -> list[QueueInfo]:
        """All queues, by name; of an owner, `default` and those in which he has or had tasks.

        What waits and runs is everybody's: an owner's tasks stand in one line with the others'.
        """
        await self._directory.fresh()
        async with self._database.connection() as conn:
            rows = await catalog.read_queues(conn)
            if owner is not None:
                his = {total.queue for total in await stats.read_totals(conn, owner)} | {DEFAULT_QUEUE}
                rows = [row for row in rows if row.name in his]
        moment = now()
        return [
            QueueInfo(
                name=row.name,
                paused=row.paused,
                waiting={LANE_NAMES[lane]: count for lane, count in row.waiting.items()},
                running=row.running,
                oldest_waiting_seconds=(
                    max(0.0, (moment - row.oldest_at).total_seconds()) if row.oldest_at else None
                ),
                workers=len(self._directory.serving(row.name)),
                slots=sum(worker.slots for worker in self._directory.serving(row.name)),
                slots_free=self._directory.slots_free(row.name),
            )
            for row in rows
        ]

    async def workers(self) -> list[WorkerInfo]:
        """Live workers, and those gone within ten minutes."""
        await self._directory.fresh(0.2)
        return [_worker(row) for row in self._directory.workers]

    async def types(self) -> list[TypeInfo]:
        """All declared types, by name."""
        await self._directory.fresh(0.2)
        live = self._directory.live()
        return [
            TypeInfo(
                name=row.name,
                schema=schema_value(row.schema),
                timeout_seconds=row.timeout_seconds,
                max_attempts=row.max_attempts,
                workers=sum(row.name in worker.types for worker in live),
                paused=row.paused,
                paused_by=row.paused_by if row.paused else None,
                paused_reason=row.paused_reason if row.paused else None,
            )
            for row in self._directory.types.values()
        ]

    async def stats(self, owner: str | None = None) -> Stats:
        """The figures, of an owner's tasks if one is given, at most two seconds old; `workers_live` counts all workers.

        Parallel callers share one reading, and one reading goes on at a time.
        """
        if (known := self._known_stats(owner)) is not None:
            return known
        async with self._counting:
            if (known := self._known_stats(owner)) is not None:
                return known
            await self._directory.fresh()
            async with self._database.connection() as conn:
                totals, days = await stats.read_totals(conn, owner), await stats.read_days(conn, owner)
            self._stats.pop(owner, None)
            if len(self._stats) >= STATS_KEPT_MAX:
                del self._stats[next(iter(self._stats))]  # the oldest: each reading goes to the end
            told = self._summed(totals, days)
            self._stats[owner] = (time.monotonic(), told)
            return told

    def _known_stats(self, owner: str | None) -> Stats | None:
        read_at, told = self._stats.get(owner, (float("-inf"), None))
        return told if time.monotonic() - read_at <= STATS_SECONDS else None

    def _summed(self, totals: list[Total], days: list[Day]) -> Stats:
        by_status: dict[str, int] = defaultdict(int)
        by_queue: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        by_type: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for total in totals:
            by_status[total.status] += total.n
            by_queue[total.queue][total.status] += total.n
            by_type[total.type][total.status] += total.n
        completed, failed = sum(day.completed for day in days), sum(day.failed for day in days)
        return Stats(
            as_of=rfc3339(now()),
            by_status=dict(by_status),
            by_queue={name: dict(counts) for name, counts in by_queue.items()},
            by_type={name: dict(counts) for name, counts in by_type.items()},
            success_rate=completed / (completed + failed) if completed + failed else None,
            history=[DayCount(day.day.isoformat(), day.submitted, day.completed, day.failed) for day in days],
            workers_live=sum(worker.live for worker in self._directory.workers),
            uptime_seconds=round(time.monotonic() - self._started_at, 3),
        )

    def _tell_wait(self, task: Task) -> None:
        task.waiting_for = self._directory.waiting_for(task)


def _worker(row: WorkerRow) -> WorkerInfo:
    status: WorkerStatus = "gone" if not row.live else "draining" if row.drain else "live"
    return WorkerInfo(
        id=row.id,
        host=row.host,
        pid=row.pid,
        version=row.version,
        queues=row.queues,
        types=row.types,
        slots=row.slots,
        running=row.running,
        status=status,
        seen_at=rfc3339(row.seen_at),
        started_at=rfc3339(row.started_at),
        lease_expires_at=rfc3339(row.lease_until),
        memory_bytes=row.memory_bytes,
    )
