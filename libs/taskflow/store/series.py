"""What happened by the minute and by longer steps: counts folded from deltas, times told by the workers. Never a scan of
tasks.

There is a row for each queue and type, for each queue (its type is empty), for each type (its queue is), and for all. Rows
are written in the order of their key, so that a scheduler and the workers never deadlock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from taskflow.domain.histogram import Counts
from taskflow.domain.series import GroupBy, Window
from taskflow.store.connect import Conn

MINUTE = 60
LONGER_KEPT = 13
"""Steps of an hour and more are kept so many times as long as shorter ones."""
STEPS = "ARRAY[60, 300, 900, 3600, 21600, 86400]"
"""`domain.series.STEPS`."""

# Of `gone`, the deltas that a fold takes (store.stats).
COUNT_MOVES = f"""happened AS (
    SELECT date_bin(interval '1 minute', at, timestamptz 'epoch') AS at, queue, type,
           sum(n) FILTER (WHERE origin IS NULL) AS submitted,
           sum(n) FILTER (WHERE origin = 'queued' AND target = 'running') AS started,
           sum(n) FILTER (WHERE target = 'completed') AS completed, sum(n) FILTER (WHERE target = 'failed') AS failed,
           sum(n) FILTER (WHERE origin = 'running' AND target = 'retrying') AS retried
    FROM gone
    WHERE origin IS NULL OR target IN ('completed', 'failed')
       OR (origin, target) IN (('queued', 'running'), ('running', 'retrying'))
    GROUP BY 1, 2, 3
), stepped AS (
    SELECT step, date_bin(step * interval '1 second', h.at, timestamptz 'epoch') AS at, h.queue, h.type, h.submitted,
           h.started, h.completed, h.failed, h.retried
    FROM happened h, unnest({STEPS}) AS steps(step)
), series AS (
    INSERT INTO stat_series AS s (step_seconds, at, queue, type, submitted, started, completed, failed, retried)
    SELECT step, at, coalesce(queue, ''), coalesce(type, ''), coalesce(sum(submitted), 0), coalesce(sum(started), 0),
           coalesce(sum(completed), 0), coalesce(sum(failed), 0), coalesce(sum(retried), 0)
    FROM stepped GROUP BY step, at, CUBE (queue, type) ORDER BY 1, 2, 3, 4
    ON CONFLICT (step_seconds, at, queue, type) DO UPDATE
    SET submitted = s.submitted + excluded.submitted, started = s.started + excluded.started,
        completed = s.completed + excluded.completed, failed = s.failed + excluded.failed,
        retried = s.retried + excluded.retried
)"""

# $1 queue[]  $2 type[] (empty: over all)  $3 waits integer[] as text  $4 runs, likewise  $5 how many seconds ago
ADD_TIMES = f"""-- store.series.add_times
INSERT INTO stat_series AS s (step_seconds, at, queue, type, waits, runs)
SELECT step, date_bin(step * interval '1 second', now() - $5 * interval '1 second', timestamptz 'epoch'), queue, type,
       waits::integer[], runs::integer[]
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS g(queue, type, waits, runs), unnest({STEPS}) AS steps(step)
ORDER BY 1, 2, 3, 4
ON CONFLICT (step_seconds, at, queue, type) DO UPDATE
SET waits = ARRAY(SELECT least(coalesce(a, 0)::bigint + coalesce(b, 0), 2147483647)::integer
                  FROM unnest(s.waits, excluded.waits) WITH ORDINALITY AS u(a, b, place) ORDER BY place),
    runs = ARRAY(SELECT least(coalesce(a, 0)::bigint + coalesce(b, 0), 2147483647)::integer
                 FROM unnest(s.runs, excluded.runs) WITH ORDINALITY AS u(a, b, place) ORDER BY place)"""

# $1 step in seconds  $2 from  $3 to (exclusive)  $4 queue[]  $5 type[], an empty text: the rows over all
# $6 'queue' or 'type'; null: no names
# Said by lists alone, so that a plan that is made once and kept finds these rows by the index, however many there are.
READ_FIGURES = """-- store.series.read_figures
SELECT CASE $6::text WHEN 'queue' THEN queue WHEN 'type' THEN type END AS name, at, submitted, started, completed,
       failed, retried, waits, runs
FROM stat_series WHERE step_seconds = $1 AND at >= $2 AND at < $3 AND queue = ANY($4) AND type = ANY($5)"""

# $1..$3 as above  $4 names, an empty list does not narrow  $5 of the other kind, as above  $6 limit
_RANK = """SELECT <named> AS name, count(*) OVER () AS all_names
FROM stat_series
WHERE step_seconds = $1 AND at >= $2 AND at < $3 AND <named> <> '' AND (cardinality($4::text[]) = 0 OR <named> = ANY($4))
  AND <other> = ANY($5)
