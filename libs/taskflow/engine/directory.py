"""What an api knows of workers, types and queues: re-read at most every two seconds, and only while somebody asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from itertools import product

import msgspec

from taskflow.domain.callback import PUSH_TYPE
from taskflow.domain.retry import RetryPolicy
from taskflow.domain.task import Task, WaitingFor, is_late
from taskflow.kit.clock import now
from taskflow.store import catalog, workers
from taskflow.store.catalog import TypeRow
from taskflow.store.connect import Database
from taskflow.store.wire import retry_policy
from taskflow.store.workers import WorkerRow

AGE_SECONDS_MAX = 2.0


class Directory:
    """A snapshot of the catalog and the live workers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._known_queues: set[str] = set()
        self.types: dict[str, TypeRow] = {}
        self.workers: list[WorkerRow] = []
        self.paused_queues: set[str] = set()
        self.paused_types: set[str] = set()
        self._free: dict[tuple[str, str], int] = {}
        self._least_slots: dict[str, int] = {}

    async def fresh(self, age_seconds: float = AGE_SECONDS_MAX) -> None:
        """Re-read if what is known is older than that; parallel callers share the reading."""
        if time.monotonic() - self._read_at < age_seconds:
            return
        async with self._reading:
            if time.monotonic() - self._read_at < age_seconds:
                return
            async with self._database.connection() as conn:
                types = await catalog.read_types(conn)
                rows = await workers.read_workers(conn)
                self.paused_queues, self.paused_types = await catalog.read_pauses(conn)
            self.types = {row.name: row for row in types}
            self.workers = rows
            self._free = free_by_kind(self.live())
            self._least_slots = _least_slots(self.live())
            self._read_at = time.monotonic()

    def forget(self) -> None:
        """Something was changed: the next reader reads anew."""
        self._read_at = float("-inf")

    async def name_queues(self, names: Iterable[str]) -> None:
        """A queue comes to be when it is first named."""
        new = set(names) - self._known_queues
        if not new:
            return
        async with self._database.connection() as conn:
            await catalog.add_queues(conn, sorted(new))
        if len(self._known_queues) < 100_000:
            self._known_queues |= new

    def retry_of(self, name: str) -> RetryPolicy | None:
        """The retry policy that the type declares, if any."""
        row = self.types.get(name)
        return retry_policy(row.retry) if row is not None and row.retry else None

    def schema_of(self, name: str) -> str | None:
        """The JSON Schema of the type's payload, if it declares one."""
        row = self.types.get(name)
        return row.schema if row is not None else None

    def live(self) -> list[WorkerRow]:
        """Workers that take tasks."""
        return [worker for worker in self.workers if worker.live and not worker.drain]

    def serving(self, queue: str, name: str | None = None) -> list[WorkerRow]:
        """Live workers of this queue, of this type too if one is given."""
        return serving(self.live(), queue, name)

    def least_slots(self, queue: str) -> int:
        """Slots of the smallest live worker of this queue; 0 if there is none."""
        return self._least_slots.get(queue, 0)

    def slots_free(self, queue: str) -> int:
        """Free slots of the workers of this queue, as of their last beats."""
        return sum(max(0, worker.slots - worker.running) for worker in self.serving(queue))

    def waiting_for(self, task: Task) -> WaitingFor | None:
        """What a task waits for, in a word."""
        status, queue = task.status, task.queue
        if status in {"scheduled", "retrying"}:
            return "due_time"
        if status != "queued":
            return None
        if queue in self.paused_queues:
            return "queue_paused"
        if task.type in self.paused_types or served_as(task) in self.paused_types:
            return "type_paused"
        free = self._free.get((queue, served_as(task)))
        if free is None:
            return "worker_for_type" if self.serving(queue) else "worker_for_queue"
        if is_late(task, now()):
            return None
        return "free_slot" if free <= 0 else None


def served_as(task: Task) -> str:
    """The type that a worker must declare to run it."""
    return task.type if task.target is None else PUSH_TYPE


def serving(workers: Sequence[WorkerRow], queue: str, name: str | None = None) -> list[WorkerRow]:
    """Those of this queue, of this type too if one is given."""
    return [w for w in workers if queue in w.queues and (name is None or name in w.types)]


def free_by_kind(live: Iterable[WorkerRow]) -> dict[tuple[str, str], int]:
    """Free slots of the workers that run a type in a queue, by these pairs, as of their last beats."""
    free: dict[tuple[str, str], int] = {}
    for worker in live:
        room = max(0, worker.slots - worker.running)
        for kind in product(worker.queues, worker.types):
            free[kind] = free.get(kind, 0) + room
    return free


def _least_slots(live: list[WorkerRow]) -> dict[str, int]:
    least: dict[str, int] = {}
    for worker in live:
        for queue in worker.queues:
            least[queue] = min(worker.slots, least.get(queue, worker.slots))
    return least


def schema_value(text: str | None) -> object:
    """A stored schema, for a reader."""
    return None if text is None else msgspec.Raw(text.encode())
