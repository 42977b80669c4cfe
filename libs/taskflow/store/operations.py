"""Operations on many letters or tasks: accepted with their set written down, read, paused, stopped; see also `steps`."""

from __future__ import annotations

from collections.abc import Sequence

from taskflow.domain.filters import LetterFilters, OperationFilters
from taskflow.domain.operation import Canary, Operation, Plan
from taskflow.kit.clock import rfc3339
from taskflow.store import dead_letters, tasks
from taskflow.store.connect import Conn
from taskflow.store.wire import Row, json_value, time_text

PAGE_ITEMS = 1_000
"""Ids in one row of a set."""

_TAKE = f""", pages AS (
    INSERT INTO operation_pages (operation_id, page, ids, guards)
    SELECT <operation>::uuid, page, array_agg(id ORDER BY id),
           CASE WHEN count(guard) > 0 THEN array_agg(guard ORDER BY id) END
    FROM (SELECT id, guard, (row_number() OVER (ORDER BY id) - 1) / {PAGE_ITEMS} AS page FROM matched) numbered
    GROUP BY page
)
SELECT count(*) FROM matched"""

# Letters: $11 items at most  $12 operation id
_LETTERS = "SELECT id, NULL::integer AS guard FROM dead_letters WHERE"
_TAKE_LETTERS = _TAKE.replace("<operation>", "$12")
TAKE_LETTERS = f"""-- store.operations.take_letters
WITH matched AS MATERIALIZED ({_LETTERS} {dead_letters.MATCH} ORDER BY id LIMIT $11){_TAKE_LETTERS}"""
TAKE_OWN_LETTERS = f"""-- store.operations.take_own_letters
WITH matched AS MATERIALIZED ({_LETTERS} {dead_letters.MATCH_OWN} ORDER BY id LIMIT $11){_TAKE_LETTERS}"""

# Tasks: $14 items at most  $15 operation id  $16 whether it retries
_TASKS = "SELECT id, CASE WHEN $16::boolean THEN version ELSE life END AS guard FROM tasks WHERE"
_TAKE_TASKS = _TAKE.replace("<operation>", "$15")
TAKE_TASKS = f"""-- store.operations.take_tasks
WITH matched AS MATERIALIZED ({_TASKS} {tasks.MATCH} ORDER BY id LIMIT $14){_TAKE_TASKS}"""
TAKE_OWN_TASKS = f"""-- store.operations.take_own_tasks
WITH matched AS MATERIALIZED ({_TASKS} {tasks.MATCH_OWN} ORDER BY id LIMIT $14){_TAKE_TASKS}"""

_COUNT = """
SELECT type, count(*) AS n, ARRAY(SELECT id FROM matched ORDER BY id LIMIT <examples>) AS first
FROM matched GROUP BY type ORDER BY n DESC, type"""

# Letters: $11 items at most  $12 examples
_COUNT_LETTERS = _COUNT.replace("<examples>", "$12")
PREVIEW_LETTERS = f"""-- store.operations.preview_letters
WITH matched AS (SELECT id, type FROM dead_letters WHERE {dead_letters.MATCH} ORDER BY id LIMIT $11){_COUNT_LETTERS}"""
PREVIEW_OWN_LETTERS = f"""-- store.operations.preview_own_letters
WITH matched AS (SELECT id, type FROM dead_letters WHERE {dead_letters.MATCH_OWN} ORDER BY id LIMIT $11){_COUNT_LETTERS}"""

# Tasks: $14 items at most  $15 examples
_COUNT_TASKS = _COUNT.replace("<examples>", "$15")
PREVIEW_TASKS = f"""-- store.operations.preview_tasks
WITH matched AS (SELECT id, type FROM tasks WHERE {tasks.MATCH} ORDER BY id LIMIT $14){_COUNT_TASKS}"""
PREVIEW_OWN_TASKS = f"""-- store.operations.preview_own_tasks
WITH matched AS (SELECT id, type FROM tasks WHERE {tasks.MATCH_OWN} ORDER BY id LIMIT $14){_COUNT_TASKS}"""

# $1 id  $2 action  $3 filter  $4 limit  $5 rate  $6 canary first  $7 stop if failed  $8 wait seconds  $9 actor  $10 reason
# $11 matched  $12 owner id
ADD_OPERATION = """-- store.operations.add_operation
INSERT INTO operations (id, action, filter, items_max, rate_per_second, canary_first, canary_stop_if_failed,
                        canary_wait_seconds, canary_state, created_by, reason, matched, owner_id, created_at,
                        paced_at, status, finished_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $6::integer IS NOT NULL THEN 'replaying' END, $9, $10, $11,
        $12, clock_timestamp(), clock_timestamp() - interval '1 second' / $5::float8,
        CASE WHEN $11 > 0 THEN 'running' ELSE 'done' END, CASE WHEN $11 = 0 THEN clock_timestamp() END)"""

COUNT_OPEN = """-- store.operations.count_open
SELECT count(*) FROM operations WHERE status IN ('running', 'paused')"""

OPERATION_COLUMNS = """id, created_at, finished_at, rate_per_second, matched, done, skipped, failed, items_max,
    canary_first, canary_stop_if_failed, canary_wait_seconds, canary_succeeded, canary_failed, canary_state,
    coalesce(cardinality(canary_tasks), 0) AS canary_replayed, action, status, status_reason, created_by, reason, filter"""

# $1 id  $2 owner id; null: anybody's
READ_OPERATION = f"""-- store.operations.read_operation
SELECT {OPERATION_COLUMNS} FROM operations WHERE id = $1 AND ($2::uuid IS NULL OR owner_id = $2)"""

