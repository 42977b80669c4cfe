"""What happened to a task: its executions, and the rows that cannot be derived from them (logs, progress, commands).

All of it is numbered by `tasks.seq`, taken under the row's lock: the order of numbers is the order of commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from taskflow.domain.task import Execution, LogLine
from taskflow.domain.timeline import LiveAttempt, Mark, Timeline, Try
from taskflow.kit.clock import rfc3339
from taskflow.store.connect import Conn
from taskflow.store.wire import Row, json_value, time_text


class Line(Struct, frozen=True):
    """A log line (`level`, `text`) or a progress report (`fraction`, `text`) of a running attempt."""

    task_id: str
    number: int
    worker_id: str
    at: datetime
    level: str | None
    text: str | None
    fraction: float | None = None


# $1 task id uuid[]  $2 number  $3 worker id  $4 at  $5 level (null: progress)  $6 text  $7 fraction
# Numbers are taken only while the attempt is the task's newest and the worker's; else the lines are dropped. Lines travel
# through the update as arrays of their attempt: joined back to it afterwards, they would cost the square of the batch.
APPEND_LINES = """-- store.history.append_lines
WITH given AS (
    SELECT task_id, number, worker_id, count(*)::integer AS n, array_agg(at ORDER BY place) AS ats,
           array_agg(level ORDER BY place) AS levels, array_agg(text ORDER BY place) AS texts,
           array_agg(fraction ORDER BY place) AS fractions,
           (array_agg(json_build_object('fraction', fraction, 'message', text) ORDER BY place DESC)
                FILTER (WHERE level IS NULL))[1] AS progress
    FROM unnest($1::uuid[], $2::integer[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::float8[])
        WITH ORDINALITY AS g(task_id, number, worker_id, at, level, text, fraction, place)
    GROUP BY task_id, number, worker_id ORDER BY task_id
), held AS (
    UPDATE tasks t SET seq = t.seq + g.n, progress = coalesce(g.progress, t.progress)
    FROM given g
    WHERE t.id = g.task_id AND t.number = g.number AND t.worker_id = g.worker_id
    RETURNING t.id, t.number, t.seq - g.n AS base, g.ats, g.levels, g.texts, g.fractions
), numbered AS (
    SELECT h.id, h.number, h.base + l.nth AS seq, l.at, l.level, l.text, l.fraction
    FROM held h, unnest(h.ats, h.levels, h.texts, h.fractions) WITH ORDINALITY AS l(at, level, text, fraction, nth)
), lines AS (
    INSERT INTO task_logs (task_id, at, seq, number, level, message)
    SELECT id, at, seq, number, level, text FROM numbered WHERE level IS NOT NULL
), reports AS (
    INSERT INTO task_events (task_id, at, seq, kind, data)
    SELECT id, at, seq, 'progress', json_build_object('fraction', fraction, 'message', text)
    FROM numbered WHERE level IS NULL
)
SELECT id, number, base FROM held"""


async def append_lines(conn: Conn, lines: Sequence[Line]) -> dict[tuple[str, int], int]:
    """Add lines to the history of running tasks.

    Returns, by (task id, number of the attempt), after which number of the history those of an attempt stand, in the
    order given; of an attempt that is missing none was taken.
    """
    ordered = sorted(lines, key=lambda line: line.task_id)
    rows = await conn.fetch(
        APPEND_LINES,
        [line.task_id for line in ordered],
        [line.number for line in ordered],
        [line.worker_id for line in ordered],
        [line.at for line in ordered],
        [line.level for line in ordered],
        [line.text for line in ordered],
        [line.fraction for line in ordered],
    )
    return {(str(row["id"]), row["number"]): row["base"] for row in rows}


# $1 task id
# The running try, which has no row yet, is read from the task.
READ_EXECUTIONS = """-- store.history.read_executions
SELECT number, life, attempt, status, worker_id, queued_at, started_at, finished_at, error, started_seq, finished_seq,
       moved_to
FROM executions WHERE task_id = $1
UNION ALL
SELECT number, life, attempt, 'started', worker_id, queued_at, started_at, NULL, NULL, started_seq, NULL, NULL
FROM tasks WHERE id = $1 AND status = $2
ORDER BY number"""

# $1 task id  $2 after seq  $3 limit
READ_LOGS = """-- store.history.read_logs
SELECT seq, at, number, level, message FROM task_logs WHERE task_id = $1 AND seq > $2::bigint ORDER BY seq LIMIT $3"""

# $1 task id  $2 after seq  $3 limit
READ_EVENTS = """-- store.history.read_events
SELECT seq, at, kind, status, data FROM task_events WHERE task_id = $1 AND seq > $2::bigint ORDER BY seq LIMIT $3"""

# $1 task id  $2 owner id; null: anybody's
READ_LIVE = """-- store.history.read_live
SELECT status, seq, created_at, queued_at, finished_at FROM tasks
WHERE id = $1 AND ($2::uuid IS NULL OR owner_id = $2)"""

# $1 task id  $2 owner id; null: anybody's
TASK_EXISTS = """-- store.history.task_exists
SELECT EXISTS (SELECT FROM tasks WHERE id = $1 AND ($2::uuid IS NULL OR owner_id = $2))"""


async def task_exists(conn: Conn, task_id: str, owner: str | None = None) -> bool:
    """Whether there is such a task, and it is the owner's."""
    found: bool = await conn.fetchval(TASK_EXISTS, task_id, owner)
    return found


async def read_executions(conn: Conn, task_id: str) -> list[Execution]:
    """All tries of a task, oldest first."""
    return [_execution(row) for row in await conn.fetch(READ_EXECUTIONS, task_id, "running")]


async def read_logs(conn: Conn, task_id: str, *, after: int, limit: int) -> list[LogLine]:
    """Lines after number `after`, oldest first."""
    rows = await conn.fetch(READ_LOGS, task_id, after, limit)
    return [LogLine(r["seq"], rfc3339(r["at"]), r["number"], r["level"], r["message"]) for r in rows]


async def read_timeline(
    conn: Conn, task_id: str, *, after: int, limit: int, owner: str | None = None
) -> Timeline | None:
    """Everything needed to tell the events after number `after`; call it in a repeatable-read transaction.

    None without such a task, or if it is not the owner's.
    """
    live = await conn.fetchrow(READ_LIVE, task_id, owner)
    if live is None:
        return None
    logs = await conn.fetch(READ_LOGS, task_id, after, limit)
    events = await conn.fetch(READ_EVENTS, task_id, after, limit)
    tries = await conn.fetch(READ_EXECUTIONS, task_id, "running")
    cut = [rows[-1]["seq"] for rows in (logs, events) if len(rows) == limit]
    return Timeline(
        LiveAttempt(live["status"], live["created_at"], live["queued_at"]),
        horizon=min([live["seq"], *cut]),
        tries=[_try(row) for row in tries],
        marks=[_mark(row) for row in events],
        logs=[LogLine(r["seq"], rfc3339(r["at"]), r["number"], r["level"], r["message"]) for r in logs],
    )


def _execution(row: Row) -> Execution:
    finished = row["finished_at"]
    return Execution(
        number=row["number"],
        life=row["life"],
        attempt=row["attempt"],
        status=row["status"],
        worker_id=str(row["worker_id"]) if row["worker_id"] else None,
        started_at=rfc3339(row["started_at"]),
        finished_at=time_text(finished),
        duration_seconds=(finished - row["started_at"]).total_seconds() if finished else None,
        error=json_value(row["error"]),
    )


def _try(row: Row) -> Try:
    return Try(
        number=row["number"],
        attempt=row["attempt"],
        life=row["life"],
        status=row["status"],
        moved_to=row["moved_to"],
        queued_at=row["queued_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        started_seq=row["started_seq"],
        finished_seq=row["finished_seq"],
        worker_id=str(row["worker_id"]) if row["worker_id"] else None,
    )


def _mark(row: Row) -> Mark:
    return Mark(row["seq"], row["at"], row["kind"], row["status"], json_value(row["data"]))
