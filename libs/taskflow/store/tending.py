"""What time brings to tasks: they come due, expire, lose their worker, grow old. Run by the scheduler.

Each statement takes a page with SKIP LOCKED, so that two schedulers share the work.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from taskflow.domain.attempt import ErrorInfo
from taskflow.domain.task import Claimed, Moved
from taskflow.store import wire
from taskflow.store.connect import Conn, one_row
from taskflow.store.telling import TOLD_EXPIRED, WRITE_EXPIRED

# Is there anything at all: for the turn of now, and for duties that look more rarely. A probe an index and range; dead
# deltas are walked through only while nothing moves, when there are few.
LOOK = """-- store.tending.look
WITH seen AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM tasks WHERE status IN ('scheduled', 'retrying') AND due_at <= now())
           OR EXISTS (SELECT FROM tasks
                      WHERE expires_at IS NOT NULL AND status IN ('scheduled', 'queued', 'retrying')
                        AND expires_at <= now()) AS ripe,
           (SELECT due_at FROM tasks WHERE status IN ('scheduled', 'retrying') AND due_at > now()
            ORDER BY due_at LIMIT 1) AS due_at,
           EXISTS (SELECT FROM tasks WHERE status = 'queued') AS queued,
           EXISTS (SELECT FROM tasks WHERE status = 'running')
           OR EXISTS (SELECT FROM executions WHERE status = 'started') AS running,
           EXISTS (SELECT FROM dead_letters WHERE handled_at IS NULL) AS letters
)
SELECT ripe, extract(epoch FROM due_at - now())::float8 AS due_in_seconds, queued, running,
       queued OR running OR EXISTS (SELECT FROM stat_deltas) AS deltas, letters
FROM seen"""


class Signs(NamedTuple):
    """What there is to do, if anything: tasks due or expired (`ripe`), waiting, running (or tries left open), figures
    to fold, dead letters nobody handled; and when the next task comes due.
    """

    ripe: bool
    due_in_seconds: float | None
    queued: bool
    running: bool
    deltas: bool
    letters: bool


async def look(conn: Conn) -> Signs:
    """See whether there is anything to tend."""
    return Signs(*await one_row(conn, LOOK))


# $1 limit
# Expiry goes first: what is due and expired at once never starts.
TURN_TASKS = f"""-- store.tending.turn_tasks
WITH late AS MATERIALIZED (
    SELECT id, status FROM tasks
    WHERE expires_at IS NOT NULL AND status IN ('scheduled', 'queued', 'retrying') AND expires_at <= now()
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
), due AS MATERIALIZED (
    SELECT id, status FROM tasks
    WHERE status IN ('scheduled', 'retrying') AND due_at <= now() AND (expires_at IS NULL OR expires_at > now())
    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
), turned AS (
    SELECT id, status AS origin, 'expired' AS target FROM late UNION ALL SELECT id, status, 'queued' FROM due
), moved AS (
    UPDATE tasks t
    SET status = n.target, version = t.version + 1, seq = t.seq + 1, due_at = NULL,
        queued_at = CASE WHEN n.target = 'queued' THEN clock_timestamp() ELSE t.queued_at END,
        rung_at = CASE WHEN n.target = 'queued' THEN clock_timestamp() ELSE t.rung_at END,
        finished_at = CASE WHEN n.target = 'expired' THEN clock_timestamp() END
    FROM turned n WHERE t.id = n.id
    RETURNING t.id, t.seq, t.version, t.status, t.type, t.queue, t.lane, t.rung_at, t.owner_id, n.origin,
              t.callback, {TOLD_EXPIRED}
), {WRITE_EXPIRED}, noted AS (
    INSERT INTO task_events (task_id, at, seq, kind, status, data)
    SELECT id, clock_timestamp(), seq, 'task', 'expired', json_build_object('from', origin)
    FROM moved WHERE status = 'expired'
), counted AS (
    INSERT INTO stat_deltas (n, queue, type, owner_id, origin, target)
    SELECT count(*), queue, type, owner_id, origin, status FROM moved GROUP BY queue, type, owner_id, origin, status
)
SELECT id, seq, version, status, type, queue, lane, CASE WHEN status = 'queued' THEN rung_at END AS rung_at,
       told IS NOT NULL AS is_told, {wire.OWNER}
