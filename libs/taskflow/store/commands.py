"""What callers command: cancel, retry, replay, discard. Guarded by status, never by a version that was read before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from taskflow.domain.account import By
from taskflow.domain.task import Moved
from taskflow.domain.transitions import LIVE, REPLAYABLE
from taskflow.store import wire
from taskflow.store.connect import Conn
from taskflow.store.telling import TOLD_CANCELLED, WRITE_CANCELLED


class Commanded(NamedTuple):
    """A move that a command made. `origin`: the status before; `rung_at`: set when queued now; `is_told`: by a webhook."""

    moved: Moved
    origin: str
    rung_at: datetime | None
    worker_id: str | None
    life: int
    is_told: bool

    @property
    def new_life(self) -> bool:
        """Whether the command began a new life."""
        return self.origin in REPLAYABLE


# $1 task id uuid[] (sorted)  $2 who commands  $3 why  $4 operation id  $5 status[]  $6 life integer[], or null: any
# $7 owner id, or null: anybody's
# A running task's try stays open, as a row `started`, until its worker or rescue closes it.
CANCEL_TASKS = f"""-- store.commands.cancel_tasks
WITH before AS (
    SELECT id, status FROM tasks
    WHERE id = ANY($1::uuid[]) AND ($6::integer[] IS NULL OR life = ($6::integer[])[array_position($1::uuid[], id)])
      AND ($7::uuid IS NULL OR owner_id = $7)
    ORDER BY id FOR UPDATE
), moved AS (
    UPDATE tasks t
    SET status = 'cancelled', version = t.version + 1, seq = t.seq + 1, due_at = NULL,
        finished_at = clock_timestamp()
    FROM before b
    WHERE t.id = b.id AND b.status = ANY($5::text[])
    RETURNING t.*, b.status AS origin, {TOLD_CANCELLED}
), {WRITE_CANCELLED}, opened AS (
    INSERT INTO executions (task_id, number, life, attempt, status, moved_to, worker_id, queued_at, started_at,
                            started_seq)
    SELECT id, number, life, attempt, 'started', 'cancelled', worker_id, queued_at, started_at, started_seq
    FROM moved WHERE origin = 'running'
), noted AS (
    INSERT INTO task_events (task_id, at, seq, kind, status, data)
    SELECT id, clock_timestamp(), seq, 'task', 'cancelled', json_strip_nulls(json_build_object(
        'by', $2::text, 'from', origin, 'reason', $3::text, 'operation_id', $4::uuid))
    FROM moved
), counted AS (
    INSERT INTO stat_deltas (n, queue, type, owner_id, origin, target)
    SELECT count(*), queue, type, owner_id, origin, 'cancelled' FROM moved GROUP BY queue, type, owner_id, origin
)
SELECT id, seq, version, status, type, queue, lane, origin, worker_id, NULL::timestamptz AS rung_at, life,
       told IS NOT NULL AS is_told, {wire.OWNER}
FROM moved"""

# $2 who commands  $3 why  $4 operation id  $5 payload or null
# Of `scheduled` and `retrying`: due now, same life. Of `failed`, `cancelled`, `expired`: the next life, which clears what
# the old one left; its pending dead letter is marked replayed.
_QUEUE_AGAIN = f""", moved AS (
    UPDATE tasks t
    SET status = 'queued', version = t.version + 1, seq = t.seq + 1, due_at = NULL, run_at = NULL,
        queued_at = clock_timestamp(), rung_at = clock_timestamp(),
        payload = coalesce($5::json, t.payload),
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
    UPDATE dead_letters d SET status = 'replayed', resolved_at = clock_timestamp(), resolved_by = $2::text,
        resolved_reason = $3::text, operation_id = $4::uuid
    FROM moved WHERE moved.ended AND d.task_id = moved.id AND d.status = 'pending'
), noted AS (
    INSERT INTO task_events (task_id, at, seq, kind, status, data)
    SELECT id, clock_timestamp(), seq, 'task', 'queued', json_strip_nulls(json_build_object(
        'by', $2::text, 'from', origin, 'life', life, 'reason', $3::text, 'operation_id', $4::uuid,
        'payload_changed', CASE WHEN $5::json IS NOT NULL THEN true END))
    FROM moved
), counted AS (
    INSERT INTO stat_deltas (n, queue, type, owner_id, origin, target)
    SELECT count(*), queue, type, owner_id, origin, 'queued' FROM moved GROUP BY queue, type, owner_id, origin
)
SELECT id, seq, version, status, type, queue, lane, origin, worker_id, rung_at, life, false AS is_told,
       {wire.OWNER}
