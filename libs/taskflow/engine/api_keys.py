"""API keys: made, listed, replaced with an overlap, revoked. Shown once; of the key itself only its hash is kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from taskflow.domain.account import ApiKey, By, Caller, Scope
from taskflow.domain.errors import Forbidden, NotFound, Stale, Unauthenticated
from taskflow.engine.credentials import KEY_PREFIX, Credentials
from taskflow.kit.ids import new_id
from taskflow.kit.tokens import digest, hint_of, new_token
from taskflow.store import api_keys, audit_log, sessions
from taskflow.store.connect import Conn, Database

KEYS_MAX = 100
"""Good keys of one account. Those that are being replaced may be as many again."""


class MadeKey(Struct, frozen=True):
    """A key that was just made: `key` is never shown again."""

    key: str
    api_key: ApiKey


class ApiKeys:
    """The keys of accounts."""

    def __init__(self, database: Database, credentials: Credentials) -> None:
        self._database = database
        self._credentials = credentials

    async def make(
        self, caller: Caller, name: str, scopes: Sequence[Scope], expires_at: datetime | None, by: By
    ) -> MadeKey:
        """A new key of the caller's account, which allows no more than the caller may do, nor for longer."""
        _refuse_more_than_own(caller, scopes)
        async with self._database.transaction() as conn:
            expires_at = await _no_later(conn, caller, expires_at)
            if await api_keys.count_keys(conn, caller.user_id) >= KEYS_MAX:
                raise Forbidden(f"this account has {KEYS_MAX} keys; revoke one first")
            made, key = await make_key(conn, caller.user_id, name, scopes, expires_at, by)
        return MadeKey(key, made)

    async def keys(
        self, owner: str | None, limit: int, before: str | None, user_id: str | None
    ) -> list[ApiKey]:
        """Newest first, older than `before`; of an owner: only his."""
        async with self._database.connection() as conn:
            return await api_keys.list_keys(conn, owner, limit=limit, before=before, user_id=user_id)

    async def key(self, key_id: str, owner: str | None) -> ApiKey:
        """One key; of an owner: only his."""
        async with self._database.connection() as conn:
            return _found(await api_keys.read_key(conn, key_id, owner), key_id)

    async def replace(self, caller: Caller, key_id: str, overlap_seconds: float, by: By) -> MadeKey:
        """A new key like this one of the caller's, which goes on for so long. Raises Stale if it has ended already.

        As any that is made with a key, the new one ends no later than the key that asks for it.
        """
        async with self._database.transaction() as conn:
            old = _found(await api_keys.hold_key(conn, key_id, caller.user_id), key_id)
            _refuse_more_than_own(caller, old.scopes)
            expires_at = await _no_later(conn, caller, _moment(old.expires_at))
            if await api_keys.count_keys(conn, caller.user_id) >= 2 * KEYS_MAX:
                raise Forbidden(f"this account has {2 * KEYS_MAX} keys with those replaced; revoke one first")
            made, key = await make_key(conn, old.user_id, old.name, old.scopes, expires_at, by)
            if await api_keys.replace_key(conn, key_id, made.id, overlap_seconds) is None:
                raise Stale(f"key {key_id} is {old.status}", current_status=old.status)
            told = {"replaced_by": made.id, "overlap_seconds": overlap_seconds}
            await audit_log.write_audit(conn, by, "api_key.replaced", key_id, told)
        self._forget(key_id)
        return MadeKey(key, made)

    async def revoke(self, key_id: str, by: By) -> ApiKey:
        """End a key; one that has ended stays as it is."""
        async with self._database.transaction() as conn:
            found = _found(await api_keys.hold_key(conn, key_id, by.owner), key_id)
            if (revoked := await api_keys.revoke_key(conn, key_id, by.reason)) is not None:
                await audit_log.write_audit(conn, by, "api_key.revoked", key_id)
        self._forget(key_id)
        return revoked or found

    def _forget(self, key_id: str) -> None:
        self._credentials.forget(lambda caller: caller.key_id == key_id)


async def make_key(
    conn: Conn, user_id: str, name: str, scopes: Sequence[Scope], expires_at: datetime | None, by: By
) -> tuple[ApiKey, str]:
    """Write a new key; returns it as it is read, and the key itself."""
    key, key_id = new_token(KEY_PREFIX), new_id()
    made = await api_keys.add_key(
        conn,
        key_id,
        user_id,
        name=name,
        hint=hint_of(key),
        scopes=scopes,
        token_hash=digest(key),
        expires_at=expires_at,
    )
    await audit_log.write_audit(conn, by, "api_key.created", key_id, {"scopes": list(scopes)})
    return made, key


def _refuse_more_than_own(caller: Caller, scopes: Sequence[Scope]) -> None:
    more = [scope for scope in scopes if not caller.may(scope)]
    if more:
        raise Forbidden(f"these credentials do not have the scope {', '.join(more)}, so cannot give it")


async def _no_later(conn: Conn, caller: Caller, expires_at: datetime | None) -> datetime | None:
    """What is made with a key ends with it at the latest. Raises Unauthenticated for credentials that have ended.

    Calls trust what was read some seconds ago; a key that is made lasts, so for it they are read once more.
    """
    if caller.session_id and not await sessions.find_sessions(conn, [caller.session_id]):
        raise Unauthenticated("the session has ended")
    if caller.key_id is None:
        return expires_at
    used = await api_keys.read_key(conn, caller.key_id, caller.user_id)
    if used is None or used.status != "live":
        raise Unauthenticated("the API key has ended")
    ends = [moment for moment in (expires_at, _moment(used.expires_at)) if moment]
    return min(ends, default=None)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _found(key: ApiKey | None, key_id: str) -> ApiKey:
    if key is None:
        raise NotFound(f"there is no API key {key_id}")
    return key
