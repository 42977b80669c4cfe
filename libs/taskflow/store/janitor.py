"""What accounts leave behind. A statement takes a page of what is past its time; PREVIEW counts all of it beforehand.

Pages are taken by primary key, so the oldest ids first. Rows that another janitor has in hand are left to it.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct

from taskflow.domain.task import LOCAL_OWNER
from taskflow.kit.clock import now, rfc3339
from taskflow.kit.ids import first_id_at
from taskflow.store.connect import Conn, one_row
from taskflow.store.rate_limits import LIMIT_IS_OLD

SESSIONS_KEPT_SECONDS = 7 * 86_400.0
"""After their end. Their refresh tokens are refused with them or without: this is for those who look on."""
FAILURES_KEPT_SECONDS = 86_400.0
"""As long as LOCKOUT_DURATION_SECONDS may be at most."""
UNUSED = "unused"
"""Why a key is revoked that nobody calls with."""

_AGO = "now() - {} * interval '1 second'"
_KEY_IS_UNUSED = f"""revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
      AND coalesce(last_used_at, created_at) < {_AGO}"""
_KEY_IS_OLD = f"least(expires_at, revoked_at) < {_AGO}"
_SESSION_IS_OLD = f"least(expires_at, ended_at) < {_AGO}"
_FAILURE_IS_OLD = f"greatest(since, locked_until) < {_AGO}"
_USER_IS_OLD = f"deleted_at < {_AGO} AND id <> '{LOCAL_OWNER}'"
_EVENT_IS_OLD = f"at < {_AGO} AND id < {{}}"

# $1 unused for (seconds)  $2 limit  $3 reason
REVOKE_UNUSED = f"""-- store.janitor.revoke_unused
WITH unused AS (
    SELECT id FROM api_keys
    WHERE {_KEY_IS_UNUSED.format("$1")}
    ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE api_keys k SET revoked_at = clock_timestamp(), revoked_reason = $3 FROM unused u WHERE k.id = u.id
RETURNING k.id, k.user_id, k.name, coalesce(k.last_used_at, k.created_at) AS idle_since"""

# $1 keep for (seconds)  $2 limit
REMOVE_KEYS = f"""-- store.janitor.remove_keys
WITH old AS (
    SELECT id FROM api_keys WHERE {_KEY_IS_OLD.format("$1")} ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM api_keys k USING old WHERE k.id = old.id RETURNING k.id
)
SELECT count(*) FROM gone"""

# $1 keep for (seconds)  $2 limit
# Used refresh tokens go with their session and not before: by them it is seen that one was stolen.
REMOVE_SESSIONS = f"""-- store.janitor.remove_sessions
WITH old AS (
    SELECT id FROM sessions WHERE {_SESSION_IS_OLD.format("$1")} ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM sessions s USING old WHERE s.id = old.id RETURNING s.id
)
SELECT count(*) FROM gone"""

# $1 keep for (seconds)  $2 limit
REMOVE_FAILURES = f"""-- store.janitor.remove_failures
WITH old AS (
    SELECT subject FROM sign_in_failures
    WHERE {_FAILURE_IS_OLD.format("$1")} ORDER BY subject LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM sign_in_failures f USING old WHERE f.subject = old.subject RETURNING f.subject
)
SELECT count(*) FROM gone"""

# $1 keep for (seconds)  $2 limit  $3 before id
REMOVE_EVENTS = f"""-- store.janitor.remove_events
WITH old AS (
    SELECT id FROM audit_events WHERE {_EVENT_IS_OLD.format("$1", "$3")} ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM audit_events a USING old WHERE a.id = old.id RETURNING a.id
)
SELECT count(*) FROM gone"""

# $1 keep for (seconds)  $2 limit
# Keys, sessions and signing secrets go with their user. Tasks have their own time.
REMOVE_USERS = f"""-- store.janitor.remove_users
WITH old AS (
    SELECT id FROM users WHERE {_USER_IS_OLD.format("$1")} ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM users u USING old WHERE u.id = old.id RETURNING u.id, u.deleted_at"""

# $1 keep accounts for  $2 keys may be unused for, NULL: for ever  $3 keep sessions for  $4 keep failures for
# $5 keep the audit log for (seconds)  $6 before id
PREVIEW = f"""-- store.janitor.preview
SELECT (SELECT count(*) FROM api_keys WHERE {_KEY_IS_UNUSED.format("$2")}) AS keys_revoked,
       (SELECT count(*) FROM api_keys WHERE {_KEY_IS_OLD.format("$1")}) AS keys_removed,
       (SELECT count(*) FROM sessions WHERE {_SESSION_IS_OLD.format("$3")}) AS sessions_removed,
       (SELECT count(*) FROM sign_in_failures WHERE {_FAILURE_IS_OLD.format("$4")}) AS failures_removed,
       (SELECT count(*) FROM audit_events WHERE {_EVENT_IS_OLD.format("$5", "$6")}) AS events_removed,
       (SELECT count(*) FROM users WHERE {_USER_IS_OLD.format("$1")}) AS users_removed,
       (SELECT count(*) FROM rate_limits WHERE {LIMIT_IS_OLD}) AS limits_removed"""


class UnusedKey(Struct, frozen=True):
    """A key that was revoked because nobody calls with it."""

    id: str
    user_id: str
    name: str
    idle_since: str


class RemovedUser(Struct, frozen=True):
    """An account that is gone for good."""

    id: str
    deleted_at: str


class Swept(Struct, frozen=True):
    """How many of each went, or would go."""

    keys_revoked: int = 0
    keys_removed: int = 0
    sessions_removed: int = 0
    failures_removed: int = 0
    events_removed: int = 0
    users_removed: int = 0
    limits_removed: int = 0


async def revoke_unused(conn: Conn, *, idle_seconds: float, limit: int) -> list[UnusedKey]:
    """Revoke keys that were not used for so long; which."""
    rows = await conn.fetch(REVOKE_UNUSED, idle_seconds, limit, UNUSED)
    return [
        UnusedKey(str(row["id"]), str(row["user_id"]), row["name"], rfc3339(row["idle_since"]))
        for row in rows
    ]


async def remove_keys(conn: Conn, *, keep_seconds: float, limit: int) -> int:
    """Delete keys that expired or were revoked so long ago. Returns how many went, as the others do."""
    count: int = await conn.fetchval(REMOVE_KEYS, keep_seconds, limit)
    return count


async def remove_sessions(conn: Conn, *, limit: int) -> int:
    """Delete sessions that were over a week ago, with their refresh tokens."""
    count: int = await conn.fetchval(REMOVE_SESSIONS, SESSIONS_KEPT_SECONDS, limit)
    return count


async def remove_failures(conn: Conn, *, limit: int) -> int:
    """Forget tries to sign in that failed a day ago, where nobody is locked out by them since."""
    count: int = await conn.fetchval(REMOVE_FAILURES, FAILURES_KEPT_SECONDS, limit)
    return count


async def remove_events(conn: Conn, *, keep_seconds: float, limit: int) -> int:
    """Delete what the audit log told so long ago."""
    count: int = await conn.fetchval(REMOVE_EVENTS, keep_seconds, limit, _before_id(keep_seconds))
    return count


async def remove_users(conn: Conn, *, keep_seconds: float, limit: int) -> list[RemovedUser]:
    """Delete accounts that were deleted so long ago, with all that is theirs but tasks; which."""
    rows = await conn.fetch(REMOVE_USERS, keep_seconds, limit)
    return [RemovedUser(str(row["id"]), rfc3339(row["deleted_at"])) for row in rows]


async def preview(
    conn: Conn, *, keep_accounts_seconds: float, keep_audit_seconds: float, idle_seconds: float | None
) -> Swept:
    """What all of these would do now, page by page."""
    row = await one_row(
        conn,
        PREVIEW,
        keep_accounts_seconds,
        idle_seconds,
        SESSIONS_KEPT_SECONDS,
        FAILURES_KEPT_SECONDS,
        keep_audit_seconds,
        _before_id(keep_audit_seconds),
    )
    return Swept(**dict(row))


def _before_id(keep_seconds: float) -> str:
    """The first id of what is younger, so that the others alone are read."""
    return first_id_at(now() - timedelta(seconds=keep_seconds))