FROM moved"""

# $1 task id uuid[] (sorted)  $6 version integer[], or null: any  $7 owner id, or null: anybody's
RETRY_TASKS = f"""-- store.commands.retry_tasks
WITH before AS (
    SELECT id, status, status IN ('failed', 'cancelled', 'expired') AS ended FROM tasks
    WHERE id = ANY($1::uuid[]) AND ($6::integer[] IS NULL OR version = ($6::integer[])[array_position($1::uuid[], id)])
      AND ($7::uuid IS NULL OR owner_id = $7)
    ORDER BY id FOR UPDATE
){_QUEUE_AGAIN}"""

# $1 letter id uuid[] (sorted)  $6 'pending'  $7 'failed'  $8 owner id, or null: anybody's
# Only while a letter is pending and of the task's present life.
REPLAY_LETTERS = f"""-- store.commands.replay_letters
WITH letters AS MATERIALIZED (
    SELECT task_id, life FROM dead_letters WHERE id = ANY($1::uuid[]) AND status = $6 ORDER BY id FOR UPDATE
), before AS (
    SELECT t.id, t.status, true AS ended FROM letters l JOIN tasks t ON t.id = l.task_id
    WHERE t.life = l.life AND t.status = $7 AND ($8::uuid IS NULL OR t.owner_id = $8)
){_QUEUE_AGAIN}"""

# $1 letter id uuid[] (sorted)  $2 who commands  $3 why  $4 operation id  $5 'pending'  $6 owner id, or null: anybody's
# A task may be gone; else its history tells.
DISCARD_LETTERS = """-- store.commands.discard_letters
WITH letters AS MATERIALIZED (
    SELECT id FROM dead_letters
    WHERE id = ANY($1::uuid[]) AND status = $5 AND ($6::uuid IS NULL OR owner_id = $6) ORDER BY id FOR UPDATE
), closed AS (
    UPDATE dead_letters d SET status = 'discarded', resolved_at = clock_timestamp(), resolved_by = $2::text,
        resolved_reason = $3::text, operation_id = $4::uuid
    FROM letters l WHERE d.id = l.id RETURNING d.id, d.task_id
), counted AS (
    UPDATE tasks t SET seq = t.seq + 1 FROM closed c WHERE t.id = c.task_id
    RETURNING t.id, t.seq, t.status, c.id AS letter_id
), noted AS (
    INSERT INTO task_events (task_id, at, seq, kind, status, data)
    SELECT id, clock_timestamp(), seq, 'task', status, json_strip_nulls(json_build_object(
        'by', $2::text, 'from', status, 'dead_letter', 'discarded', 'dead_letter_id', letter_id, 'reason', $3::text,
        'operation_id', $4::uuid))
    FROM counted
)
SELECT id FROM closed"""

# $1 task id uuid[] (sorted)
# Goes before a retry: so that its statement sees what stands once the tasks are ours, the dead letter of one that failed
# a moment ago included, and so that all take the task's lock before the letter's.
LOCK_TASKS = """-- store.commands.lock_tasks
SELECT id FROM tasks WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE"""

# $1 letter id uuid[]
LOCK_LETTERS = """-- store.commands.lock_letters
SELECT t.id FROM dead_letters d JOIN tasks t ON t.id = d.task_id WHERE d.id = ANY($1::uuid[])
ORDER BY t.id FOR UPDATE OF t"""


async def cancel_tasks(
    conn: Conn,
    ids: Sequence[str],
    by: By,
    *,
    statuses: Iterable[str] = LIVE,
    lives: Sequence[int] | None = None,
) -> list[Commanded]:
    """Cancel what is live of these, in one of `statuses`, and in its life if `lives` say it; returns the moves made."""
    ids, lives = _by_id(ids, lives)
    rows = await conn.fetch(
        CANCEL_TASKS, ids, by.actor, by.reason, by.operation_id, sorted(LIVE & set(statuses)), lives, by.owner
    )
    return [_commanded(row) for row in rows]


async def retry_tasks(
    conn: Conn, ids: Sequence[str], by: By, *, versions: Sequence[int] | None = None
) -> list[Commanded]:
    """Queue again what may be, and has not moved if `versions` say which it had; returns the moves made."""
    ids, versions = _by_id(ids, versions)
    async with conn.transaction():
        await conn.execute(LOCK_TASKS, ids)
        rows = await conn.fetch(
            RETRY_TASKS, ids, by.actor, by.reason, by.operation_id, None, versions, by.owner
        )
    return [_commanded(row) for row in rows]


async def replay_letters(conn: Conn, ids: list[str], by: By, payload: str | None = None) -> list[Commanded]:
    """Give the tasks of these letters, if they are pending, a new life; with another payload if one is given."""
    async with conn.transaction():
        await conn.execute(LOCK_LETTERS, sorted(ids))
        rows = await conn.fetch(
            REPLAY_LETTERS,
            sorted(ids),
            by.actor,
            by.reason,
            by.operation_id,
            payload,
            "pending",
            "failed",
            by.owner,
        )
    return [_commanded(row) for row in rows]


async def discard_letters(conn: Conn, ids: list[str], by: By) -> list[str]:
    """Resolve these letters, if they are pending, without a replay; returns the ids of those that were."""
    async with conn.transaction():
        await conn.execute(LOCK_LETTERS, sorted(ids))
        rows = await conn.fetch(
            DISCARD_LETTERS, sorted(ids), by.actor, by.reason, by.operation_id, "pending", by.owner
        )
    return [str(row["id"]) for row in rows]


def _by_id(ids: Sequence[str], guards: Sequence[int] | None) -> tuple[list[str], list[int] | None]:
    """Both in the order of the ids: so that two statements over many rows never wait for each other."""
    if guards is None:
        return sorted(ids), None
    pairs = sorted(zip(ids, guards, strict=True))
    return [task_id for task_id, _ in pairs], [guard for _, guard in pairs]


def _commanded(row: wire.Row) -> Commanded:
    worker_id = str(row["worker_id"]) if row["worker_id"] else None
    return Commanded(wire.moved(row), row["origin"], row["rung_at"], worker_id, row["life"], row["is_told"])
