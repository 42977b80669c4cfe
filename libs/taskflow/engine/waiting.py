"""wait: callers that wait for a task are woken by the news of its moves, from whichever process made them.

No poll of its own: subscribe, read, wait; and, because nobody confirms news, one shared re-read of all that waits every
two seconds, only while somebody waits.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from taskflow.bus.announce import subscribe_moves
from taskflow.bus.connect import Bus
from taskflow.bus.topology import event_shard
from taskflow.domain.errors import Overloaded, Unavailable
from taskflow.domain.task import Moved, Task
from taskflow.domain.transitions import TERMINAL
from taskflow.engine.read import Reader
from taskflow.kit.logging import get_logger
from taskflow.store import tasks
from taskflow.store.connect import Database
from taskflow.store.tasks import Wanted

log = get_logger(__name__)

REREAD_SECONDS = 2.0
FOLLOWERS_MAX = 20_000


class Follower:
    """One caller's ear for one task."""

    def __init__(self, *, end_only: bool) -> None:
        self.end_only = end_only
        self.seq: int | None = None
        self._news = asyncio.Event()

    def hear(self, status: str) -> None:
        """Something happened to the task, which is in this status now."""
        if not self.end_only or status in TERMINAL:
            self._news.set()

    def wake(self) -> None:
        """Look again, whatever happened."""
        self._news.set()

    async def changed(self, timeout: float) -> bool:
        """Until something happened since the last call, or the time is over (False)."""
        try:
            await asyncio.wait_for(self._news.wait(), max(timeout, 0))
        except TimeoutError:
            return False
        self._news.clear()
        return True


class Waiters:
    """All that wait in this process: one subscription per shard of events that somebody listens to."""

    def __init__(self, database: Database, bus: Bus, reader: Reader) -> None:
        self._database = database
        self._bus = bus
        self._reader = reader
        self._followers: dict[str, set[Follower]] = defaultdict(set)
        self._shards: set[int] = set()
        self._count = 0
        self._draining = asyncio.Event()
        self._reread: asyncio.Task[None] | None = None
        self._listening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._reread = asyncio.create_task(self._reread_forever(), name="waiters.reread")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reread is not None:
            self._reread.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reread

    def drain(self) -> None:
        """Wake everybody for good: the process is shutting down."""
        self._draining.set()
        for followers in list(self._followers.values()):
            for follower in followers:
                follower.wake()

    async def wait(
        self, task_id: str, timeout_seconds: float, early: Follower | None = None, owner: str | None = None
    ) -> Task | None:
        """The task once it is terminal, or as it is when the time is over; None without such a task of the owner's.

        `early`: an ear (`end_only`) that was open before the task was made, so that it need not be read to begin with.
        """
        until = asyncio.get_running_loop().time() + timeout_seconds
        if early is not None:
            await early.changed(timeout_seconds)
            return await self._read_until(early, Wanted(task_id, owner), until)
        async with self.follow(task_id, end_only=True) as follower:
            return await self._read_until(follower, Wanted(task_id, owner), until)

    async def _read_until(self, follower: Follower, wanted: Wanted, until: float) -> Task | None:
        while True:
            task = await self._reader.task(*wanted)
            left = until - asyncio.get_running_loop().time()
            if task is None or task.status in TERMINAL or left <= 0 or self._draining.is_set():
                return task
            await follower.changed(left)

    @asynccontextmanager
    async def follow(self, task_id: str, *, end_only: bool = False) -> AsyncIterator[Follower]:
        """An ear for one task, open before the caller reads it. `end_only`: hear only that it is terminal."""
        if self._count >= FOLLOWERS_MAX:
            raise Overloaded("too many callers are waiting", retry_after_seconds=2)
        follower = Follower(end_only=end_only)
        self._count += 1
        self._followers[task_id].add(follower)
        try:
            await self._listen(event_shard(task_id))
            yield follower
        finally:
            self._count -= 1
            self._followers[task_id].discard(follower)
            if not self._followers[task_id]:
                del self._followers[task_id]

    async def _listen(self, shard: int) -> None:
        """Without the bus the shared re-read has to do."""
        if shard in self._shards:
            return
        async with self._listening:
            if shard in self._shards:
                return
            with contextlib.suppress(Unavailable):
                await subscribe_moves(self._bus, shard, self._heard)
                self._shards.add(shard)

    def _heard(self, move: Moved) -> None:
        for follower in self._followers.get(move.id, ()):
            follower.hear(move.status)

    async def _reread_forever(self) -> None:
        while True:
            await asyncio.sleep(REREAD_SECONDS)
            if self._followers:
                try:
                    await self._reread_once()
                except Unavailable as error:
                    log.warning("waiters.read_failed", error=str(error))
                except Exception as error:  # else nobody would hear again of what the bus lost
                    log.exception("waiters.read_broken", error=str(error))

    async def _reread_once(self) -> None:
        async with self._database.connection() as conn:
            found = await tasks.read_statuses(conn, list(self._followers))
        for task_id, (status, seq) in found.items():
            for follower in self._followers.get(task_id, ()):
                if follower.seq != seq:
                    follower.hear(status)
                follower.seq = seq
