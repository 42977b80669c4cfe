"""The figures: deltas written by every moving statement, folded into totals now and then. Never a scan of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from taskflow.store.connect import Conn
from taskflow.store.series import COUNT_MOVES


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


# Deltas of accounts' tasks go into their owners' figures too. The built-in owner has none of his own: he sees all.
FOLD = f"""-- store.stats.fold
WITH gone AS (
    DELETE FROM stat_deltas WHERE ctid = ANY (ARRAY(SELECT ctid FROM stat_deltas LIMIT 20000 FOR UPDATE SKIP LOCKED))
    RETURNING *
), parts AS (
    SELECT owner_id, queue, type, target AS status, n FROM gone WHERE target IS NOT NULL
    UNION ALL SELECT owner_id, queue, type, origin, -n FROM gone WHERE origin IS NOT NULL
    UNION ALL SELECT owner_id, queue, type, 'accepted', n FROM gone WHERE origin IS NULL
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
), owned_totals AS (
    INSERT INTO owner_totals AS s (owner_id, queue, type, status, n)
    SELECT owner_id, queue, type, status, sum(n) FROM parts
    WHERE owner_id <> '00000000-0000-0000-0000-000000000000' GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (owner_id, queue, type, status) DO UPDATE SET n = s.n + excluded.n
), owned_days AS (
    INSERT INTO owner_days AS s (owner_id, day, submitted, completed, failed)
    SELECT owner_id, (at AT TIME ZONE 'UTC')::date, coalesce(sum(n) FILTER (WHERE origin IS NULL), 0),
           coalesce(sum(n) FILTER (WHERE target = 'completed'), 0),
           coalesce(sum(n) FILTER (WHERE target = 'failed'), 0)
    FROM gone WHERE owner_id <> '00000000-0000-0000-0000-000000000000' GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (owner_id, day) DO UPDATE
    SET submitted = s.submitted + excluded.submitted, completed = s.completed + excluded.completed,
        failed = s.failed + excluded.failed
), {COUNT_MOVES}
SELECT count(*) FROM gone"""

# $1 keep for (days)
# What an owner did on a day is a part of what was done on it: as long as no day is old, no owner's is looked for.
PRUNE_DAYS = """-- store.stats.prune_days
WITH owned AS (
    DELETE FROM owner_days
    WHERE day < (now() AT TIME ZONE 'UTC')::date - $1::integer
      AND EXISTS (SELECT FROM stat_days d WHERE d.day < (now() AT TIME ZONE 'UTC')::date - $1::integer)
)
DELETE FROM stat_days WHERE day < (now() AT TIME ZONE 'UTC')::date - $1::integer"""

READ_TOTALS = """-- store.stats.read_totals
SELECT queue, type, status, sum(n)::bigint AS n FROM (
    SELECT queue, type, status, n FROM stat_totals
    UNION ALL SELECT queue, type, target, n FROM stat_deltas WHERE target IS NOT NULL
    UNION ALL SELECT queue, type, origin, -n FROM stat_deltas WHERE origin IS NOT NULL
    UNION ALL SELECT queue, type, 'accepted', n FROM stat_deltas WHERE origin IS NULL
) AS all_parts GROUP BY queue, type, status HAVING sum(n) <> 0"""

# $1 owner id, not the built-in one: said beside it, so that the partial index of deltas may serve. So below.
READ_TOTALS_OF = """-- store.stats.read_totals_of
WITH unfolded AS MATERIALIZED (
    SELECT queue, type, origin, target, n FROM stat_deltas
    WHERE owner_id = $1 AND owner_id <> '00000000-0000-0000-0000-000000000000'
)
SELECT queue, type, status, sum(n)::bigint AS n FROM (
    SELECT queue, type, status, n FROM owner_totals WHERE owner_id = $1
    UNION ALL SELECT queue, type, target, n FROM unfolded WHERE target IS NOT NULL
    UNION ALL SELECT queue, type, origin, -n FROM unfolded WHERE origin IS NOT NULL
    UNION ALL SELECT queue, type, 'accepted', n FROM unfolded WHERE origin IS NULL
) AS all_parts GROUP BY queue, type, status HAVING sum(n) <> 0"""

READ_OWNED = """-- store.stats.read_owned
WITH unfolded AS MATERIALIZED (
    SELECT owner_id, queue, type, origin, target, n FROM stat_deltas
    WHERE owner_id <> '00000000-0000-0000-0000-000000000000'
)
SELECT owner_id, queue, type, status, sum(n)::bigint AS n FROM (
    SELECT owner_id, queue, type, status, n FROM owner_totals
    UNION ALL SELECT owner_id, queue, type, target, n FROM unfolded WHERE target IS NOT NULL
    UNION ALL SELECT owner_id, queue, type, origin, -n FROM unfolded WHERE origin IS NOT NULL
    UNION ALL SELECT owner_id, queue, type, 'accepted', n FROM unfolded WHERE origin IS NULL
) AS all_parts GROUP BY owner_id, queue, type, status HAVING sum(n) <> 0"""

# $1 owner id
COUNT_WAITING = """-- store.stats.count_waiting
WITH unfolded AS MATERIALIZED (
    SELECT origin, target, n FROM stat_deltas
    WHERE owner_id = $1 AND owner_id <> '00000000-0000-0000-0000-000000000000'
)
SELECT coalesce(sum(n), 0)::bigint FROM (
    SELECT status, n FROM owner_totals WHERE owner_id = $1
    UNION ALL SELECT target, n FROM unfolded
    UNION ALL SELECT origin, -n FROM unfolded
) AS all_parts WHERE status IN ('scheduled', 'queued', 'retrying')"""

# $1 queue[]  $2 type[]; an empty list does not narrow
COUNT_STATUSES = """-- store.stats.count_statuses
SELECT status, sum(n)::bigint AS n, coalesce(sum(n) FILTER (
           WHERE (cardinality($1::text[]) = 0 OR queue = ANY($1)) AND (cardinality($2::text[]) = 0 OR type = ANY($2))
       ), 0)::bigint AS matching