# $1 status[]  $2 before id  $3 limit  $4 owner id; null: anybody's
LIST_OPERATIONS = f"""-- store.operations.list_operations
SELECT {OPERATION_COLUMNS} FROM operations
WHERE (cardinality($1::text[]) = 0 OR status = ANY($1)) AND ($2::uuid IS NULL OR id < $2)
  AND ($4::uuid IS NULL OR owner_id = $4)
ORDER BY id DESC LIMIT $3"""

# $1 id  $2 statuses before  $3 status  $4 why  $5 owner id; null: anybody's
# One that goes on begins a new account with its rate, and its canary waits anew.
TURN_OPERATION = f"""-- store.operations.turn_operation
UPDATE operations SET status = $3, status_reason = CASE WHEN $3 <> 'running' THEN $4::text END,
    paced_at = clock_timestamp(),
    canary_since = CASE WHEN canary_since IS NOT NULL THEN clock_timestamp() END,
    finished_at = CASE WHEN $3 IN ('stopped', 'done') THEN clock_timestamp() END
WHERE id = $1 AND status = ANY($2::text[]) AND ($5::uuid IS NULL OR owner_id = $5) RETURNING {OPERATION_COLUMNS}"""

# $1 id
DROP_PAGES = """-- store.operations.drop_pages
DELETE FROM operation_pages WHERE operation_id = $1"""


async def take(
    conn: Conn, operation_id: str, filters: OperationFilters, *, most: int, retries: bool = False
) -> int:
    """Write down the ids of what matches now, the oldest first, as the set of an operation; returns how many."""
    if isinstance(filters, LetterFilters):
        statement = TAKE_OWN_LETTERS if filters.owner else TAKE_LETTERS
        values = (*dead_letters.matching(filters), most, operation_id)
        return int(await conn.fetchval(statement, *values))
    statement = TAKE_OWN_TASKS if filters.owner else TAKE_TASKS
    return int(await conn.fetchval(statement, *tasks.matching(filters), most, operation_id, retries))


async def preview(
    conn: Conn, filters: OperationFilters, *, most: int, examples: int
) -> tuple[dict[str, int], list[str]]:
    """What an operation on `most` items at most would take: how many of each type, and the ids of the first."""
    if isinstance(filters, LetterFilters):
        statement = PREVIEW_OWN_LETTERS if filters.owner else PREVIEW_LETTERS
        rows = await conn.fetch(statement, *dead_letters.matching(filters), most, examples)
    else:
        statement = PREVIEW_OWN_TASKS if filters.owner else PREVIEW_TASKS
        rows = await conn.fetch(statement, *tasks.matching(filters), most, examples)
    first = [str(value) for value in rows[0]["first"]] if rows else []
    return {row["type"]: row["n"] for row in rows}, first


async def add(conn: Conn, operation_id: str, plan: Plan, matched: int) -> None:
    """Write an operation whose set has been taken."""
    canary = plan.canary
    await conn.execute(
        ADD_OPERATION,
        operation_id,
        plan.action,
        plan.filter,
        plan.limit,
        plan.rate_per_second,
        canary.first if canary else None,
        canary.stop_if_failed if canary else None,
        canary.wait_seconds if canary else None,
        plan.by.actor,
        plan.by.reason,
        matched,
        plan.by.owner,
    )


async def count_open(conn: Conn) -> int:
    """How many operations run or are paused."""
    count: int = await conn.fetchval(COUNT_OPEN)
    return count


async def read(conn: Conn, operation_id: str, owner: str | None = None) -> Operation | None:
    """One operation, or None; of an owner: only his."""
    row = await conn.fetchrow(READ_OPERATION, operation_id, owner)
    return as_operation(row) if row else None


async def list_operations(
    conn: Conn, statuses: Sequence[str], *, limit: int, before: str | None, owner: str | None = None
) -> list[Operation]:
    """Newest first, `limit` at most, older than `before`; of an owner: only his."""
    rows = await conn.fetch(LIST_OPERATIONS, list(statuses), before, limit, owner)
    return [as_operation(row) for row in rows]


async def turn(
    conn: Conn,
    operation_id: str,
    origins: Sequence[str],
    status: str,
    why: str | None,
    owner: str | None = None,
) -> Operation | None:
    """Move an operation from one of `origins` to `status`; None if it is in none of them. Call it in a transaction."""
    row = await conn.fetchrow(TURN_OPERATION, operation_id, list(origins), status, why, owner)
    if row is None:
        return None
    if status in {"stopped", "done"}:
        await conn.execute(DROP_PAGES, operation_id)
    return as_operation(row)


def as_operation(row: Row) -> Operation:
    """A row with `OPERATION_COLUMNS` as callers read it."""
    canary = None
    if row["canary_first"] is not None:
        canary = Canary(
            first=row["canary_first"],
            stop_if_failed=row["canary_stop_if_failed"],
            wait_seconds=row["canary_wait_seconds"],
            state=row["canary_state"],
            replayed=row["canary_replayed"],
            succeeded=row["canary_succeeded"],
            failed=row["canary_failed"],
        )
    return Operation(
        id=str(row["id"]),
        action=row["action"],
        filter=json_value(row["filter"]),
        limit=row["items_max"],
        rate_per_second=row["rate_per_second"],
        status=row["status"],
        status_reason=row["status_reason"],
        matched=row["matched"],
        done=row["done"],
        skipped=row["skipped"],
        failed=row["failed"],
        canary=canary,
        created_by=row["created_by"],
        reason=row["reason"],
        created_at=rfc3339(row["created_at"]),
        finished_at=time_text(row["finished_at"]),
    )
