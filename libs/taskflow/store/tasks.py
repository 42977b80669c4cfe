"""Tasks as rows, as callers read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from taskflow.domain.filters import TaskFilters
from taskflow.domain.task import LOCAL_OWNER, Task
from taskflow.domain.transitions import LIVE, Status
from taskflow.kit.ids import first_id_at
from taskflow.store import stats, wire
from taskflow.store.connect import Conn


class Wanted(NamedTuple):
    """A task that is asked for: by its id, and only if it is this owner's; None: anybody's."""

    id: str
    owner: str | None = None


_COLUMNS = """id, owner_id, worker_id, created_at, run_at, due_at, expires_at, queued_at, started_at, finished_at,
    timeout_seconds, version, seq, life, attempt, max_attempts, lane, status, type, queue, name, tags, error, progress,
    metadata, retry, callback, target"""

# $1 id uuid[]  $2 owner id uuid[]; null: anybody's
READ_TASKS = f"""-- store.tasks.read_tasks
SELECT {_COLUMNS}, payload, result, g.owner
FROM unnest($1::uuid[], $2::uuid[]) AS g(wanted, owner)
JOIN tasks ON id = g.wanted AND (g.owner IS NULL OR owner_id = g.owner)"""

# $1 id uuid[]
READ_STATUSES = """-- store.tasks.read_statuses
SELECT id, status, seq FROM tasks WHERE id = ANY($1::uuid[])"""

# $1 status[]  $2 type[]  $3 queue[]  $4 lane[]  $5 tags (all of them)  $6 first id  $7 end id (exclusive)
# $8 created after  $9 created before  $11 worker id uuid[]  $12 part of the name  $13 part of the error
# ($10 is the owner, below); an empty list or a null does not narrow
_MATCH = """id >= $6 AND id < $7
  AND (cardinality($1::text[]) = 0 OR status = ANY($1))
  AND (cardinality($2::text[]) = 0 OR type = ANY($2))
  AND (cardinality($3::text[]) = 0 OR queue = ANY($3))
  AND (cardinality($4::smallint[]) = 0 OR lane = ANY($4))
  AND (cardinality($5::text[]) = 0 OR tags @> $5)
  AND ($8::timestamptz IS NULL OR created_at > $8) AND ($9::timestamptz IS NULL OR created_at < $9)
  AND (cardinality($11::uuid[]) = 0 OR worker_id = ANY($11))
  AND ($12::text IS NULL OR strpos(lower(name), lower($12)) > 0)
  AND ($13::text IS NULL OR strpos(lower(concat_ws(' ', error->>'type', error->>'message')), lower($13)) > 0)"""

# $10 owner id: null in the first, never in the second, which has an index of its own
MATCH = f"{_MATCH} AND $10::uuid IS NULL"
MATCH_OWN = f"{_MATCH} AND owner_id = $10 AND owner_id <> '{LOCAL_OWNER}'"

# $14 limit  $15 with payload  $16 with result
_LIST = f"""SELECT {_COLUMNS}, CASE WHEN $15 THEN payload END AS payload, CASE WHEN $16 THEN result END AS result
FROM tasks
WHERE"""
_PAGE = "ORDER BY id DESC LIMIT $14"
LIST_TASKS = f"""-- store.tasks.list_tasks
{_LIST} {MATCH} {_PAGE}"""
LIST_OWN_TASKS = f"""-- store.tasks.list_own_tasks
{_LIST} {MATCH_OWN} {_PAGE}"""

# The statuses that have an index each; in each branch nothing is read unless its status is asked for. That ids lie within
# bounds is said so that no other index will do.
_ENDED = f"""(SELECT id FROM tasks
     WHERE status = '<status>' AND '<status>' = ANY($1) AND {_MATCH} AND ($10::uuid IS NULL OR owner_id = $10)
     ORDER BY id DESC LIMIT $14)"""
_MATCH_LIVE = _MATCH.replace("id >= $6 AND id < $7", "(id >= $6 AND id < $7) IS TRUE")
_OWN_LIVE = f"{_MATCH_LIVE} AND ($10::uuid IS NULL OR owner_id = $10)"
LIST_BY_STATUS = f"""-- store.tasks.list_by_status
WITH found AS MATERIALIZED (
    {_ENDED.replace("<status>", "failed")}
    UNION ALL {_ENDED.replace("<status>", "cancelled")}
    UNION ALL {_ENDED.replace("<status>", "expired")}
    UNION ALL SELECT id FROM tasks WHERE status = 'queued' AND 'queued' = ANY($1) AND {_OWN_LIVE}
    UNION ALL SELECT id FROM tasks WHERE status = 'running' AND 'running' = ANY($1) AND {_OWN_LIVE}
    UNION ALL SELECT id FROM tasks
    WHERE status IN ('scheduled', 'retrying') AND ARRAY['scheduled', 'retrying'] && $1 AND {_OWN_LIVE}
)
{_LIST} id = ANY (ARRAY(SELECT id FROM found ORDER BY id DESC LIMIT $14)) ORDER BY id DESC"""
LIVE_READ_MAX = 20_000
"""Of live tasks so many are sorted for a list; where more live, one soon meets them among the newest."""

_FIRST_ID = "00000000-0000-0000-0000-000000000000"
_LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
_SLACK = timedelta(minutes=1)
"""An id is made by the api's clock a moment before its row gets PostgreSQL's time of the insert."""
_EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)


async def read_tasks(conn: Conn, wanted: Sequence[Wanted]) -> dict[Wanted, Task]:
    """The tasks that exist of these ids, each only if it is the owner's."""
    rows = await conn.fetch(READ_TASKS, [one.id for one in wanted], [one.owner for one in wanted])
    return {
        Wanted(str(row["id"]), str(row["owner"]) if row["owner"] else None): wire.task(row) for row in rows
    }