FROM (
    SELECT queue, type, status, n FROM stat_totals
    UNION ALL SELECT queue, type, target, n FROM stat_deltas WHERE target IS NOT NULL
    UNION ALL SELECT queue, type, origin, -n FROM stat_deltas WHERE origin IS NOT NULL
) AS all_parts WHERE status NOT IN ('accepted', 'pruned') GROUP BY status"""

# $1 owner id
COUNT_FOLDED = """-- store.stats.count_folded
SELECT coalesce(sum(n), 0)::bigint FROM owner_totals WHERE owner_id = $1 AND status NOT IN ('accepted', 'pruned')"""

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

# $1 owner id
READ_DAYS_OF = """-- store.stats.read_days_of
SELECT d.day::date AS day, coalesce(sum(p.submitted), 0)::bigint AS submitted,
       coalesce(sum(p.completed), 0)::bigint AS completed, coalesce(sum(p.failed), 0)::bigint AS failed
FROM generate_series((now() AT TIME ZONE 'UTC')::date - 6, (now() AT TIME ZONE 'UTC')::date, interval '1 day') AS d(day)
LEFT JOIN (
    SELECT day, submitted, completed, failed FROM owner_days
    WHERE owner_id = $1 AND day > (now() AT TIME ZONE 'UTC')::date - 7
    UNION ALL
    SELECT (at AT TIME ZONE 'UTC')::date, CASE WHEN origin IS NULL THEN n ELSE 0 END,
           CASE WHEN target = 'completed' THEN n ELSE 0 END, CASE WHEN target = 'failed' THEN n ELSE 0 END
    FROM stat_deltas WHERE owner_id = $1 AND owner_id <> '00000000-0000-0000-0000-000000000000'
) AS p ON p.day = d.day
GROUP BY d.day ORDER BY d.day"""


async def fold(conn: Conn) -> int:
    """Fold a page of deltas into the totals; returns how many there were."""
    count: int = await conn.fetchval(FOLD)
    return count


async def prune_days(conn: Conn, *, keep_days: int) -> None:
    """Forget what happened on days that are older."""
    await conn.execute(PRUNE_DAYS, keep_days)


async def read_totals(conn: Conn, owner: str | None = None) -> list[Total]:
    """The present figures, folded or not; of one owner's tasks, if one is given. The built-in one has none of his own."""
    rows = await (conn.fetch(READ_TOTALS) if owner is None else conn.fetch(READ_TOTALS_OF, owner))
    return [Total(*row) for row in rows]


async def read_days(conn: Conn, owner: str | None = None) -> list[Day]:
    """The last seven days, oldest first, today included; of one owner's tasks, if one is given."""
    rows = await (conn.fetch(READ_DAYS) if owner is None else conn.fetch(READ_DAYS_OF, owner))
    return [Day(*row) for row in rows]


async def read_owned(conn: Conn) -> dict[tuple[str, ...], int]:
    """The present figures of all owners but the built-in one, by (owner, queue, type, status)."""
    return {(str(owner), *place): n for owner, *place, n in await conn.fetch(READ_OWNED)}


async def count_statuses(
    conn: Conn, queues: Sequence[str], types: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """How many tasks there are in each status: in all, and of these queues and types."""
    rows = await conn.fetch(COUNT_STATUSES, queues, types)
    return {row["status"]: (row["n"], row["matching"]) for row in rows}


async def count_folded(conn: Conn, owner: str) -> int:
    """How many tasks this owner has, but for the last seconds' moves."""
    count: int = await conn.fetchval(COUNT_FOLDED, owner)
    return count


async def count_waiting(conn: Conn, owner: str) -> int:
    """How many tasks of this owner are scheduled, queued or to be retried."""
    count: int = await conn.fetchval(COUNT_WAITING, owner)
    return count
