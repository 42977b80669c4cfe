"""Workers as rows: one lease per process, renewed by its beat."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from taskflow.store.connect import Conn, one_row
from taskflow.store.wire import Row


class Registration(Struct, frozen=True):
    """What a worker process says of itself when it starts."""

    id: str
    host: str
    pid: int
    version: str
    queues: list[str]
    types: list[str]
    slots: int


class WorkerRow(NamedTuple):
    """A worker as the directory knows it."""

    id: str
    host: str
    pid: int
    version: str
    queues: list[str]
    types: list[str]
    slots: int
    running: int
    drain: bool
    live: bool
    seen_at: datetime
    started_at: datetime
    lease_until: datetime
    memory_bytes: int | None


class Beat(NamedTuple):
    """The answer to a beat of a worker. `lease_live` False: it was pronounced dead, and its lease was not renewed."""

    worker_id: str
    lease_live: bool
    drain: bool
    running: set[tuple[str, int]]
    paused_queues: list[str]
    paused_types: list[str]


# $1 id  $2 host  $3 pid  $4 version  $5 queues  $6 types  $7 slots  $8 lease in seconds
REGISTER = """-- store.workers.register
INSERT INTO workers (id, host, pid, version, queues, types, slots, started_at, seen_at, lease_until)
VALUES ($1, $2, $3, $4, $5, $6, $7, now(), now(), now() + $8 * interval '1 second')
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until, seen_at = now(), ended_at = NULL"""

# $1 id  $2 lease in seconds  $3 running  $4 bytes of memory, or null
# One statement: renews the lease, and tells what PostgreSQL believes of this worker. A lease that ran out while nobody
# could renew (PostgreSQL was away) is renewed too, as long as rescue has not pronounced the worker dead.
BEAT = """-- store.workers.beat
WITH mine AS (
    UPDATE workers SET lease_until = now() + $2 * interval '1 second', seen_at = now(), running = $3,
        memory_bytes = $4::bigint
    WHERE id = $1 AND ended_at IS NULL RETURNING drain
)
SELECT EXISTS (SELECT FROM mine) AS lease_live, coalesce((SELECT drain FROM mine), false) AS drain,
       ARRAY(SELECT id FROM tasks WHERE worker_id = $1 AND status = 'running' ORDER BY id) AS ids,
       ARRAY(SELECT version FROM tasks WHERE worker_id = $1 AND status = 'running' ORDER BY id) AS versions,
       ARRAY(SELECT name FROM queues WHERE paused) AS paused_queues,
       ARRAY(SELECT name FROM task_types WHERE paused) AS paused_types"""

# $1 id
END = """-- store.workers.end
UPDATE workers SET lease_until = now(), ended_at = now(), running = 0 WHERE id = $1"""

# $1 id uuid[] (sorted)
# Judges and marks in one statement, so that a worker is either renewed or dead. Unknown workers are dead.
PRONOUNCE_DEAD = """-- store.workers.pronounce_dead
WITH dead AS (
    UPDATE workers SET ended_at = coalesce(ended_at, now())
    WHERE id = ANY($1::uuid[]) AND lease_until <= clock_timestamp() RETURNING id
)
SELECT id FROM dead
UNION ALL SELECT g.id FROM unnest($1::uuid[]) AS g(id) WHERE NOT EXISTS (SELECT FROM workers w WHERE w.id = g.id)"""

# A write like that of a beat, of one worker's row, which changes nothing: it needs room on the same pages, a transaction
# id and a commit on disk. An UPDATE of no row, or a read, succeeds where a beat does not.
TOUCH = """-- store.workers.touch
UPDATE workers SET seen_at = seen_at WHERE id = (SELECT id FROM workers ORDER BY id LIMIT 1)"""

# $1 id
DRAIN = """-- store.workers.drain
UPDATE workers SET drain = true WHERE id = $1 AND lease_until > now() RETURNING id"""

READ_WORKERS = """-- store.workers.read_workers
SELECT id, host, pid, version, queues, types, slots, running, drain, seen_at, started_at, lease_until, memory_bytes,
       ended_at IS NULL AND lease_until > now() AS live
FROM workers WHERE lease_until > now() - interval '10 minutes' ORDER BY id"""


async def register(conn: Conn, worker: Registration, lease_seconds: float) -> None:
    """Make the worker known and give it its first lease."""
    await conn.execute(
        REGISTER,
        worker.id,
        worker.host,
        worker.pid,
        worker.version,
        worker.queues,
        worker.types,
        worker.slots,
        lease_seconds,
    )


async def beat(
    conn: Conn, worker_id: str, lease_seconds: float, running: int, memory_bytes: int | None = None
) -> Beat:
    """Renew the lease, unless the worker is dead, and learn what PostgreSQL holds of it."""
    row = await one_row(conn, BEAT, worker_id, lease_seconds, running, memory_bytes)
    held = {(str(task_id), version) for task_id, version in zip(row["ids"], row["versions"], strict=True)}
    return Beat(worker_id, row["lease_live"], row["drain"], held, row["paused_queues"], row["paused_types"])


async def end(conn: Conn, worker_id: str) -> None:
    """Give the lease up: the worker has nothing running any more."""
    await conn.execute(END, worker_id)


async def pronounce_dead(conn: Conn, ids: Sequence[str]) -> set[str]:
    """Which of these workers have no live lease; from now on they cannot renew it."""
    return {str(row["id"]) for row in await conn.fetch(PRONOUNCE_DEAD, sorted(ids))}


async def touch(conn: Conn) -> None:
    """Fail if no worker could renew its lease now. Where no worker is known, nobody could anyhow."""
    await conn.execute(TOUCH)


async def drain(conn: Conn, worker_id: str) -> bool:
    """Ask a live worker to drain; False if there is none of that id."""
    return await conn.fetchval(DRAIN, worker_id) is not None


async def read_workers(conn: Conn) -> list[WorkerRow]:
    """Live workers, and those gone within ten minutes."""
    return [_worker(row) for row in await conn.fetch(READ_WORKERS)]


def served(workers: Sequence[WorkerRow]) -> set[tuple[str, str]]:
    """The (queue, type) pairs that live workers run."""
    return {
        (queue, name) for w in workers if w.live and not w.drain for queue in w.queues for name in w.types
    }


def _worker(row: Row) -> WorkerRow:
    return WorkerRow(
        str(row["id"]),
        row["host"],
        row["pid"],
        row["version"],
        row["queues"],
        row["types"],
        row["slots"],
        row["running"],
        row["drain"],
        row["live"],
        row["seen_at"],
        row["started_at"],
        row["lease_until"],
        row["memory_bytes"],
    )
