"""Doorbells as rows remember them: `rung_at` of queued tasks, for healing, parking and unparking.

A queued row is the outbox of its doorbell. Comparisons are between stamps of PostgreSQL's clock alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from taskflow.domain.callback import PUSH_TYPE
from taskflow.store.connect import Conn
from taskflow.store.wire import Row


class Rung(NamedTuple):
    """A task whose doorbell is to be rung now."""

    id: str
    lane: int
    queue: str
    rung_at: datetime


class Head(NamedTuple):
    """The oldest stamp of the queued tasks of one (queue, lane), whether some are parked, and PostgreSQL's now."""

    queue: str
    lane: int
    rung_at: datetime
    parked: bool
    now: datetime


# A loose index scan: one probe per (queue, lane), however many rows wait.
READ_HEADS = """-- store.doorbells.read_heads
WITH RECURSIVE heads AS (
    (SELECT queue, lane, rung_at FROM tasks WHERE status = 'queued' ORDER BY queue, lane, rung_at LIMIT 1)
    UNION ALL
    SELECT n.queue, n.lane, n.rung_at
    FROM heads h, LATERAL (
        SELECT t.queue, t.lane, t.rung_at FROM tasks t
        WHERE t.status = 'queued' AND (t.queue, t.lane) > (h.queue, h.lane)
        ORDER BY t.queue, t.lane, t.rung_at LIMIT 1) n
)
SELECT h.queue, h.lane, h.rung_at, coalesce(last.rung_at = 'infinity', false) AS parked, now() AS now
FROM heads h LEFT JOIN LATERAL (
    SELECT t.rung_at FROM tasks t WHERE t.status = 'queued' AND t.queue = h.queue AND t.lane = h.lane
    ORDER BY t.rung_at DESC LIMIT 1) last ON true"""

# $1 queue  $2 lane  $3 rung before  $4 limit
RING_AGAIN = """-- store.doorbells.ring_again
WITH lost AS MATERIALIZED (
    SELECT id FROM tasks
    WHERE status = 'queued' AND queue = $1 AND lane = $2 AND rung_at < $3
    ORDER BY rung_at LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE tasks t SET rung_at = clock_timestamp() FROM lost WHERE t.id = lost.id
RETURNING t.id, t.lane, t.queue, t.rung_at"""

# $1 task id uuid[] (sorted)  $2 'queued'
PARK = """-- store.doorbells.park
UPDATE tasks t SET rung_at = 'infinity' FROM unnest($1::uuid[]) AS g(id) WHERE t.id = g.id AND t.status = $2
RETURNING t.id"""

# $1 queue[]  $2 type[]  (pairs)  $3 limit  $4 'http.push': the type as which tasks with a target are served
UNPARK = """-- store.doorbells.unpark
WITH served AS MATERIALIZED (
    SELECT queue, array_agg(type) AS types FROM unnest($1::text[], $2::text[]) AS g(queue, type) GROUP BY queue
), parked AS MATERIALIZED (
    SELECT p.id FROM served s, generate_series(0, 3) AS l(lane), LATERAL (
        SELECT t.id FROM tasks t
        WHERE t.status = 'queued' AND t.queue = s.queue AND t.lane = l.lane AND t.rung_at = 'infinity'
          AND CASE WHEN t.target IS NULL THEN t.type = ANY (s.types)
                   ELSE $4 = ANY (s.types) AND NOT EXISTS (SELECT FROM task_types p WHERE p.name = t.type AND p.paused)
              END
        LIMIT $3 FOR UPDATE SKIP LOCKED) p
    LIMIT $3
)
UPDATE tasks t SET rung_at = clock_timestamp() FROM parked WHERE t.id = parked.id
RETURNING t.id, t.lane, t.queue, t.rung_at"""


async def read_heads(conn: Conn) -> list[Head]:
    """The oldest doorbell of every (queue, lane) with something waiting; `infinity` if all of it is parked."""
    return [
        Head(r["queue"], r["lane"], _aware(r["rung_at"]), r["parked"], r["now"])
        for r in await conn.fetch(READ_HEADS)
    ]


async def ring_again(conn: Conn, queue: str, lane: int, before: datetime, limit: int) -> list[Rung]:
    """Stamp a page of queued tasks whose doorbell is older than `before`; the caller publishes after the commit."""
    return _rung(await conn.fetch(RING_AGAIN, queue, lane, before, limit))


async def park(conn: Conn, ids: Sequence[str]) -> None:
    """Let these queued tasks wait without a doorbell until a worker declares their type."""
    await conn.execute(PARK, sorted(ids), "queued")


async def unpark(conn: Conn, served: Sequence[tuple[str, str]], limit: int) -> list[Rung]:
    """Stamp parked tasks of these (queue, type) pairs; the caller publishes after the commit."""
    if not served:
        return []
    return _rung(await conn.fetch(UNPARK, [q for q, _ in served], [t for _, t in served], limit, PUSH_TYPE))


def _aware(moment: datetime) -> datetime:
    """asyncpg gives `infinity` as a time without a zone, which cannot be compared with one that has it."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _rung(rows: Sequence[Row]) -> list[Rung]:
    return [Rung(str(r["id"]), r["lane"], r["queue"], r["rung_at"]) for r in rows]
