"""Webhook deliveries and endpoints as callers read them; and what old ones leave."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from taskflow.domain.filters import DeliveryFilters
from taskflow.domain.task import LOCAL_OWNER
from taskflow.domain.webhook import SLOWED_AFTER_FAILURES, Delivery, DeliveryAttempt, Endpoint
from taskflow.kit.clock import rfc3339
from taskflow.store.connect import Conn, one_row
from taskflow.store.wire import Row, time_text

ATTEMPTS_SHOWN_MAX = 50
"""Of each delivery the newest; a replay gives it more."""

_COLUMNS = f"""d.id, d.task_id, d.event, d.url, d.status, d.attempts, d.max_attempts, d.created_at, d.due_at,
    d.leased_until, d.finished_at, coalesce(e.failures >= {SLOWED_AFTER_FAILURES}, false) AS slowed"""
_FROM = (
    """FROM webhook_deliveries d LEFT JOIN webhook_endpoints e ON e.owner_id = d.owner_id AND e.url = d.url"""
)

# $1 before id, or null  $2 status[]  $3 event[]  $4 url, or null  $5 task id, or null  $6 limit  $7 owner id
_MATCH = """($1::uuid IS NULL OR d.id < $1)
  AND (cardinality($2::text[]) = 0 OR d.status = ANY($2)) AND (cardinality($3::text[]) = 0 OR d.event = ANY($3))
  AND ($4::text IS NULL OR d.url = $4)"""
_PAGE = "ORDER BY d.id DESC LIMIT $6"
LIST_DELIVERIES = f"""-- store.webhook_reads.list_deliveries
SELECT {_COLUMNS} {_FROM} WHERE {_MATCH} AND $5::uuid IS NULL AND $7::uuid IS NULL {_PAGE}"""
LIST_OWN_DELIVERIES = f"""-- store.webhook_reads.list_own_deliveries
SELECT {_COLUMNS} {_FROM}
WHERE {_MATCH} AND $5::uuid IS NULL AND d.owner_id = $7 AND d.owner_id <> '{LOCAL_OWNER}' {_PAGE}"""
LIST_OF_TASK = f"""-- store.webhook_reads.list_of_task
SELECT {_COLUMNS} {_FROM} WHERE {_MATCH} AND d.task_id = $5 AND ($7::uuid IS NULL OR d.owner_id = $7) {_PAGE}"""

# $1 delivery id  $2 task id  $3 owner id, or null: anybody's
READ_DELIVERY = f"""-- store.webhook_reads.read_delivery
SELECT {_COLUMNS} {_FROM} WHERE d.id = $1 AND d.task_id = $2 AND ($3::uuid IS NULL OR d.owner_id = $3)"""

# $1 task id  $2 owner id, or null: anybody's
READ_CALLBACK = """-- store.webhook_reads.read_callback
SELECT status, callback FROM tasks WHERE id = $1 AND ($2::uuid IS NULL OR owner_id = $2)"""

# $1 delivery id uuid[]  $2 how many of each
READ_ATTEMPTS = """-- store.webhook_reads.read_attempts
SELECT a.* FROM unnest($1::uuid[]) AS g(id), LATERAL (
    SELECT delivery_id, number, started_at, duration_seconds, status_code, error, answer FROM webhook_attempts
    WHERE delivery_id = g.id ORDER BY number DESC LIMIT $2) a
ORDER BY a.delivery_id, a.number"""

# $1 owner id, or null: anybody's  $2 owner id and $3 url of the last one shown, or null  $4 limit  $5 only slowed
LIST_ENDPOINTS = f"""-- store.webhook_reads.list_endpoints
SELECT owner_id, url, failures, failing_since, delivered_at, next_try_at, error FROM webhook_endpoints
WHERE ($1::uuid IS NULL OR owner_id = $1) AND ($2::uuid IS NULL OR (owner_id, url) > ($2, $3::text))
  AND (NOT $5 OR failures >= {SLOWED_AFTER_FAILURES})