FROM moved"""


class Turned(NamedTuple):
    """A task that came due (`rung_at` set) or expired; `is_told`: by a webhook, too."""

    moved: Moved
    rung_at: datetime | None
    is_told: bool


async def turn_tasks(conn: Conn, limit: int) -> list[Turned]:
    """Expire what is too late, queue what is due."""
    rows = await conn.fetch(TURN_TASKS, limit)
    return [Turned(wire.moved(row), row["rung_at"], row["is_told"]) for row in rows]


_CLAIM = """t.id, t.version, t.number, t.life, t.attempt, t.max_attempts, t.losses, t.snoozes, t.type, t.queue, t.lane,
    '{}' AS payload, t.timeout_seconds, t.retry, t.started_at, t.tags, NULL AS metadata, t.worker_id,
    t.trace, t.told_events"""

# $1 limit  $2 margin in seconds
# Asked from the tasks' side: pruned and unknown workers count as dead, and so does a claim that came after its worker's
# end. And the deadline in SQL: whatever its lease says, a task past its time and margin is no longer believed to run.
FIND_UNTENDED = f"""-- store.tending.find_untended
WITH untended AS MATERIALIZED (
    SELECT {_CLAIM}, w.id IS NOT NULL AS live
    FROM tasks t LEFT JOIN workers w ON w.id = t.worker_id AND w.lease_until > clock_timestamp()
    WHERE t.status = 'running'
      AND (w.id IS NULL OR t.started_at + (t.timeout_seconds + $2) * interval '1 second' < clock_timestamp())
)
SELECT * FROM untended ORDER BY id LIMIT $1"""

# $1 worker id  $2 task id uuid[]  $3 'running'
READ_CLAIMS = f"""-- store.tending.read_claims
SELECT {_CLAIM} FROM tasks t WHERE t.id = ANY($2::uuid[]) AND t.worker_id = $1 AND t.status = $3"""

# $1 error  $2 margin in seconds
# Tries of cancelled tasks whose worker is gone; or whose time is over, for a worker that never read the answer to its
# claim does not know that there is something to close.
CLOSE_ORPHANED = """-- store.tending.close_orphaned
UPDATE executions e SET status = 'cancelled', finished_at = clock_timestamp(), error = $1::json
WHERE e.status = 'started'
  AND (NOT EXISTS (SELECT FROM workers w WHERE w.id = e.worker_id AND w.lease_until > clock_timestamp())
       OR EXISTS (SELECT FROM tasks t WHERE t.id = e.task_id
                  AND e.started_at + (t.timeout_seconds + $2) * interval '1 second' < clock_timestamp()))"""


async def find_untended(conn: Conn, limit: int, margin_seconds: float) -> list[tuple[Claimed, bool]]:
    """Running tasks whose worker has no live lease (False) or whose time is over (True)."""
    rows = await conn.fetch(FIND_UNTENDED, limit, margin_seconds)
    return [(_claimed(row, str(row["worker_id"])), row["live"]) for row in rows]


async def read_claims(conn: Conn, worker_id: str, ids: list[str]) -> list[Claimed]:
    """The tasks among these that run on this worker, as PostgreSQL believes; without payloads."""
    return [_claimed(row, worker_id) for row in await conn.fetch(READ_CLAIMS, worker_id, ids, "running")]


def _claimed(row: wire.Row, worker_id: str) -> Claimed:
    task = wire.claimed(row, worker_id)
    task.trace, task.told_events = row["trace"], row["told_events"]
    return task


async def close_orphaned(conn: Conn, error: ErrorInfo, margin_seconds: float) -> None:
    """Close the tries of cancelled tasks that nobody will close any more."""
    await conn.execute(CLOSE_ORPHANED, wire.error_text(error), margin_seconds)


# $1 keep for (seconds)  $2 limit
# Terminal rows go in batches; a range is dropped once nothing of it is left (store.partitions.drop_empty_ranges).
PRUNE_TASKS = """-- store.tending.prune_tasks
WITH old AS (
    SELECT id, queue, type, owner_id, status FROM tasks t
    WHERE id < $3 AND status IN ('completed', 'failed', 'cancelled', 'expired')
      AND finished_at < now() - $1 * interval '1 second'
      AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.task_id = t.id AND d.status = 'pending')
    ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM tasks t USING old WHERE t.id = old.id RETURNING t.id
), tries AS (
    DELETE FROM executions e USING old WHERE e.task_id = old.id
), lines AS (
    DELETE FROM task_logs l USING old WHERE l.task_id = old.id
), happened AS (
    DELETE FROM task_events e USING old WHERE e.task_id = old.id
), counted AS (
    INSERT INTO stat_deltas (n, queue, type, owner_id, origin, target)
    SELECT count(*), queue, type, owner_id, status, 'pruned' FROM old GROUP BY queue, type, owner_id, status
)
SELECT count(*) FROM gone"""

# $1 keep for (seconds)  $2 limit
PRUNE_LETTERS = """-- store.tending.prune_letters
WITH old AS (
    SELECT id, task_id, life FROM dead_letters
    WHERE status <> 'pending' AND resolved_at < now() - $1 * interval '1 second'
    ORDER BY resolved_at LIMIT $2 FOR UPDATE SKIP LOCKED
), details AS (
    DELETE FROM dead_letter_details x USING old WHERE x.task_id = old.task_id AND x.life = old.life
), gone AS (
    DELETE FROM dead_letters d USING old WHERE d.id = old.id RETURNING d.id
)
SELECT count(*) FROM gone"""

# $1 keep for (seconds)
PRUNE_OPERATIONS = """-- store.tending.prune_operations
WITH gone AS (
    DELETE FROM operations WHERE finished_at < now() - $1 * interval '1 second' RETURNING id
)
DELETE FROM operation_pages p USING gone WHERE p.operation_id = gone.id"""

PRUNE_KEYS = """-- store.tending.prune_keys
DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'"""

