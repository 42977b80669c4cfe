"""The figures: deltas written by every moving statement, folded into totals now and then. Never a scan of tasks."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from taskflow.store.connect import Conn


class Total(NamedTuple):
    """Tasks of one queue and type in one status, `accepted` and `pruned` among them."""

    queue: str
    type: str
    status: str
    n: int


class Day(NamedTuple):
    """What happened on a day."""

    day: date
    submitted: int
    completed: int
    failed: int


FOLD = """-- store.stats.fold
WITH gone AS (
    DELETE FROM stat_deltas WHERE ctid = ANY (ARRAY(SELECT ctid FROM stat_deltas LIMIT 20000 FOR UPDATE SKIP LOCKED))
    RETURNING *
), parts AS (
    SELECT queue, type, target AS status, n FROM gone WHERE target IS NOT NULL
    UNION ALL SELECT queue, type, origin, -n FROM gone WHERE origin IS NOT NULL
    UNION ALL SELECT queue, type, 'accepted', n FROM gone WHERE origin IS NULL
), totals AS (
    INSERT INTO stat_totals AS s (queue, type, status, n)
    SELECT queue, type, status, sum(n) FROM parts GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (queue, type, status) DO UPDATE SET n = s.n + excluded.n
), days AS (
    INSERT INTO stat_days AS s (day, queue, type, submitted, completed, failed)
    SELECT (at AT TIME ZONE 'UTC')::date, queue, type, coalesce(sum(n) FILTER (WHERE origin IS NULL), 0),
           coalesce(sum(n) FILTER (WHERE target = 'completed'), 0),
           coalesce(sum(n) FILTER (WHERE target = 'failed'), 0)
    FROM gone GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (day, queue, type) DO UPDATE
    SET submitted = s.submitted + excluded.submitted, completed = s.completed + excluded.completed,
        failed = s.failed + excluded.failed
)
SELECT count(*) FROM gone"""

READ_TOTALS = """-- store.stats.read_totals
SELECT queue, type, status, sum(n)::bigint AS n FROM (
    SELECT queue, type, status, n FROM stat_totals
    UNION ALL SELECT queue, type, target, n FROM stat_deltas WHERE target IS NOT NULL
    UNION ALL SELECT queue, type, origin, -n FROM stat_deltas WHERE origin IS NOT NULL
    UNION ALL SELECT queue, type, 'accepted', n FROM stat_deltas WHERE origin IS NULL
) AS all_parts GROUP BY queue, type, status HAVING sum(n) <> 0"""

READ_DAYS = """-- store.stats.read_days
SELECT d.day::date AS day, coalesce(sum(p.submitted), 0)::bigint AS submitted,
       coalesce(sum(p.completed), 0)::bigint AS completed, coalesce(sum(p.failed), 0)::bigint AS failed
FROM generate_series((now() AT TIME ZONE 'UTC')::date - 6, (now() AT TIME ZONE 'UTC')::date, interval '1 day') AS d(day)
LEFT JOIN (
    SELECT day, submitted, completed, failed FROM stat_days WHERE day > (now() AT TIME ZONE 'UTC')::date - 7
    UNION ALL
    SELECT (at AT TIME ZONE 'UTC')::date, CASE WHEN origin IS NULL THEN n ELSE 0 END,
           CASE WHEN target = 'completed' THEN n ELSE 0 END, CASE WHEN target = 'failed' THEN n ELSE 0 END
    FROM stat_deltas
) AS p ON p.day = d.day
GROUP BY d.day ORDER BY d.day"""


async def fold(conn: Conn) -> int:
    """Fold a page of deltas into the totals; returns how many there were."""
    count: int = await conn.fetchval(FOLD)
    return count


async def read_totals(conn: Conn) -> list[Total]:
    """The present figures, folded or not."""
    return [Total(*row) for row in await conn.fetch(READ_TOTALS)]


async def read_days(conn: Conn) -> list[Day]:
    """The last seven days, oldest first, today included."""
    return [Day(*row) for row in await conn.fetch(READ_DAYS)]
