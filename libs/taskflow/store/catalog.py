"""Queues and types: what exists, with which defaults, and what is paused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from taskflow.store.connect import Conn, one_row


class Declaration(Struct, frozen=True):
    """A type as a worker declares it; `schema` and `retry` are JSON texts."""

    name: str
    schema: str | None
    timeout_seconds: float | None
    max_attempts: int | None
    retry: str | None


class TypeRow(NamedTuple):
    """A declared type. The declaration of the worker started last stands."""

    name: str
    schema: str | None
    timeout_seconds: float | None
    max_attempts: int | None
    retry: str | None
    paused: bool
    paused_by: str | None
    paused_reason: str | None


class QueueRow(NamedTuple):
    """A queue and what is in it."""

    name: str
    paused: bool
    waiting: dict[int, int]
    running: int
    oldest_at: datetime | None


# $1 name[] (sorted)  $2 schema  $3 timeout_seconds  $4 max_attempts  $5 retry
DECLARE_TYPES = """-- store.catalog.declare_types
INSERT INTO task_types (name, schema, timeout_seconds, max_attempts, retry, declared_at)
SELECT name, schema::json, timeout_seconds, max_attempts, retry::json, now()
FROM unnest($1::text[], $2::text[], $3::float8[], $4::smallint[], $5::text[])
    AS g(name, schema, timeout_seconds, max_attempts, retry)
ON CONFLICT (name) DO UPDATE
SET schema = excluded.schema, timeout_seconds = excluded.timeout_seconds, max_attempts = excluded.max_attempts,
    retry = excluded.retry, declared_at = excluded.declared_at"""

READ_TYPES = """-- store.catalog.read_types
SELECT name, schema, timeout_seconds, max_attempts, retry, paused, paused_by, paused_reason FROM task_types ORDER BY name"""

# $1 name[] (sorted)
ADD_QUEUES = """-- store.catalog.add_queues
INSERT INTO queues (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"""

READ_PAUSES = """-- store.catalog.read_pauses
SELECT ARRAY(SELECT name FROM queues WHERE paused) AS queues, ARRAY(SELECT name FROM task_types WHERE paused) AS types"""

# Depths come from the partial index of queued rows and the figures: no scan of tasks that ended. The figures are read
# once, not once a queue.
READ_QUEUES = """-- store.catalog.read_queues
WITH runs AS MATERIALIZED (
    SELECT queue, sum(n) AS n FROM (
        SELECT queue, n FROM stat_totals WHERE status = 'running'
        UNION ALL SELECT queue, n FROM stat_deltas WHERE target = 'running'
        UNION ALL SELECT queue, -n FROM stat_deltas WHERE origin = 'running') AS all_parts
    GROUP BY queue
)
SELECT q.name, q.paused, coalesce(r.n, 0) AS running,
       ARRAY(SELECT (SELECT count(*) FROM tasks t
                     WHERE t.status = 'queued' AND t.queue = q.name AND t.lane = l.lane)
             FROM generate_series(0, 3) AS l(lane) ORDER BY l.lane) AS waiting,
       (SELECT min(h.queued_at) FROM generate_series(0, 3) AS l(lane), LATERAL (
            SELECT t.queued_at FROM tasks t WHERE t.status = 'queued' AND t.queue = q.name AND t.lane = l.lane
            ORDER BY t.rung_at LIMIT 1) h) AS oldest_at
FROM queues q LEFT JOIN runs r ON r.queue = q.name ORDER BY q.name"""

# $1 name  $2 paused
SET_QUEUE_PAUSED = """-- store.catalog.set_queue_paused
UPDATE queues SET paused = $2 WHERE name = $1 RETURNING name"""

# $1 name  $2 who  $3 why
# One that is paused already stays as it is: who paused it first is told.
PAUSE_TYPE = """-- store.catalog.pause_type
UPDATE task_types SET paused = true, paused_by = $2, paused_reason = $3 WHERE name = $1 AND NOT paused RETURNING name"""

# $1 name
RESUME_TYPE = """-- store.catalog.resume_type
UPDATE task_types SET paused = false, paused_by = NULL, paused_reason = NULL, resumed_at = clock_timestamp()
WHERE name = $1 AND paused RETURNING name"""

# $1 name
HAS_TYPE = """-- store.catalog.has_type
SELECT EXISTS (SELECT FROM task_types WHERE name = $1)"""


async def declare_types(conn: Conn, declarations: Sequence[Declaration]) -> None:
    """Make types known, or renew what is known of them."""
    rows = sorted(declarations, key=lambda item: item.name)
    await conn.execute(
        DECLARE_TYPES,
        [d.name for d in rows],
        [d.schema for d in rows],
        [d.timeout_seconds for d in rows],
        [d.max_attempts for d in rows],
        [d.retry for d in rows],
    )


async def read_types(conn: Conn) -> list[TypeRow]:
    """All declared types, by name."""
    return [TypeRow(*row) for row in await conn.fetch(READ_TYPES)]


async def add_queues(conn: Conn, names: Sequence[str]) -> None:
    """A queue comes to be when it is first named."""
    await conn.execute(ADD_QUEUES, sorted(names))


async def read_pauses(conn: Conn) -> tuple[set[str], set[str]]:
    """Paused queues and paused types."""
    row = await one_row(conn, READ_PAUSES)
    return set(row["queues"]), set(row["types"])


async def read_queues(conn: Conn) -> list[QueueRow]:
    """All queues, by name, with what waits and runs in them."""
    rows = await conn.fetch(READ_QUEUES)
    return [
        QueueRow(r["name"], r["paused"], dict(enumerate(r["waiting"])), int(r["running"]), r["oldest_at"])
        for r in rows
    ]


async def set_queue_paused(conn: Conn, name: str, paused: bool) -> bool:
    """Pause or resume a queue; False if there is none of that name."""
    return await conn.fetchval(SET_QUEUE_PAUSED, name, paused) is not None


async def pause_type(conn: Conn, name: str, actor: str, reason: str | None) -> bool:
    """Pause a type; False if it is paused already, or none of that name was declared."""
    return await conn.fetchval(PAUSE_TYPE, name, actor, reason) is not None


async def resume_type(conn: Conn, name: str) -> bool:
    """Let a type go on; False if it is not paused, or none of that name was declared."""
    return await conn.fetchval(RESUME_TYPE, name) is not None


async def has_type(conn: Conn, name: str) -> bool:
    """Whether a type of this name was ever declared."""
    return bool(await conn.fetchval(HAS_TYPE, name))
