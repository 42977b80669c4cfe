"""Idempotency keys: (owner, key) -> the request it stood for and the tasks that came of it. 24 hours.

Taken before the tasks are inserted, in the same transaction, so that key and tasks commit together. A parallel caller's
insert waits for the first to commit; a second statement then reads the winner (one statement would see an older snapshot).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from taskflow.store.connect import Conn


class Key(NamedTuple):
    """A request that bears a key."""

    owner_id: str
    key: str
    request_hash: bytes
    task_ids: list[str]


# $1 owner id uuid[]  $2 key  $3 request hash  $4 task ids as text '{..}'   (sorted by owner and key, each once)
# A key older than 24 hours is free again.
TAKE_KEYS = """-- store.idempotency.take_keys
INSERT INTO idempotency_keys AS k (owner_id, key, request_hash, task_ids, created_at)
SELECT owner_id, key, request_hash, task_ids::uuid[], now()
FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::text[]) AS g(owner_id, key, request_hash, task_ids)
ON CONFLICT (owner_id, key) DO UPDATE
SET request_hash = excluded.request_hash, task_ids = excluded.task_ids, created_at = excluded.created_at
WHERE k.created_at < now() - interval '24 hours'
RETURNING owner_id, key"""

# $1 owner id uuid[]  $2 key
READ_KEYS = """-- store.idempotency.read_keys
SELECT k.owner_id, k.key, k.request_hash, k.task_ids
FROM unnest($1::uuid[], $2::text[]) AS g(owner_id, key)
JOIN idempotency_keys k ON k.owner_id = g.owner_id AND k.key = g.key"""

# $1 owner id  $2 key
HAS_KEY = """-- store.idempotency.has_key
SELECT EXISTS (SELECT FROM idempotency_keys
               WHERE owner_id = $1 AND key = $2 AND created_at >= now() - interval '24 hours')"""


async def take_keys(conn: Conn, keys: Sequence[Key]) -> dict[tuple[str, str], Key]:
    """Take what is free of these (each once, any order). Returns the keys that others hold, as they hold them."""
    rows = sorted(keys)
    taken = await conn.fetch(
        TAKE_KEYS,
        [k.owner_id for k in rows],
        [k.key for k in rows],
        [k.request_hash for k in rows],
        ["{" + ",".join(k.task_ids) + "}" for k in rows],
    )
    won = {(str(row["owner_id"]), row["key"]) for row in taken}
    lost = [k for k in rows if (k.owner_id, k.key) not in won]
    if not lost:
        return {}
    held = await conn.fetch(READ_KEYS, [k.owner_id for k in lost], [k.key for k in lost])
    return {
        (str(r["owner_id"]), r["key"]): Key(
            str(r["owner_id"]), r["key"], bytes(r["request_hash"]), [str(i) for i in r["task_ids"]]
        )
        for r in held
    }


async def has_key(conn: Conn, owner_id: str, key: str) -> bool:
    """Whether a request of this owner holds the key."""
    return bool(await conn.fetchval(HAS_KEY, owner_id, key))