ORDER BY owner_id, url LIMIT $4"""

COUNT_WEBHOOKS = f"""-- store.webhook_reads.count_webhooks
SELECT (SELECT count(*) FROM (SELECT FROM webhook_deliveries WHERE status = 'pending' LIMIT 100000) p) AS pending,
       coalesce((SELECT extract(epoch FROM now() - due_at) FROM webhook_deliveries WHERE status = 'pending'
                 ORDER BY due_at LIMIT 1), 0)::float8 AS late_seconds,
       (SELECT count(*) FROM webhook_endpoints WHERE failures >= {SLOWED_AFTER_FAILURES}) AS slowed"""

# $1 keep for (seconds)  $2 limit  $3 ids before this
PRUNE_DELIVERIES = """-- store.webhook_reads.prune_deliveries
WITH old AS (
    SELECT id FROM webhook_deliveries
    WHERE id < $3 AND status IN ('delivered', 'failed') AND finished_at < now() - $1 * interval '1 second'
    ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
), tries AS (
    DELETE FROM webhook_attempts a USING old WHERE a.delivery_id = old.id
), gone AS (
    DELETE FROM webhook_deliveries d USING old WHERE d.id = old.id RETURNING d.id
)
SELECT count(*) FROM gone"""

# $1 keep for (seconds)
PRUNE_ENDPOINTS = """-- store.webhook_reads.prune_endpoints
WITH hosts AS (
    DELETE FROM push_hosts WHERE touched_at < now() - $1 * interval '1 second'
)
DELETE FROM webhook_endpoints WHERE touched_at < now() - $1 * interval '1 second'"""


async def list_deliveries(
    conn: Conn, filters: DeliveryFilters, *, limit: int, before: str | None
) -> list[Delivery]:
    """Newest first, `limit` at most, older than `before`, with their attempts."""
    statement = LIST_OF_TASK if filters.task_id else LIST_OWN_DELIVERIES if filters.owner else LIST_DELIVERIES
    rows = await conn.fetch(
        statement,
        before,
        list(filters.statuses),
        list(filters.events),
        filters.url,
        filters.task_id,
        limit,
        filters.owner,
    )
    return await _with_attempts(conn, rows)


async def read_delivery(
    conn: Conn, delivery_id: str, task_id: str, owner: str | None = None
) -> Delivery | None:
    """One delivery of this task, or None."""
    rows = await conn.fetch(READ_DELIVERY, delivery_id, task_id, owner)
    return next(iter(await _with_attempts(conn, rows)), None)


class CallbackRow(NamedTuple):
    """A task's status, and its callback as it is kept, if it has one."""

    status: str
    callback: str | None


async def read_callback(conn: Conn, task_id: str, owner: str | None) -> CallbackRow | None:
    """None without such a task, or if it is not the owner's."""
    row = await conn.fetchrow(READ_CALLBACK, task_id, owner)
    return CallbackRow(*row) if row else None


async def _with_attempts(conn: Conn, rows: Sequence[Row]) -> list[Delivery]:
    found = await conn.fetch(READ_ATTEMPTS, [row["id"] for row in rows], ATTEMPTS_SHOWN_MAX) if rows else []
    attempts: dict[str, list[DeliveryAttempt]] = defaultdict(list)
    for row in found:
        attempts[str(row["delivery_id"])].append(
            DeliveryAttempt(
                row["number"],
                rfc3339(row["started_at"]),
                round(row["duration_seconds"], 6),
                row["status_code"],
                row["error"],
                row["answer"],
            )
        )
    return [_delivery(row, attempts[str(row["id"])]) for row in rows]


def _delivery(row: Row, attempts: list[DeliveryAttempt]) -> Delivery:
    pending = row["status"] == "pending"
    return Delivery(
        id=str(row["id"]),
        task_id=str(row["task_id"]) if row["task_id"] else None,
        event=row["event"],
        url=row["url"],
        status=row["status"],
        attempt=row["attempts"],
        max_attempts=row["max_attempts"],
        created_at=rfc3339(row["created_at"]),
        next_attempt_at=time_text(row["due_at"]) if pending and row["leased_until"] is None else None,
        finished_at=time_text(row["finished_at"]),
        endpoint="slowed" if row["slowed"] else "active",
        attempts=attempts,
    )


async def list_endpoints(
    conn: Conn, owner: str | None, *, after: tuple[str, str] | None, limit: int, slowed: bool
) -> list[Endpoint]:
    """By owner and URL, after that one; only those that are slowed if asked for."""
    owner_after, url_after = after or (None, None)
    rows = await conn.fetch(LIST_ENDPOINTS, owner, owner_after, url_after, limit, slowed)
    return [
        Endpoint(
            url=row["url"],
            state="slowed" if row["failures"] >= SLOWED_AFTER_FAILURES else "active",
            failures=row["failures"],
            failing_since=time_text(row["failing_since"]),
            delivered_at=time_text(row["delivered_at"]),
            next_attempt_at=time_text(row["next_try_at"]),
            error=row["error"],
            owner_id=str(row["owner_id"]),
        )
        for row in rows
    ]


class Webhooks(NamedTuple):
    """Deliveries that are pending (100,000 at most are counted), how late the first is; endpoints that are slowed."""

    pending: int
    late_seconds: float
    slowed: int


async def count_webhooks(conn: Conn) -> Webhooks:
    """How deliveries go, as a whole."""
    return Webhooks(*await one_row(conn, COUNT_WEBHOOKS))


async def prune_deliveries(conn: Conn, *, before_id: str, keep_seconds: float, limit: int) -> int:
    """Delete old deliveries that have ended, with their attempts. Returns how many went."""
    count: int = await conn.fetchval(PRUNE_DELIVERIES, keep_seconds, limit, before_id)
    return count


async def prune_endpoints(conn: Conn, *, keep_seconds: float) -> None:
    """Forget endpoints and hosts that nothing was sent to for so long."""
    await conn.execute(PRUNE_ENDPOINTS, keep_seconds)
