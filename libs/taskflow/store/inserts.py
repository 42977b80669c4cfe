"""Tasks become rows when they are submitted: many a statement, each once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from msgspec import Raw

from taskflow.domain.callback import shown_callback, shown_target
from taskflow.domain.retry import RetryPolicy
from taskflow.domain.task import LANE_NAMES, NewTask, Task, told_owner
from taskflow.kit.clock import rfc3339
from taskflow.store.connect import Conn, one_row
from taskflow.store.wire import time_text, to_json, uuids


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
    owner: str | None = None


# $1 ids (sorted)  $2 type  $3 queue  $4 lane  $5 payload  $6 name  $7 tags (JSON arrays)  $8 metadata  $9 run_at
# $10 delay_seconds  $11 expires_at  $12 max_attempts  $13 timeout_seconds  $14 retry  $15 owner_id  $16 trace
# $17 told events  $18 callback  $19 target
# Returns the rows that were new; an id that stands already is left alone, so a batch may be repeated.
INSERT_TASKS = """-- store.inserts.insert_tasks
WITH given AS (
    SELECT g.*, coalesce(g.run_at, now() + g.delay_seconds * interval '1 second') AS due
    FROM unnest($1::text::uuid[], $2::text[], $3::text[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::timestamptz[], $10::float8[], $11::timestamptz[], $12::smallint[], $13::float8[], $14::text[],
                $15::uuid[], $16::text[], $17::smallint[], $18::text[], $19::text[])
        AS g(id, type, queue, lane, payload, name, tags, metadata, run_at, delay_seconds, expires_at, max_attempts,
             timeout_seconds, retry, owner_id, trace, told_events, callback, target)
), made AS (
    INSERT INTO tasks (id, type, queue, lane, payload, name, tags, metadata, run_at, expires_at, max_attempts,
                       timeout_seconds, retry, owner_id, trace, told_events, callback, target, created_at, status,
                       due_at, queued_at, rung_at)
    SELECT id, type, queue, lane, payload::json, name,
           CASE WHEN tags IS NULL THEN '{}' ELSE ARRAY(SELECT json_array_elements_text(tags::json)) END,
           metadata::json, coalesce(run_at, CASE WHEN due > now() THEN due END), expires_at, max_attempts,
           timeout_seconds, retry::json, owner_id, trace, told_events, callback::json, target::json, now(),
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
# $17 told events  $18 callback  $19 target
# What INSERT_TASKS does, for tasks that differ in payload and trace only. One row: how many were new; which, if not all.
INSERT_ALIKE = """-- store.inserts.insert_alike
WITH given AS (
    SELECT $1::text::uuid[] AS ids, coalesce($9::timestamptz, now() + $10::float8 * interval '1 second') AS due,
           ARRAY(SELECT json_array_elements_text($7::text::json)) AS tags
), made AS (
    INSERT INTO tasks (id, type, queue, lane, payload, name, tags, metadata, run_at, expires_at, max_attempts,
                       timeout_seconds, retry, owner_id, trace, told_events, callback, target, created_at, status,
                       due_at, queued_at, rung_at)
    SELECT g.id, $3, $4, $5, g.payload::json, $6, tags, $8::text::json,
           coalesce($9::timestamptz, CASE WHEN due > now() THEN due END), $11, $12, $13, $14::text::json, $15,
           g.trace, $17, $18::text::json, $19::text::json, now(),
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
    "timeout_seconds", "retry", "owner_id", "callback", "target",
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
        *_told(t),
    )
    _, status, rung_at, created_at, run_at, new = made
    ids = [row.id for row in rows] if new is None else sorted(map(str, new))
    owner = told_owner(t.owner_id)
    return [Inserted(i, status, t.lane, t.queue, t.type, rung_at, created_at, run_at, owner) for i in ids]


def _told(task: NewTask) -> tuple[int | None, str | None, str | None]:
    """Which events are told, to whom; and who executes it."""
    callback, target = task.callback, task.target
    return (
        callback.bits if callback is not None else None,
        to_json(callback) if callback is not None else None,
        to_json(target) if target is not None else None,
    )


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
        *map(list, zip(*map(_told, rows), strict=True)),
    )
    owners = {t.id: told_owner(t.owner_id) for t in rows}
    made = [Inserted(str(row["id"]), *tuple(row)[1:]) for row in records]
    return [one._replace(owner=owners[one.id]) for one in made]


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
        callback=shown_callback(task.callback) if task.callback is not None else None,
        target=shown_target(task.target) if task.target is not None else None,
    )