async def read_numbered(conn: Conn, wanted: Wanted) -> tuple[Task, int] | None:
    """A task with the newest number of its history, or None; of an owner: only his."""
    row = await conn.fetchrow(READ_TASKS, [wanted.id], [wanted.owner])
    return (wire.task(row), row["seq"]) if row else None


async def read_statuses(conn: Conn, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Status and newest history number of these ids that exist."""
    return {str(row["id"]): (row["status"], row["seq"]) for row in await conn.fetch(READ_STATUSES, ids)}


async def list_tasks(
    conn: Conn, filters: TaskFilters, *, limit: int, before: str | None, payload: bool, result: bool
) -> list[Task]:
    """Newest first, `limit` at most, older than `before`. What is not asked for stays behind."""
    statement = await way_to(conn, filters)
    if statement is None:
        return []
    return await read_list(conn, statement, (*matching(filters, before), limit, payload, result))


async def read_list(
    conn: Conn, statement: str, arguments: Sequence[object], seconds: float | None = None
) -> list[Task]:
    """The tasks one of the statements above gives; TimeoutError after `seconds`, when PostgreSQL has stopped, too."""
    return [wire.task(row) for row in await conn.fetch(statement, *arguments, timeout=seconds)]


async def way_to(conn: Conn, filters: TaskFilters) -> str | None:
    """What to ask, by the figures; None: there is nothing. Two walk back from the newest task (of the owner), and would
    look for what is rare among all there are; one goes by the indexes of statuses.
    """
    walk = walk_of(filters)
    if not (filters.statuses or filters.queues or filters.types):
        return walk
    counts = await stats.count_statuses(conn, filters.queues, filters.types)
    asked = filters.statuses or tuple(Status)
    if not any(counts.get(status, (0, 0))[1] for status in asked):
        return None
    if Status.COMPLETED in asked:
        return walk
    there = {status: counts.get(status, (0, 0))[0] for status in asked}
    if sum(there[status] for status in LIVE.intersection(asked)) > LIVE_READ_MAX:
        return walk
    is_small = filters.owner and await stats.count_folded(conn, filters.owner) < sum(there.values())
    return walk if is_small else LIST_BY_STATUS


def walk_of(filters: TaskFilters) -> str:
    """What walks back from the newest task (of the owner)."""
    return LIST_OWN_TASKS if filters.owner else LIST_TASKS


def matching(filters: TaskFilters, before: str | None = None) -> tuple[object, ...]:
    """The parameters of `MATCH` and `MATCH_OWN`."""
    return (
        list(filters.statuses),
        list(filters.types),
        list(filters.queues),
        list(filters.lanes),
        list(filters.tags),
        *_bounds(filters, before),
        filters.created_after,
        filters.created_before,
        filters.owner,
        list(filters.workers),
        filters.name,
        filters.error,
    )


def _bounds(filters: TaskFilters, before: str | None) -> tuple[str, str]:
    """Times narrow the range of ids, so that only the partitions that can hold them are read."""
    after, until = filters.created_after, filters.created_before
    first = first_id_at(max(after, _EARLIEST) - _SLACK) if after else _FIRST_ID
    end = first_id_at(min(max(until, _EARLIEST), _LATEST) + _SLACK) if until else _LAST_ID
    return first, min(end, before) if before else end