PRUNE_WORKERS = """-- store.tending.prune_workers
DELETE FROM workers WHERE lease_until < now() - interval '1 hour'"""

# One that has expired opens nothing: a minute later nobody can be in the midst of using it.
PRUNE_TICKETS = """-- store.tending.prune_tickets
DELETE FROM stream_tickets WHERE expires_at < now() - interval '1 minute'"""


async def prune_tasks(conn: Conn, *, before_id: str, keep_seconds: float, limit: int) -> int:
    """Delete old terminal tasks with their history; those with a pending dead letter stay. Returns how many went."""
    count: int = await conn.fetchval(PRUNE_TASKS, keep_seconds, limit, before_id)
    return count


async def prune_letters(conn: Conn, *, keep_seconds: float, limit: int) -> int:
    """Delete old dead letters that were resolved, with their details. Returns how many went."""
    count: int = await conn.fetchval(PRUNE_LETTERS, keep_seconds, limit)
    return count


async def prune_rest(conn: Conn, *, keep_letters_seconds: float) -> None:
    """Delete old operations, idempotency keys of yesterday, workers long gone and tickets that have expired."""
    await conn.execute(PRUNE_OPERATIONS, keep_letters_seconds)
    await conn.execute(PRUNE_KEYS)
    await conn.execute(PRUNE_WORKERS)
    await conn.execute(PRUNE_TICKETS)
