"""What happened by the minute and by longer steps: counts folded from deltas, times told by the workers. Never a scan of
tasks.

A row with an empty queue and type sums over all. Rows are written in the order of their key, so that a scheduler and the
workers never deadlock.
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
    FROM stepped GROUP BY GROUPING SETS ((step, at, queue, type), (step, at)) ORDER BY 1, 2, 3, 4
    ON CONFLICT (step_seconds, at, queue, type) DO UPDATE
    SET submitted = s.submitted + excluded.submitted, started = s.started + excluded.started,
        completed = s.completed + excluded.completed, failed = s.failed + excluded.failed,
        retried = s.retried + excluded.retried
)"""

# $1 queue[]  $2 type[] (both empty: over all)  $3 waits bigint[] as text  $4 runs, likewise  $5 how many seconds ago
ADD_TIMES = f"""-- store.series.add_times
INSERT INTO stat_series AS s (step_seconds, at, queue, type, waits, runs)
SELECT step, date_bin(step * interval '1 second', now() - $5 * interval '1 second', timestamptz 'epoch'), queue, type,
       waits::bigint[], runs::bigint[]
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS g(queue, type, waits, runs), unnest({STEPS}) AS steps(step)
ORDER BY 1, 2, 3, 4
ON CONFLICT (step_seconds, at, queue, type) DO UPDATE
SET waits = ARRAY(SELECT coalesce(a, 0) + coalesce(b, 0)
                  FROM unnest(s.waits, excluded.waits) WITH ORDINALITY AS u(a, b, place) ORDER BY place),
    runs = ARRAY(SELECT coalesce(a, 0) + coalesce(b, 0)
                 FROM unnest(s.runs, excluded.runs) WITH ORDINALITY AS u(a, b, place) ORDER BY place)"""

_FIGURES = "at, submitted, started, completed, failed, retried, waits, runs"

# $1 step in seconds  $2 from  $3 to (exclusive)
READ_SUMS = f"""-- store.series.read_sums
SELECT NULL AS name, {_FIGURES} FROM stat_series
WHERE step_seconds = $1 AND at >= $2 AND at < $3 AND queue = '' AND type = ''"""

# $1..$3 as above  $4 queue[]  $5 type[], an empty list does not narrow  $6 'queue' or 'type'; null: no names
_NAMED = "CASE $6::text WHEN 'queue' THEN queue WHEN 'type' THEN type END AS name"
_PARTS = """FROM stat_series
WHERE step_seconds = $1 AND at >= $2 AND at < $3 AND queue <> ''
  AND (cardinality($4::text[]) = 0 OR queue = ANY($4)) AND (cardinality($5::text[]) = 0 OR type = ANY($5))"""
READ_PARTS = f"""-- store.series.read_parts
SELECT {_NAMED}, {_FIGURES} {_PARTS}"""

# $1..$6 as above  $7 limit
RANK_NAMES = f"""-- store.series.rank_names
SELECT {_NAMED}, count(*) OVER () AS all_names {_PARTS}
GROUP BY 1 ORDER BY sum(submitted + started) DESC, 1 LIMIT $7"""

# $1 queue  $2 minutes
STARTED_LATELY = """-- store.series.started_lately
SELECT coalesce(sum(started), 0)::bigint FROM stat_series
WHERE step_seconds = 60 AND queue = $1
  AND at >= date_trunc('minute', now()) - $2::integer * interval '1 minute' AND at < date_trunc('minute', now())"""

# $1 keep for (seconds)  $2 longer steps: so many times as long  $3 limit of each step
PRUNE_SERIES = f"""-- store.series.prune_series
WITH gone AS (
    DELETE FROM stat_series WHERE ctid = ANY (ARRAY(
        SELECT old.ctid FROM unnest({STEPS}) AS steps(step), LATERAL (
            SELECT ctid FROM stat_series
            WHERE step_seconds = step
              AND at < now() - CASE WHEN step < 3600 THEN 1 ELSE $2 END * $1 * interval '1 second'
            ORDER BY at LIMIT $3 FOR UPDATE SKIP LOCKED) AS old))
    RETURNING at
)
SELECT count(*) FROM gone"""


class Times(NamedTuple):
    """How long tasks of a queue and type waited and ran (`domain.histogram`); both empty: of all."""

    queue: str
    type: str
    waits: Counts
    runs: Counts


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


async def read_sums(conn: Conn, window: Window) -> list[Figures]:
    """What happened, over all, in the steps in which something did."""
    rows = await conn.fetch(READ_SUMS, window.step_seconds, window.start, window.end)
    return [Figures(*row) for row in rows]


async def read_parts(
    conn: Conn, window: Window, queues: Sequence[str], types: Sequence[str], group_by: GroupBy | None
) -> list[Figures]:
    """What happened by queue and type, in the steps in which something did; those of one name are to be added up."""
    asked = (window.step_seconds, window.start, window.end, queues, types, group_by)
    return [Figures(*row) for row in await conn.fetch(READ_PARTS, *asked)]


async def rank_names(
    conn: Conn, window: Window, queues: Sequence[str], types: Sequence[str], group_by: GroupBy, limit: int
) -> tuple[list[str], int]:
    """The queues (or types) of most tasks, the greatest first; and how many there are in all."""
    asked = (window.step_seconds, window.start, window.end, queues, types, group_by, limit)
    rows = await conn.fetch(RANK_NAMES, *asked)
    return [row["name"] for row in rows], rows[0]["all_names"] if rows else 0


async def started_per_second(conn: Conn, queue: str, minutes: int = 5) -> float:
    """How many tasks of a queue were started a second in the last full minutes; 0.0 if none was."""
    started: int = await conn.fetchval(STARTED_LATELY, queue, minutes)
    return started / (minutes * MINUTE)


async def prune_series(conn: Conn, *, keep_seconds: float, limit: int) -> int:
    """Delete a page of what is old of each step. Returns how much went."""
    count: int = await conn.fetchval(PRUNE_SERIES, keep_seconds, LONGER_KEPT, limit)
    return count
