"""What stands in a task's way, as rows tell it: read together, in one transaction, to explain why it does not run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from taskflow.domain.attempt import ErrorInfo
from taskflow.domain.histogram import Counts
from taskflow.store.connect import Conn
from taskflow.store.moves import SHORT_ERROR
from taskflow.store.push_hosts import HostState
from taskflow.store.wire import Row


class Place(NamedTuple):
    """Where a task waits, or waited."""

    queue: str
    lane: int
    status: str


class Letter(NamedTuple):
    """The dead letter of a task's present life."""

    id: str
    reason: str
    attempts: int
    status: str


class Standing(NamedTuple):
    """A task beside what callers read of it. `rung_at` None: it is parked, or was never queued.

    `tried` and `error` are of its newest try, without traceback; `host` is that of its target, `host_state` None if it has
    not failed lately. `now` is PostgreSQL's.
    """

    now: datetime
    rung_at: datetime | None
    tried: str | None
    error: ErrorInfo | None
    letter: Letter | None
    host: str | None
    host_state: HostState | None


class Pause(NamedTuple):
    """A queue or a type (`kind`) that is paused; since when, by whom and why, as far as that is known."""

    kind: str
    name: str
    by: str | None
    reason: str | None
    since: datetime | None


# $1 task id  $2 owner id; null: anybody's
READ_PLACE = """-- store.obstacles.read_place
SELECT queue, lane, status FROM tasks WHERE id = $1 AND ($2::uuid IS NULL OR owner_id = $2)"""

# $1 task id
READ_STANDING = f"""-- store.obstacles.read_standing
SELECT clock_timestamp() AS now, t.rung_at, x.status AS tried, x.error,
       d.id AS letter_id, d.reason, d.attempts, d.status AS letter_status, t.target->>'host' AS host,
       h.failures, h.openings, coalesce(extract(epoch FROM h.open_until - clock_timestamp()), 0)::float8 AS open_seconds
FROM tasks t
LEFT JOIN LATERAL (SELECT status, {SHORT_ERROR} AS error FROM executions WHERE task_id = t.id
                   ORDER BY number DESC LIMIT 1) x ON true
LEFT JOIN dead_letters d ON d.task_id = t.id AND d.life = t.life
LEFT JOIN push_hosts h ON h.owner_id = t.owner_id AND h.host = t.target->>'host'
WHERE t.id = $1"""

# Of what was paused twice the first time counts. Audit events may be gone by now.
_PAUSED = """SELECT e.at, e.actor, e.reason FROM audit_events e
    WHERE e.target = p.name AND e.action = '{kind}.paused'
      AND e.id > coalesce((SELECT r.id FROM audit_events r WHERE r.target = p.name AND r.action = '{kind}.resumed'
                           ORDER BY r.id DESC LIMIT 1), '00000000-0000-0000-0000-000000000000')
    ORDER BY e.id LIMIT 1"""

# $1 queue  $2 type[]
READ_PAUSES = f"""-- store.obstacles.read_pauses
SELECT 'queue' AS kind, p.name, e.actor AS by, e.reason, e.at AS since
FROM queues p LEFT JOIN LATERAL ({_PAUSED.format(kind="queue")}) e ON true WHERE p.name = $1 AND p.paused
UNION ALL
SELECT 'type', p.name, coalesce(p.paused_by, e.actor), coalesce(p.paused_reason, e.reason), e.at
FROM task_types p LEFT JOIN LATERAL ({_PAUSED.format(kind="type")}) e ON true WHERE p.name = ANY($2) AND p.paused
ORDER BY 1, 2"""

# $1 worker id uuid[]
# A cancelled task's handler holds its slot until it has ended: such a try is open. Pushes have slots of their own.
COUNT_BUSY = """-- store.obstacles.count_busy
SELECT coalesce(sum(held.n + ending.n), 0)::bigint FROM unnest($1::uuid[]) AS w(id),
    LATERAL (SELECT count(*) AS n FROM tasks t
             WHERE t.worker_id = w.id AND t.status = 'running' AND t.target IS NULL) held,
    LATERAL (SELECT count(*) AS n FROM executions e WHERE e.worker_id = w.id AND e.status = 'started') ending"""

