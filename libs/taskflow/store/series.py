"""What happened by the minute and by the hour: counts folded from deltas, times told by the workers. Never a scan of tasks.

A row with an empty queue and type sums over all.
"""

from __future__ import annotations

from taskflow.store.connect import Conn

MINUTE = 60

# $1 queue  $2 minutes
STARTED_LATELY = """-- store.series.started_lately
SELECT coalesce(sum(started), 0)::bigint FROM stat_series
WHERE step_seconds = 60 AND queue = $1
  AND at >= date_trunc('minute', now()) - $2::integer * interval '1 minute' AND at < date_trunc('minute', now())"""


async def started_per_second(conn: Conn, queue: str, minutes: int = 5) -> float:
    """How many tasks of a queue were started a second in the last full minutes; 0.0 if none was."""
    started: int = await conn.fetchval(STARTED_LATELY, queue, minutes)
    return started / (minutes * MINUTE)
