"""What happened to a task: its executions, and the rows that cannot be derived from them (logs, progress, commands).

All of it is numbered by `tasks.seq`, taken under the row's lock: the order of numbers is the order of commits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple

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


class Asked(NamedTuple):
    """Events that are asked for: of a task, if it is this owner's (None: anybody's), after a number, so many at once."""

    task_id: str
    after: int
    owner: str | None
    limit: int


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
SELECT number, life, attempt, status, worker_id, started_at, finished_at, error
FROM executions WHERE task_id = $1
UNION ALL
SELECT number, life, attempt, 'started', worker_id, started_at, NULL, NULL
FROM tasks WHERE id = $1 AND status = $2
ORDER BY number"""

# $1 task id  $2 after seq  $3 limit
READ_LOGS = """-- store.history.read_logs
SELECT seq, at, number, level, message FROM task_logs WHERE task_id = $1 AND seq > $2::bigint ORDER BY seq LIMIT $3"""

# $1 task id uuid[]  $2 owner id uuid[]; null: anybody's
# With the running try, which has no row yet.
READ_LIVES = """-- store.history.read_lives
SELECT g.place, t.status, t.seq, t.created_at, t.queued_at, t.number, t.life, t.attempt, t.started_at, t.started_seq,
       t.worker_id
FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS g(task_id, owner, place)
JOIN tasks t ON t.id = g.task_id AND (g.owner IS NULL OR t.owner_id = g.owner)"""

# $1 task id uuid[]  $2 after seq bigint[]
READ_TRIES = """-- store.history.read_tries
SELECT g.place, e.number, e.attempt, e.life, e.status, e.moved_to, e.queued_at, e.started_at, e.finished_at,
       e.started_seq, e.finished_seq, e.worker_id
FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS g(task_id, after, place)
JOIN executions e ON e.task_id = g.task_id AND (e.finished_seq IS NULL OR e.finished_seq > g.after)"""

# $1 task id uuid[]  $2 after seq bigint[]  $3 limit integer[]
READ_LINES = """-- store.history.read_lines
SELECT g.place, l.seq, l.at, l.number, l.level, l.message
FROM unnest($1::uuid[], $2::bigint[], $3::integer[]) WITH ORDINALITY AS g(task_id, after, n, place)
CROSS JOIN LATERAL (
    SELECT seq, at, number, level, message FROM task_logs
    WHERE task_id = g.task_id AND seq > g.after ORDER BY seq LIMIT g.n
) l"""

# $1 task id uuid[]  $2 after seq bigint[]  $3 limit integer[]
READ_MARKS = """-- store.history.read_marks
SELECT g.place, m.seq, m.at, m.kind, m.status, m.data
FROM unnest($1::uuid[], $2::bigint[], $3::integer[]) WITH ORDINALITY AS g(task_id, after, n, place)
CROSS JOIN LATERAL (
    SELECT seq, at, kind, status, data FROM task_events
    WHERE task_id = g.task_id AND seq > g.after ORDER BY seq LIMIT g.n
) m"""

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


async def read_timelines(conn: Conn, asked: Sequence[Asked]) -> list[Timeline | None]:
    """Everything needed to tell the events that are asked for; call it in a repeatable-read transaction.

    None without such a task, or if it is not the owner's. What has no news is read no further.
    """
    rows = await conn.fetch(READ_LIVES, [one.task_id for one in asked], [one.owner for one in asked])
    lives = {row["place"] - 1: row for row in rows}
    fresh = [place for place, live in lives.items() if live["seq"] > asked[place].after]
    parts = await _read_parts(conn, [asked[place] for place in fresh]) if fresh else []
    found = dict(zip(fresh, parts, strict=True))
    return [
        _timeline(lives[place], found.get(place, _NO_NEWS), one.limit) if place in lives else None
        for place, one in enumerate(asked)
    ]


class _Parts(NamedTuple):
    """The rows of one history."""

    tries: list[Row]
    lines: list[Row]
    marks: list[Row]


_NO_NEWS = _Parts([], [], [])


async def _read_parts(conn: Conn, asked: Sequence[Asked]) -> list[_Parts]:
    ids, after = [one.task_id for one in asked], [one.after for one in asked]
    limits = [one.limit for one in asked]
    tries = _by_place(await conn.fetch(READ_TRIES, ids, after), "number")
    lines = _by_place(await conn.fetch(READ_LINES, ids, after, limits), "seq")
    marks = _by_place(await conn.fetch(READ_MARKS, ids, after, limits), "seq")
    return [_Parts(tries[place], lines[place], marks[place]) for place in range(len(asked))]


def _by_place(rows: list[Row], order: str) -> dict[int, list[Row]]:
    """The rows of each that was asked for, in their order."""
    found: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["place"] - 1].append(row)
    for some in found.values():
        some.sort(key=itemgetter(order))
    return found


def _timeline(live: Row, parts: _Parts, limit: int) -> Timeline:
    cut = [rows[-1]["seq"] for rows in (parts.lines, parts.marks) if len(rows) == limit]
    tries = [_try(row) for row in parts.tries]
    if live["status"] == "running":
        tries.append(_running_try(live))
    return Timeline(
        LiveAttempt(live["status"], live["created_at"], live["queued_at"]),
        horizon=min([live["seq"], *cut]),
        tries=tries,
        marks=[_mark(row) for row in parts.marks],
        logs=[
            LogLine(r["seq"], rfc3339(r["at"]), r["number"], r["level"], r["message"]) for r in parts.lines
        ],
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


def _running_try(live: Row) -> Try:
    return Try(
        number=live["number"],
        attempt=live["attempt"],
        life=live["life"],
        status="started",
        moved_to=None,
        queued_at=live["queued_at"],
        started_at=live["started_at"],
        finished_at=None,
        started_seq=live["started_seq"],
        finished_seq=None,
        worker_id=str(live["worker_id"]) if live["worker_id"] else None,
    )


def _mark(row: Row) -> Mark:
    return Mark(row["seq"], row["at"], row["kind"], row["status"], json_value(row["data"]))
