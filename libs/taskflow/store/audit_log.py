"""The audit log: who did what to which thing, and why. Rows are written with what they tell of, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskflow.domain.account import By
from taskflow.domain.filters import AuditFilters
from taskflow.domain.operation import AuditEvent
from taskflow.kit.clock import rfc3339
from taskflow.kit.ids import new_id
from taskflow.store.connect import Conn
from taskflow.store.wire import Row, json_value, to_json

# $1 id  $2 actor  $3 action  $4 target  $5 reason  $6 data  $7 user id  $8 key id  $9 address  $10 request id
WRITE_AUDIT = """-- store.audit_log.write_audit
INSERT INTO audit_events (id, at, actor, action, target, reason, data, user_id, key_id, address, request_id)
VALUES ($1, clock_timestamp(), $2, $3, $4, $5, $6, $7, $8, $9, $10)"""

# $1 target
LOCK_TARGET = """-- store.audit_log.lock_target
SELECT pg_advisory_xact_lock(hashtextextended($1, 1635083369))"""

# $1 action  $2 target  $3 seconds
TOLD_LATELY = """-- store.audit_log.told_lately
SELECT EXISTS (SELECT FROM audit_events
               WHERE target = $2 AND action = $1 AND at > clock_timestamp() - $3 * interval '1 second')"""

# $1 actor[]  $2 action[]  $3 target[]  $4 created after  $5 created before  $6 before id  $7 limit
LIST_AUDIT = """-- store.audit_log.list_audit
SELECT id, at, actor, action, target, reason, data, user_id, key_id, address, request_id FROM audit_events
WHERE (cardinality($1::text[]) = 0 OR actor = ANY($1))
  AND (cardinality($2::text[]) = 0 OR action = ANY($2))
  AND (cardinality($3::text[]) = 0 OR target = ANY($3))
  AND ($4::timestamptz IS NULL OR at > $4) AND ($5::timestamptz IS NULL OR at < $5)
  AND ($6::uuid IS NULL OR id < $6)
ORDER BY id DESC LIMIT $7"""


async def write_audit(
    conn: Conn, by: By, action: str, target: str | None, data: Mapping[str, Any] | None = None
) -> None:
    """Note a deed. Call it in the transaction that does it."""
    await conn.execute(
        WRITE_AUDIT,
        new_id(),
        by.actor,
        action,
        target,
        by.reason,
        to_json(data or {}),
        by.user_id,
        by.key_id,
        by.address,
        by.request_id,
    )


async def write_once(
    conn: Conn, by: By, action: str, target: str, data: Mapping[str, Any], *, seconds: float
) -> bool:
    """Note a deed unless the same was noted of this target so lately; whether it was. Call it in a transaction."""
    await conn.execute(LOCK_TARGET, target)
    if await conn.fetchval(TOLD_LATELY, action, target, seconds):
        return False
    await write_audit(conn, by, action, target, data)
    return True


async def list_audit(
    conn: Conn, filters: AuditFilters, *, limit: int, before: str | None
) -> list[AuditEvent]:
    """Newest first, `limit` at most, older than `before`."""
    rows = await conn.fetch(
        LIST_AUDIT,
        list(filters.actors),
        list(filters.actions),
        list(filters.targets),
        filters.created_after,
        filters.created_before,
        before,
        limit,
    )
    return [_event(row) for row in rows]


def _event(row: Row) -> AuditEvent:
    return AuditEvent(
        str(row["id"]),
        rfc3339(row["at"]),
        row["actor"],
        row["action"],
        row["target"],
        row["reason"],
        json_value(row["data"]),
        str(row["user_id"]) if row["user_id"] else None,
        str(row["key_id"]) if row["key_id"] else None,
        row["address"],
        row["request_id"],
    )
