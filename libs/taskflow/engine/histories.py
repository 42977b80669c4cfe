"""Reading what happened to tasks, for all who want to know at one moment: one transaction, whatever their number.

A thousand streams on busy tasks would else ask PostgreSQL thousands of times a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from taskflow.domain.errors import Overloaded
from taskflow.domain.task import TaskEvent
from taskflow.kit.batcher import Batcher, Full
from taskflow.store import history
from taskflow.store.connect import Conn, Database, Line
from taskflow.store.errors import verdict
from taskflow.store.history import Asked

READS_MAX = 200
"""Histories that are read together."""
ROWS_MAX = 10_000
"""Log lines that are asked for together: each may be of 64 KiB, though few are."""
READS_AT_ONCE = 2
READS_WAITING_MAX = 20_000


class Histories:
    """Tells events. Enter it first."""

    def __init__(self, database: Database) -> None:
        self._lines = [Line(database) for _ in range(READS_AT_ONCE)]
        self._reads: Batcher[Asked, list[TaskEvent] | None] = Batcher(
            self._read,
            verdict=verdict,
            items_max=READS_MAX,
            bytes_max=ROWS_MAX,
            pending_max=READS_WAITING_MAX,
            repeat_seconds=0,
            flights=READS_AT_ONCE,
            size=lambda asked: asked.limit,
        )

    async def __aenter__(self) -> Self:
        await self._reads.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reads.__aexit__(*_)
        for line in self._lines:
            await line.__aexit__()

    async def events(self, asked: Asked) -> list[TaskEvent] | None:
        """What happened, in order without a gap; if not all of it, `limit` at least. None without such a task.

        Reading begins after the call. Callers share what they get: it is not to be changed.
        """
        try:
            return await self._reads.put(asked)
        except Full as error:
            raise Overloaded("too many reads are waiting", retry_after_seconds=1) from error

    async def _read(self, asked: list[Asked]) -> Sequence[list[TaskEvent] | None]:
        each = list(dict.fromkeys(asked))
        line = self._lines.pop()
        try:
            found = await line.run(lambda conn: _read_at_once(conn, each))
        finally:
            self._lines.append(line)
        told = dict(zip(each, found, strict=True))
        return [told[one] for one in asked]


async def _read_at_once(conn: Conn, asked: list[Asked]) -> list[list[TaskEvent] | None]:
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        timelines = await history.read_timelines(conn, asked)
    return [
        None if timeline is None else timeline.events(one.after)
        for one, timeline in zip(asked, timelines, strict=True)
    ]
