"""Tasks as rows: written when submitted, read by callers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import NamedTuple

from msgspec import Raw

from taskflow.domain.filters import TaskFilters
from taskflow.domain.retry import RetryPolicy
from taskflow.domain.task import LANE_NAMES, LOCAL_OWNER, NewTask, Task
from taskflow.kit.clock import rfc3339
from taskflow.kit.ids import first_id_at
from taskflow.store import wire
from taskflow.store.connect import Conn, one_row
from taskflow.store.wire import time_text, to_json, uuids


class Wanted(NamedTuple):
    """A task that is asked for: by its id, and only if it is this owner's; None: anybody's."""

    id: str
    owner: str | None = None


class Inserted(NamedTuple):
    """A task that was written: its first status, and since when its doorbell is due."""

    id: str
    status: str
    lane: int
    queue: str
    type: str
    rung_at: datetime | None
    created_at: datetime
    run_at: datetime | None


# $1 ids (sorted)  $2 type  $3 queue  $4 lane  $5 payload  $6 name  $7 tags (JSON arrays)  $8 metadata  $9 run_at
# $10 delay_seconds  $11 expires_at  $12 max_attempts  $13 timeout_seconds  $14 retry  $15 owner_id  $16 trace
# Returns the rows that were new; an id that stands already is left alone, so a batch may be repeated.
INSERT_TASKS = """-- store.tasks.insert_tasks
WITH given AS (
    SELECT g.*, coalesce(g.run_at, now() + g.delay_seconds * interval '1 second') AS due
    FROM unnest($1::text::uuid[], $2::text[], $3::text[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::timestamptz[], $10::float8[], $11::timestamptz[], $12::smallint[], $13::float8[], $14::text[],
                $15::uuid[], $16::text[])
        AS g(id, type, queue, lane, payload, name, tags, metadata, run_at, delay_seconds, expires_at, max_attempts,
             timeout_seconds, retry, owner_id, trace)
), made AS (
    INSERT INTO tasks (id, type, queue, lane, payload, name, tags, metadata, run_at, expires_at, max_attempts,
                       timeout_seconds, retry, owner_id, trace, created_at, status, due_at, queued_at, rung_at)
    SELECT id, type, queue, lane, payload::json, name,
           CASE WHEN tags IS NULL THEN '{}' ELSE ARRAY(SELECT json_array_elements_text(tags::json)) END,
           metadata::json, coalesce(run_at, CASE WHEN due > now() THEN due END), expires_at, max_attempts,
           timeout_seconds, retry::json, owner_id, trace, now(),
           CASE WHEN due > now() THEN 'scheduled' ELSE 'queued' END,
           CASE WHEN due > now() THEN due END,
           CASE WHEN due > now() THEN NULL ELSE now() END,
           CASE WHEN due > now() THEN NULL ELSE now() END
    FROM given
    ON CONFLICT (id) DO NOTHING
    RETURNING id, status, lane, queue, type, rung_at, created_at, run_at, owner_id
), counted AS (
    INSERT INTO stat_deltas (n, queue, type, owner_id, target)
    SELECT count(*), queue, type, owner_id, status FROM made GROUP BY queue, type, owner_id, status
)
SELECT id, status, lane, queue, type, rung_at, created_at, run_at FROM made"""


# $1 ids (sorted)  $2 payload  $3 type  $4 queue  $5 lane  $6 name  $7 tags (JSON array)  $8 metadata  $9 run_at
# $10 delay_seconds  $11 expires_at  $12 max_attempts  $13 timeout_seconds  $14 retry  $15 owner_id  $16 traces, or null
# What INSERT_TASKS does, for tasks that differ in payload and trace only. One row: how many were new; which, if not all.
INSERT_ALIKE = """-- store.tasks.insert_alike
WITH given AS (
    SELECT $1::text::uuid[] AS ids, coalesce($9::timestamptz, now() + $10::float8 * interval '1 second') AS due,
           ARRAY(SELECT json_array_elements_text($7::text::json)) AS tags
), made AS (
    INSERT INTO tasks (id, type, queue, lane, payload, name, tags, metadata, run_at, expires_at, max_attempts,
                       timeout_seconds, retry, owner_id, trace, created_at, status, due_at, queued_at, rung_at)
    SELECT g.id, $3, $4, $5, g.payload::json, $6, tags, $8::text::json,
           coalesce($9::timestamptz, CASE WHEN due > now() THEN due END), $11, $12, $13, $14::text::json, $15,
           g.trace, now(),
           CASE WHEN due > now() THEN 'scheduled' ELSE 'queued' END,
           CASE WHEN due > now() THEN due END,
           CASE WHEN due > now() THEN NULL ELSE now() END,
           CASE WHEN due > now() THEN NULL ELSE now() END
    FROM given, unnest(ids, $2::text[], $16::text[]) AS g(id, payload, trace)
    ON CONFLICT (id) DO NOTHING
    RETURNING id, status, rung_at, created_at, run_at
), counted AS (
    INSERT INTO stat_deltas (n, queue, type, owner_id, target)
    SELECT count(*), $4, $3, $15, status FROM made GROUP BY status
)
SELECT count(*) AS n, min(status) AS status, min(rung_at) AS rung_at, min(created_at) AS created_at,
       min(run_at) AS run_at,
       CASE WHEN count(*) < (SELECT cardinality(ids) FROM given) THEN coalesce(array_agg(id), '{}') END AS ids
FROM made"""

_what_is_alike = attrgetter(
    "type", "queue", "lane", "name", "tags", "metadata", "run_at", "delay_seconds", "expires_at", "max_attempts",
    "timeout_seconds", "retry", "owner_id",
)  # fmt: skip


async def insert_tasks(conn: Conn, tasks: Sequence[NewTask]) -> list[Inserted]:
    """Write new tasks, whose `max_attempts`, `timeout_seconds` and `retry` are settled. Returns those not there yet.

    What a batch has in common is told once: of most batches that is all but their ids and payloads.
    """
    rows = sorted(tasks, key=attrgetter("id"))
    first = _what_is_alike(rows[0])
    if all(_what_is_alike(row) == first for row in rows):
        return await _insert_alike(conn, rows)
    return await _insert_various(conn, rows)


async def _insert_alike(conn: Conn, rows: Sequence[NewTask]) -> list[Inserted]:
    t = rows[0]
    made = await one_row(
        conn,
        INSERT_ALIKE,
        uuids([row.id for row in rows]),
        [row.payload for row in rows],
        t.type,
        t.queue,
        t.lane,
        t.name,
        to_json(t.tags),
        t.metadata if t.metadata != "{}" else None,
        t.run_at,
        t.delay_seconds,
        t.expires_at,
        t.max_attempts,
        t.timeout_seconds,
        to_json(t.retry),
        t.owner_id,
        _traces(rows),
    )
    _, status, rung_at, created_at, run_at, new = made
    ids = [row.id for row in rows] if new is None else sorted(map(str, new))
    return [Inserted(i, status, t.lane, t.queue, t.type, rung_at, created_at, run_at) for i in ids]


def _traces(rows: Sequence[NewTask]) -> list[str | None] | None:
    """None where there are none, as nearly always: it costs nothing then."""
    return [row.trace for row in rows] if any(row.trace for row in rows) else None


async def _insert_various(conn: Conn, rows: Sequence[NewTask]) -> list[Inserted]:
    records = await conn.fetch(
        INSERT_TASKS,
        uuids([t.id for t in rows]),
        [t.type for t in rows],
        [t.queue for t in rows],
        [t.lane for t in rows],
        [t.payload for t in rows],
        [t.name for t in rows],
        [to_json(t.tags) if t.tags else None for t in rows],
        [t.metadata if t.metadata != "{}" else None for t in rows],
        [t.run_at for t in rows],
        [t.delay_seconds for t in rows],
        [t.expires_at for t in rows],
        [t.max_attempts for t in rows],
        [t.timeout_seconds for t in rows],
        [to_json(t.retry) for t in rows],
        [t.owner_id for t in rows],
        [t.trace for t in rows],
    )
    return [Inserted(str(row["id"]), *tuple(row)[1:]) for row in records]


def as_submitted(task: NewTask, row: Inserted) -> Task:
    """The task as it was when it was written, without reading it back."""
    return Task(
        id=task.id,
        type=task.type,
        name=task.name,
        queue=task.queue,
        priority=LANE_NAMES[task.lane],
        status=row.status,
        waiting_for=None,
        version=1,
        life=1,
        attempt=0,
        max_attempts=task.max_attempts or 0,
        payload=Raw(task.payload.encode()),
        result=None,
        error=None,
        progress=None,
        tags=task.tags,
        metadata=Raw(task.metadata.encode()),
        timeout_seconds=task.timeout_seconds or 0,
        retry=task.retry or RetryPolicy(),
        run_at=time_text(row.run_at),
        next_attempt_at=time_text(row.run_at) if row.status == "scheduled" else None,
        expires_at=time_text(task.expires_at),
        created_at=rfc3339(row.created_at),
        queued_at=time_text(row.rung_at),
        started_at=None,
        finished_at=None,
        worker_id=None,
        owner_id=task.owner_id,
        callback=None,
        target=None,
    )


_COLUMNS = """id, owner_id, worker_id, created_at, run_at, due_at, expires_at, queued_at, started_at, finished_at,
    timeout_seconds, version, seq, life, attempt, max_attempts, lane, status, type, queue, name, tags, error, progress,
    metadata, retry"""

# $1 id uuid[]  $2 owner id uuid[]; null: anybody's
READ_TASKS = f"""-- store.tasks.read_tasks
SELECT {_COLUMNS}, payload, result, g.owner
FROM unnest($1::uuid[], $2::uuid[]) AS g(wanted, owner)
JOIN tasks ON id = g.wanted AND (g.owner IS NULL OR owner_id = g.owner)"""

# $1 id uuid[]
READ_STATUSES = """-- store.tasks.read_statuses
SELECT id, status, seq FROM tasks WHERE id = ANY($1::uuid[])"""

# $1 status[]  $2 type[]  $3 queue[]  $4 lane[]  $5 tags (all of them)  $6 first id  $7 end id (exclusive)
# $8 created after  $9 created before; an empty list or a null does not narrow
_MATCH = """id >= $6 AND id < $7
  AND (cardinality($1::text[]) = 0 OR status = ANY($1))
  AND (cardinality($2::text[]) = 0 OR type = ANY($2))
  AND (cardinality($3::text[]) = 0 OR queue = ANY($3))
  AND (cardinality($4::smallint[]) = 0 OR lane = ANY($4))
  AND (cardinality($5::text[]) = 0 OR tags @> $5)
  AND ($8::timestamptz IS NULL OR created_at > $8) AND ($9::timestamptz IS NULL OR created_at < $9)"""

# $10 owner id: null in the first, never in the second, which has an index of its own
MATCH = f"{_MATCH} AND $10::uuid IS NULL"
MATCH_OWN = f"{_MATCH} AND owner_id = $10 AND owner_id <> '{LOCAL_OWNER}'"

# $11 limit  $12 with payload  $13 with result
_LIST = f"""SELECT {_COLUMNS}, CASE WHEN $12 THEN payload END AS payload, CASE WHEN $13 THEN result END AS result
FROM tasks
WHERE"""
_PAGE = "ORDER BY id DESC LIMIT $11"
LIST_TASKS = f"""-- store.tasks.list_tasks
{_LIST} {MATCH} {_PAGE}"""
LIST_OWN_TASKS = f"""-- store.tasks.list_own_tasks
{_LIST} {MATCH_OWN} {_PAGE}"""

_FIRST_ID = "00000000-0000-0000-0000-000000000000"
_LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
_SLACK = timedelta(minutes=1)
"""An id is made by the api's clock a moment before its row gets PostgreSQL's time of the insert."""
_EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)


async def read_tasks(conn: Conn, wanted: Sequence[Wanted]) -> dict[Wanted, Task]:
    """The tasks that exist of these ids, each only if it is the owner's."""
    rows = await conn.fetch(READ_TASKS, [one.id for one in wanted], [one.owner for one in wanted])
    return {
        Wanted(str(row["id"]), str(row["owner"]) if row["owner"] else None): wire.task(row) for row in rows
    }


async def read_statuses(conn: Conn, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Status and newest history number of these ids that exist."""
    return {str(row["id"]): (row["status"], row["seq"]) for row in await conn.fetch(READ_STATUSES, ids)}


async def list_tasks(
    conn: Conn, filters: TaskFilters, *, limit: int, before: str | None, payload: bool, result: bool
) -> list[Task]:
    """Newest first, `limit` at most, older than `before`. What is not asked for stays behind."""
    statement = LIST_OWN_TASKS if filters.owner else LIST_TASKS
    records = await conn.fetch(statement, *matching(filters, before), limit, payload, result)
    return [wire.task(row) for row in records]


def matching(filters: TaskFilters, before: str | None = None) -> tuple[object, ...]:
    """The parameters of `MATCH` and `MATCH_OWN`."""
    return (
        list(filters.statuses),
        list(filters.types),
        list(filters.queues),
        list(filters.lanes),
        list(filters.tags),
        *_bounds(filters, before),
        filters.created_after,
        filters.created_before,
        filters.owner,
    )


def _bounds(filters: TaskFilters, before: str | None) -> tuple[str, str]:
    """Times narrow the range of ids, so that only the partitions that can hold them are read."""
    after, until = filters.created_after, filters.created_before
    first = first_id_at(max(after, _EARLIEST) - _SLACK) if after else _FIRST_ID
    end = first_id_at(min(max(until, _EARLIEST), _LATEST) + _SLACK) if until else _LAST_ID
    return first, min(end, before) if before else end
