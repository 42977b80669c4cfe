"""What the doctor mends. Each statement is guarded by what makes it right: what has moved meanwhile is left alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taskflow.domain.attempt import ErrorInfo
from taskflow.domain.dead_letter import Notice
from taskflow.kit.ids import new_id
from taskflow.store.connect import Conn
from taskflow.store.moves import SEARCH, SHORT_ERROR
from taskflow.store.wire import error_text

_LOCK = 0x646F6374  # one mender of figures at a time

# $1 lock
TRY_LOCK = """-- store.mend.try_lock
SELECT pg_try_advisory_lock($1)"""

UNLOCK = """-- store.mend.unlock
SELECT pg_advisory_unlock($1)"""

# $1 queue[]  $2 type[]  $3 status[] (sorted)  $4 n[]
# The difference is added, not the truth set: what moves meanwhile changes rows and figures alike, and is not lost.
CORRECT_TOTALS = """-- store.mend.correct_totals
INSERT INTO stat_totals AS s (queue, type, status, n)
SELECT queue, type, status, n FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS g(queue, type, status, n)
ORDER BY queue, type, status
ON CONFLICT (queue, type, status) DO UPDATE SET n = s.n + excluded.n"""

# $1 task id uuid[] (sorted)  $2 letter id uuid[]  $3 'failed'  $4 losses that are poison
# The task's row is what is left to tell the reason by.
WRITE_LETTERS = f"""-- store.mend.write_letters
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[]) AS g(id, letter_id)
), held AS MATERIALIZED (
    SELECT t.id, t.life, t.attempt, t.max_attempts, t.losses, t.type, t.queue, t.tags, t.worker_id,
           t.payload, t.error AS last_error FROM tasks t
    WHERE t.id = ANY($1::uuid[]) AND t.status = $3 ORDER BY t.id FOR UPDATE
), judged AS (
    SELECT h.*, g.letter_id, coalesce(h.last_error,
           (SELECT e.error FROM executions e WHERE e.task_id = h.id ORDER BY e.number DESC LIMIT 1)) AS error
    FROM held h JOIN given g ON g.id = h.id
), kept AS (
    INSERT INTO dead_letter_details (task_id, life, error, payload)
    SELECT id, life, error, payload FROM judged ON CONFLICT (task_id, life) DO NOTHING
)
INSERT INTO dead_letters (id, task_id, life, attempts, type, queue, tags, reason, worker_id, error, search, created_at)
SELECT letter_id, id, life, attempt, type, queue, tags,
       CASE WHEN losses >= $4 THEN 'poison' WHEN attempt >= max_attempts THEN 'attempts_exhausted'
            ELSE 'permanent' END,
       worker_id, {SHORT_ERROR}, {SEARCH}, clock_timestamp()
FROM judged
ON CONFLICT (task_id, life) DO NOTHING
RETURNING id, task_id, life, type, queue, reason"""  # nosec B608  # static text

# $1 letter id uuid[]
# Of a life that was followed by another: replayed. Of a task that is gone or ended otherwise: there is nothing to replay,
# discarded. Of a life that goes on: void, and deleted, or the life could not fail, which takes a letter of its own.
RESOLVE_LETTERS = """-- store.mend.resolve_letters
WITH held AS MATERIALIZED (
    SELECT t.id, t.life, t.status FROM tasks t
    WHERE t.id IN (SELECT task_id FROM dead_letters WHERE id = ANY($1::uuid[])) ORDER BY t.id FOR UPDATE
), judged AS MATERIALIZED (
    SELECT d.id, CASE WHEN h.life > d.life THEN 'replayed'
                      WHEN h.life = d.life AND h.status NOT IN ('completed', 'cancelled', 'expired') THEN 'void'
                      ELSE 'discarded' END AS verdict
    FROM dead_letters d LEFT JOIN held h ON h.id = d.task_id
    WHERE d.id = ANY($1::uuid[]) AND (h.id IS NULL OR h.life <> d.life OR h.status <> 'failed')
), dropped AS (
    DELETE FROM dead_letters d USING judged j
    WHERE d.id = j.id AND d.status = 'pending' AND j.verdict = 'void' RETURNING d.id, d.task_id, d.life
), details AS (
    DELETE FROM dead_letter_details x USING dropped WHERE x.task_id = dropped.task_id AND x.life = dropped.life
), resolved AS (
    UPDATE dead_letters d SET status = j.verdict, resolved_at = clock_timestamp(), resolved_by = 'doctor' FROM judged j
    WHERE d.id = j.id AND d.status = 'pending' AND j.verdict <> 'void' RETURNING d.id, d.status
)
SELECT id, status FROM resolved UNION ALL SELECT id, 'void' FROM dropped"""

# $1 task id uuid[]  $2 number  $3 error  $4 'started'
CLOSE_TRIES = """-- store.mend.close_tries
UPDATE executions e SET status = 'cancelled', finished_at = clock_timestamp(), error = $3::json
FROM unnest($1::uuid[], $2::integer[]) AS g(task_id, number)
WHERE e.task_id = g.task_id AND e.number = g.number AND e.status = $4
RETURNING e.task_id"""


async def try_lock(conn: Conn) -> bool:
    """Become the only one who mends figures, until `unlock` or the connection's end; False if another does."""
    had: bool = await conn.fetchval(TRY_LOCK, _LOCK)
    return had


async def unlock(conn: Conn) -> None:
    """Let others mend figures."""
    await conn.execute(UNLOCK, _LOCK)


async def correct_totals(conn: Conn, differences: Mapping[tuple[str, str, str], int]) -> None:
    """Add these differences to the totals of (queue, type, status)."""
    rows = sorted(differences.items())
    await conn.execute(
        CORRECT_TOTALS,
        [queue for (queue, _, _), _ in rows],
        [name for (_, name, _), _ in rows],
        [status for (_, _, status), _ in rows],
        [n for _, n in rows],
    )


async def write_letters(conn: Conn, ids: Sequence[str], *, poison_losses_max: int) -> list[Notice]:
    """Write the dead letters of those of these tasks that are failed and have none; returns what to announce."""
    rows = await conn.fetch(WRITE_LETTERS, sorted(ids), [new_id() for _ in ids], "failed", poison_losses_max)
    return [
        Notice(str(r["id"]), str(r["task_id"]), r["life"], r["type"], r["queue"], r["reason"]) for r in rows
    ]


async def resolve_letters(conn: Conn, ids: Sequence[str]) -> dict[str, str]:
    """Resolve those of these pending letters whose life has not failed; what became of each: `replayed`,
    `discarded`, or `void`, which was deleted."""
    return {str(row["id"]): row["status"] for row in await conn.fetch(RESOLVE_LETTERS, sorted(ids))}


async def close_tries(conn: Conn, tries: Sequence[tuple[str, int]], error: ErrorInfo) -> int:
    """Close tries that are still open; returns how many were."""
    rows = await conn.fetch(
        CLOSE_TRIES, [task_id for task_id, _ in tries], [n for _, n in tries], error_text(error), "started"
    )
    return len(rows)
