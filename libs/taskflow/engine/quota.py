"""quota: how many tasks of one owner may wait (scheduled, queued, to be retried) at once.

It is asked of the figures, never of the tasks: an owner's count is read at most once a second while he submits, shared by
all his callers; what this process has accepted since is added. So several apis together may exceed a quota by what they
accept within a second, and room that came of tasks which started is seen a second later. What one caller retries or
replays is not asked about, nor is the built-in owner.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from taskflow.domain.errors import QueueLimit
from taskflow.domain.task import LOCAL_OWNER, Accepted, Submitted
from taskflow.store import idempotency, stats
from taskflow.store.connect import Database

COUNT_SECONDS = 1.0
OWNERS_MAX = 10_000
"""Owners whose counts are remembered."""


class _Count:
    """What is known of one owner: read at `read_at`; of this process, what it is writing and what it wrote since."""

    __slots__ = ("read_at", "reading", "waiting", "writing", "written")

    def __init__(self) -> None:
        self.read_at = float("-inf")
        self.reading = asyncio.Lock()
        self.waiting = self.writing = self.written = 0


class Room:
    """Room that is kept for tasks while they are written."""

    def __init__(self) -> None:
        self.used = 0

    def use(self, answers: Iterable[Accepted | Submitted]) -> None:
        """These were the answers: a replay takes no room."""
        self.used = sum(not answer.replayed for answer in answers)


class Quota:
    """Refuses what would make too many tasks of one owner wait; `waiting_max` 0: nothing."""

    def __init__(self, database: Database, waiting_max: int) -> None:
        self._database = database
        self._waiting_max = waiting_max
        self._counts: dict[str, _Count] = {}

    def limits(self, owner: str) -> bool:
        """Whether this owner has a quota."""
        return self._waiting_max > 0 and owner != LOCAL_OWNER

    @asynccontextmanager
    async def room(self, owner: str, n: int, key: str | None) -> AsyncIterator[Room]:
        """Room for `n` more tasks. Without it QueueLimit is raised, unless this idempotency key stands for an answer."""
        count = await self._fresh(owner)
        waiting = count.waiting + count.writing + count.written
        if waiting + n > self._waiting_max and (key is None or not await self._stands(owner, key)):
            raise QueueLimit(
                f"{waiting} of this account's tasks wait, {self._waiting_max} may at once: no room for {n} more"
            )
        room = Room()
        count.writing += n
        try:
            yield room
        finally:
            count.writing -= n
            count.written += room.used

    async def _fresh(self, owner: str) -> _Count:
        """The owner's count, read anew after a second. What was being written then may count twice until the next one."""
        count = self._counts.get(owner) or self._remember(owner)
        if time.monotonic() - count.read_at < COUNT_SECONDS:
            return count
        async with count.reading:
            began = time.monotonic()
            if began - count.read_at >= COUNT_SECONDS:
                written = count.written
                async with self._database.connection() as conn:
                    count.waiting = await stats.count_waiting(conn, owner)
                count.written -= written
                count.read_at = began
        return count

    def _remember(self, owner: str) -> _Count:
        """Who is forgotten is read again when he submits next; who is just writing must not be."""
        if len(self._counts) >= OWNERS_MAX:
            self._counts = {name: count for name, count in self._counts.items() if count.writing}
        return self._counts.setdefault(owner, _Count())

    async def _stands(self, owner: str, key: str) -> bool:
        async with self._database.connection() as conn:
            return await idempotency.has_key(conn, owner, key)