GROUP BY 1 ORDER BY sum(submitted + started) DESC, 1 LIMIT $6"""
RANK_QUEUES = f"""-- store.series.rank_queues
{_RANK.replace("<named>", "queue").replace("<other>", "type")}"""
RANK_TYPES = f"""-- store.series.rank_types
{_RANK.replace("<named>", "type").replace("<other>", "queue")}"""

# $1 queue  $2 minutes
STARTED_LATELY = """-- store.series.started_lately
SELECT coalesce(sum(started), 0)::bigint FROM stat_series
WHERE step_seconds = 60 AND queue = $1 AND type <> ''
  AND at >= date_trunc('minute', now()) - $2::integer * interval '1 minute' AND at < date_trunc('minute', now())"""

# $1 keep for (seconds)  $2 longer steps: so many times as long  $3 limit of each step
PRUNE_SERIES = f"""-- store.series.prune_series
WITH gone AS (
    DELETE FROM stat_series WHERE ctid = ANY (ARRAY(
        SELECT old.ctid FROM unnest({STEPS}) AS steps(step), LATERAL (
            SELECT ctid FROM stat_series
            WHERE step_seconds = step
              AND at < now() - CASE WHEN step < 3600 THEN 1 ELSE $2 END * $1::float8 * interval '1 second'
            ORDER BY at LIMIT $3 FOR UPDATE SKIP LOCKED) AS old))
    RETURNING at
)
SELECT count(*) FROM gone"""


_OVER_ALL = ("",)


class Times(NamedTuple):
    """How long tasks of a queue and type waited and ran (`domain.histogram`); what is empty: of all."""

    queue: str
    type: str
    waits: Counts
    runs: Counts


class Asked(NamedTuple):
    """What is asked for: when; of which queues and types (empty: over all); and what series are named by, if anything."""

    window: Window
    queues: Sequence[str] = ()
    types: Sequence[str] = ()
    group_by: GroupBy | None = None


class Figures(NamedTuple):
    """What happened in one step; `name` is the queue's or the type's, if it is asked by them."""

    name: str | None
    at: datetime
    submitted: int
    started: int
    completed: int
    failed: int
    retried: int
    waits: list[int]
    runs: list[int]


async def add_times(conn: Conn, times: Sequence[Times], *, seconds_ago: float) -> None:
    """Add what was measured about so long ago, in every step."""
    await conn.execute(
        ADD_TIMES,
        [each.queue for each in times],
        [each.type for each in times],
        [_array(each.waits) for each in times],
        [_array(each.runs) for each in times],
        seconds_ago,
    )


def _array(counts: Counts) -> str:
    return "{" + ",".join(map(str, counts)) + "}"


async def read_figures(conn: Conn, asked: Asked) -> list[Figures]:
    """What happened, in the steps in which something did; rows of one name and step are to be added up.

    What is not narrowed is told over all: who wants series by name says the names.
    """
    window = asked.window
    found = await conn.fetch(
        READ_FIGURES,
        *(window.step_seconds, window.start, window.end),
        *(asked.queues or _OVER_ALL, asked.types or _OVER_ALL),
        asked.group_by,
    )
    return [Figures(*row) for row in found]


async def rank_names(conn: Conn, asked: Asked, limit: int) -> tuple[list[str], int]:
    """The queues (or types) of most tasks, the greatest first; and how many there are in all."""
    window = asked.window
    if asked.group_by == "queue":
        statement, named, other = RANK_QUEUES, asked.queues, asked.types
    else:
        statement, named, other = RANK_TYPES, asked.types, asked.queues
    rows = await conn.fetch(
        statement, window.step_seconds, window.start, window.end, named, other or _OVER_ALL, limit
    )
    return [row["name"] for row in rows], rows[0]["all_names"] if rows else 0


async def started_per_second(conn: Conn, queue: str, minutes: int = 5) -> float:
    """How many tasks of a queue were started a second in the last full minutes; 0.0 if none was."""
    started: int = await conn.fetchval(STARTED_LATELY, queue, minutes)
    return started / (minutes * MINUTE)


async def prune_series(conn: Conn, *, keep_seconds: float, limit: int) -> int:
    """Delete a page of what is old of each step. Returns how much went."""
    count: int = await conn.fetchval(PRUNE_SERIES, keep_seconds, LONGER_KEPT, limit)
    return count