# $1 queue
COUNT_WAITING = """-- store.obstacles.count_waiting
SELECT (coalesce((SELECT sum(n) FROM stat_totals WHERE queue = $1 AND status = 'queued'), 0)
      + coalesce((SELECT sum(CASE WHEN target = 'queued' THEN n ELSE -n END) FROM stat_deltas
                  WHERE queue = $1 AND (target = 'queued' OR origin = 'queued') AND target IS DISTINCT FROM origin), 0)
       )::bigint"""

# $1 task id  $2 limit
# In the order in which they were rung, which is that of the bus; parked ones (infinity) are not in it. Those of one batch
# bear one stamp and go by their ids: compared as texts, lest the planner look for ids instead of stamps.
COUNT_AHEAD = """-- store.obstacles.count_ahead
SELECT count(*) FROM (
    SELECT FROM tasks me, LATERAL (
        SELECT FROM generate_series(0, me.lane) AS l(lane), LATERAL (
            SELECT FROM tasks t
            WHERE t.status = 'queued' AND t.queue = me.queue AND t.lane = l.lane
              AND t.rung_at < CASE WHEN l.lane < me.lane THEN 'infinity' ELSE me.rung_at END
            ORDER BY t.rung_at LIMIT $2) earlier
        UNION ALL
        (SELECT FROM tasks t
         WHERE t.status = 'queued' AND t.queue = me.queue AND t.lane = me.lane AND t.rung_at = me.rung_at
           AND me.rung_at < 'infinity' AND t.id::text COLLATE "C" < me.id::text
         ORDER BY t.rung_at LIMIT $2)) ahead
    WHERE me.id = $1 LIMIT $2) AS counted"""

# $1 queue  $2 type
READ_RUNS = """-- store.obstacles.read_runs
SELECT runs FROM stat_series
WHERE step_seconds = 3600 AND queue = $1 AND type = $2 AND at > now() - interval '1 day'"""

_error = msgspec.json.Decoder(ErrorInfo)


async def read_place(conn: Conn, task_id: str, owner: str | None = None) -> Place | None:
    """Where a task waits; None without such a task, or if it is not the owner's."""
    row = await conn.fetchrow(READ_PLACE, task_id, owner)
    return None if row is None else Place(*row)


async def read_standing(conn: Conn, task_id: str) -> Standing | None:
    """What callers do not read of a task."""
    row = await conn.fetchrow(READ_STANDING, task_id)
    return None if row is None else _standing(row)


async def read_pauses(conn: Conn, queue: str, types: Sequence[str]) -> list[Pause]:
    """Which of these are paused, the queue first."""
    return [Pause(*row) for row in await conn.fetch(READ_PAUSES, queue, types)]


async def count_busy(conn: Conn, worker_ids: Sequence[str]) -> int:
    """How many slots of these workers are taken."""
    count: int = await conn.fetchval(COUNT_BUSY, worker_ids)
    return count


async def count_waiting(conn: Conn, queue: str) -> int:
    """How many tasks are queued there, from the figures."""
    count: int = await conn.fetchval(COUNT_WAITING, queue)
    return count


async def count_ahead(conn: Conn, task_id: str, limit: int) -> int:
    """How many queued tasks go before this one: those of higher lanes, and earlier ones of its own; `limit` at most."""
    count: int = await conn.fetchval(COUNT_AHEAD, task_id, limit)
    return count


async def read_runs(conn: Conn, queue: str, name: str) -> list[Counts]:
    """How long attempts of this type ran in this queue in the last day, by the hour (`domain.histogram`)."""
    return [row["runs"] for row in await conn.fetch(READ_RUNS, queue, name)]


def _standing(row: Row) -> Standing:
    rung_at = row["rung_at"]
    letter, host_state = None, None
    if row["letter_id"] is not None:
        letter = Letter(str(row["letter_id"]), row["reason"], row["attempts"], row["letter_status"])
    if row["failures"] is not None:
        host_state = HostState(row["failures"], row["openings"], row["open_seconds"])
    return Standing(
        row["now"],
        None if rung_at is None or rung_at.year == datetime.max.year else rung_at.astimezone(UTC),
        row["tried"],
        _error.decode(row["error"]) if row["error"] else None,
        letter,
        row["host"],
        host_state,
    )
