"""API keys as rows: of the key itself only its hash."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from taskflow.domain.account import ApiKey, Role, Scope
from taskflow.kit.clock import rfc3339
from taskflow.store.connect import Conn
from taskflow.store.wire import Row, time_text

_COLUMNS = """id, user_id, name, hint, scopes, created_at, expires_at, last_used_at, revoked_at, revoked_reason,
    replaced_by,
    CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= clock_timestamp() THEN 'expired' ELSE 'live' END
        AS status"""
_USABLE = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())"


class KeyHolder(NamedTuple):
    """Whose key it is, and what it allows. `expires_at`: PostgreSQL's clock."""

    key_id: str
    user_id: str
    name: str
    role: Role
    scopes: list[Scope]
    expires_at: datetime | None


# $1 id  $2 user id  $3 name  $4 hint  $5 scopes  $6 hash  $7 expires at
ADD_KEY = f"""-- store.api_keys.add_key
INSERT INTO api_keys (id, user_id, created_at, name, hint, scopes, hash, expires_at)
VALUES ($1, $2, clock_timestamp(), $3, $4, $5, $6, $7) RETURNING {_COLUMNS}"""

# $1 hash bytea[]
FIND_HOLDERS = """-- store.api_keys.find_holders
SELECT k.hash, k.id, k.user_id, coalesce(u.username, u.email) AS name, u.role, k.scopes, k.expires_at
FROM api_keys k JOIN users u ON u.id = k.user_id
WHERE k.hash = ANY($1::bytea[]) AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
  AND u.disabled_at IS NULL AND u.deleted_at IS NULL"""

# $1 key id uuid[] (sorted)
NOTE_USED = """-- store.api_keys.note_used
WITH used AS (SELECT id FROM api_keys WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE SKIP LOCKED)
UPDATE api_keys k SET last_used_at = clock_timestamp() FROM used WHERE k.id = used.id"""

# $1 owner id; null: anybody's  $2 before id  $3 limit  $4 user id or null
LIST_KEYS = f"""-- store.api_keys.list_keys
SELECT {_COLUMNS} FROM api_keys
WHERE ($1::uuid IS NULL OR user_id = $1) AND ($2::uuid IS NULL OR id < $2) AND ($4::uuid IS NULL OR user_id = $4)
ORDER BY id DESC LIMIT $3"""

# $1 id  $2 owner id; null: anybody's
READ_KEY = f"""-- store.api_keys.read_key
SELECT {_COLUMNS} FROM api_keys WHERE id = $1 AND ($2::uuid IS NULL OR user_id = $2)"""

# $1 id  $2 owner id; null: anybody's
HOLD_KEY = f"""-- store.api_keys.hold_key
SELECT {_COLUMNS} FROM api_keys WHERE id = $1 AND ($2::uuid IS NULL OR user_id = $2) FOR UPDATE"""

# $1 id  $2 why
REVOKE_KEY = f"""-- store.api_keys.revoke_key
UPDATE api_keys SET revoked_at = clock_timestamp(), revoked_reason = $2 WHERE id = $1 AND {_USABLE}
RETURNING {_COLUMNS}"""

# $1 id  $2 the new key's id  $3 seconds that the old one goes on
REPLACE_KEY = f"""-- store.api_keys.replace_key
UPDATE api_keys SET replaced_by = $2,
    expires_at = least(expires_at, clock_timestamp() + $3::float8 * interval '1 second')
WHERE id = $1 AND {_USABLE} RETURNING {_COLUMNS}"""

# $1 user id
COUNT_KEYS = f"""-- store.api_keys.count_keys
SELECT count(*) FROM api_keys WHERE user_id = $1 AND {_USABLE}"""


async def add_key(
    conn: Conn,
    key_id: str,
    user_id: str,
    *,
    name: str,
    hint: str,
    scopes: Sequence[Scope],
    token_hash: bytes,
    expires_at: datetime | None,
) -> ApiKey:
    """A new key."""
    values = (key_id, user_id, name, hint, list(scopes), token_hash, expires_at)
    return _key(await conn.fetchrow(ADD_KEY, *values))


async def find_holders(conn: Conn, hashes: Sequence[bytes]) -> dict[bytes, KeyHolder]:
    """Of these keys those that are good now, and whose they are."""
    return {
        bytes(row["hash"]): KeyHolder(str(row["id"]), str(row["user_id"]), *tuple(row)[3:])
        for row in await conn.fetch(FIND_HOLDERS, list(hashes))
    }


async def note_used(conn: Conn, ids: Sequence[str]) -> None:
    """These keys are in use."""
    await conn.execute(NOTE_USED, sorted(ids))


async def list_keys(
    conn: Conn, owner: str | None, *, limit: int, before: str | None, user_id: str | None = None
) -> list[ApiKey]:
    """Newest first, older than `before`; of an owner: only his."""
    return [_key(row) for row in await conn.fetch(LIST_KEYS, owner, before, limit, user_id)]


async def read_key(conn: Conn, key_id: str, owner: str | None) -> ApiKey | None:
    """One key, or None; of an owner: only his."""
    row = await conn.fetchrow(READ_KEY, key_id, owner)
    return _key(row) if row else None


async def hold_key(conn: Conn, key_id: str, owner: str | None) -> ApiKey | None:
    """One key, held until the end of the transaction."""
    row = await conn.fetchrow(HOLD_KEY, key_id, owner)
    return _key(row) if row else None


async def revoke_key(conn: Conn, key_id: str, reason: str | None) -> ApiKey | None:
    """End a key; None if it has ended."""
    row = await conn.fetchrow(REVOKE_KEY, key_id, reason)
    return _key(row) if row else None


async def replace_key(conn: Conn, key_id: str, new_id: str, overlap_seconds: float) -> ApiKey | None:
    """Let a key end so many seconds from now, in favour of another; None if it has ended."""
    row = await conn.fetchrow(REPLACE_KEY, key_id, new_id, overlap_seconds)
    return _key(row) if row else None


async def count_keys(conn: Conn, user_id: str) -> int:
    """How many good keys an account has."""
    count: int = await conn.fetchval(COUNT_KEYS, user_id)
    return count


def _key(row: Row | None) -> ApiKey:
    assert row is not None
    return ApiKey(
        id=str(row["id"]),
        user_id=str(row["user_id"]),
        name=row["name"],
        hint=row["hint"],
        scopes=row["scopes"],
        status=row["status"],
        created_at=rfc3339(row["created_at"]),
        expires_at=time_text(row["expires_at"]),
        last_used_at=time_text(row["last_used_at"]),
        revoked_at=time_text(row["revoked_at"]),
        revoked_reason=row["revoked_reason"],
        replaced_by=str(row["replaced_by"]) if row["replaced_by"] else None,
    )
