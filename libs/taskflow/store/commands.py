"""What callers command: cancel, retry, replay. Guarded by status in one statement, never by a version read before."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from taskflow.domain.task import Moved
from taskflow.domain.transitions import REPLAYABLE
from taskflow.store import wire
from taskflow.store.connect import Conn


class Commanded(NamedTuple):
    """A move that a command made. `origin`: the status before; `rung_at`: set when it is queued now."""

    moved: Moved
    origin: str
    rung_at: datetime | None
    worker_id: str | None

    @property
    def new_life(self) -> bool:
        """Whether the command began a new life."""
        return self.origin in REPLAYABLE


# $1 task id uuid[] (sorted)  $2 who commands
# A running task's try stays open, as a row `started`, until its worker or rescue closes it.
CANCEL_TASKS = """-- store.commands.cancel_tasks
WITH before AS (
    SELECT id, status FROM tasks WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE
), moved AS (
    UPDATE tasks t
    SET status = 'cancelled', version = t.version + 1, seq = t.seq + 1, due_at = NULL,
        finished_at = clock_timestamp()
    FROM before b
    WHERE t.id = b.id AND b.status IN ('scheduled', 'queued', 'retrying', 'running')
    RETURNING t.*, b.status AS origin
), opened AS (
    INSERT INTO executions (task_id, number, life, attempt, status, moved_to, worker_id, queued_at, started_at,
                            started_seq)
    SELECT id, number, life, attempt, 'started', 'cancelled', worker_id, queued_at, started_at, started_seq
    FROM moved WHERE origin = 'running'
), noted AS (
    INSERT INTO task_events (task_id, at, seq, kind, status, data)
    SELECT id, clock_timestamp(), seq, 'task', 'cancelled', json_build_object('by', $2::text, 'from', origin)
    FROM moved
), counted AS (
    INSERT INTO stat_deltas (n, queue, type, origin, target)
    SELECT count(*), queue, type, origin, 'cancelled' FROM moved GROUP BY queue, type, origin
)
SELECT id, seq, version, status, type, queue, lane, origin, worker_id, NULL::timestamptz AS rung_at FROM moved"""

# $1 task id uuid[] (sorted)  $2 who commands  $3 letter id or null  $4 payload or null
# Of `scheduled` and `retrying`: due now, same life. Of `failed`, `cancelled`, `expired`: the next life, which clears what
# the old one left; its pending dead letter is marked replayed. With a letter id: only while that letter is pending and of
# the task's present life.
_RETRY = """
WITH letter AS (
    SELECT task_id, life FROM dead_letters WHERE id = $3 AND status = 'pending' FOR UPDATE
), before AS (
    SELECT t.id, t.status, t.status IN ('failed', 'cancelled', 'expired') AS ended FROM tasks t
    WHERE t.id = ANY($1::uuid[])
      AND ($3::uuid IS NULL
           OR t.status = 'failed' AND EXISTS (SELECT FROM letter l WHERE l.task_id = t.id AND l.life = t.life))
    ORDER BY t.id FOR UPDATE OF t
), moved AS (
    UPDATE tasks t
    SET status = 'queued', version = t.version + 1, seq = t.seq + 1, due_at = NULL, run_at = NULL,
        queued_at = clock_timestamp(), rung_at = clock_timestamp(),
        payload = coalesce($4::json, t.payload),
        life = CASE WHEN b.ended THEN t.life + 1 ELSE t.life END,
        attempt = CASE WHEN b.ended THEN 0 ELSE t.attempt END,
        losses = CASE WHEN b.ended THEN 0 ELSE t.losses END,
        snoozes = CASE WHEN b.ended THEN 0 ELSE t.snoozes END,
        result = CASE WHEN NOT b.ended THEN t.result END,
        error = CASE WHEN NOT b.ended THEN t.error END,
        progress = CASE WHEN NOT b.ended THEN t.progress END,
        expires_at = CASE WHEN NOT b.ended THEN t.expires_at END,
        worker_id = CASE WHEN NOT b.ended THEN t.worker_id END,
        started_at = CASE WHEN NOT b.ended THEN t.started_at END,
        finished_at = NULL
    FROM before b
    WHERE t.id = b.id AND b.status IN ('scheduled', 'retrying', 'failed', 'cancelled', 'expired')
    RETURNING t.*, b.status AS origin, b.ended
), resolved AS (
    UPDATE dead_letters d SET status = 'replayed', resolved_at = clock_timestamp()
    FROM moved WHERE moved.ended AND d.task_id = moved.id AND d.status = 'pending'
), noted AS (
    INSERT INTO task_events (task_id, at, seq, kind, status, data)
    SELECT id, clock_timestamp(), seq, 'task', 'queued', json_build_object('by', $2::text, 'from', origin, 'life', life)
    FROM moved
), counted AS (
    INSERT INTO stat_deltas (n, queue, type, origin, target)
    SELECT count(*), queue, type, origin, 'queued' FROM moved GROUP BY queue, type, origin
)
SELECT id, seq, version, status, type, queue, lane, origin, worker_id, rung_at FROM moved"""

RETRY_TASKS = "-- store.commands.retry_tasks" + _RETRY

# $1 task id uuid[] (sorted)
# Goes before a retry: so that its statement sees what stands once the tasks are ours, the dead letter of one that failed
# a moment ago included, and so that all take the task's lock before the letter's.
LOCK_TASKS = """-- store.commands.lock_tasks
SELECT id FROM tasks WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE"""


async def cancel_tasks(conn: Conn, ids: list[str], *, actor: str) -> list[Commanded]:
    """Cancel what is live of these; returns the moves made."""
    rows = await conn.fetch(CANCEL_TASKS, sorted(ids), actor)
    return [_commanded(row) for row in rows]


async def retry_tasks(
    conn: Conn, ids: list[str], *, actor: str, letter_id: str | None = None, payload: str | None = None
) -> list[Commanded]:
    """Queue again what may be; returns the moves made."""
    async with conn.transaction():
        await conn.execute(LOCK_TASKS, sorted(ids))
        rows = await conn.fetch(RETRY_TASKS, sorted(ids), actor, letter_id, payload)
    return [_commanded(row) for row in rows]


def _commanded(row: wire.Row) -> Commanded:
    worker_id = str(row["worker_id"]) if row["worker_id"] else None
    return Commanded(wire.moved(row), row["origin"], row["rung_at"], worker_id)
