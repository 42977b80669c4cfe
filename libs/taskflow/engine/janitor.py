"""janitor: what accounts leave behind goes when its time is over. Safe when several are at it.

Whom it removes and which keys it revokes, it tells the audit log in the transaction that does it.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from taskflow.domain.account import By
from taskflow.kit.logging import get_logger
from taskflow.store import audit_log, janitor
from taskflow.store.connect import Conn, Line
from taskflow.store.janitor import Swept
from taskflow.store.rate_limits import prune_limits

log = get_logger(__name__)

PAGE = 1_000
PAGE_TOLD = 100
"""Of what is told one by one, or takes others with it."""
ACTOR = "janitor"


class Keeping(Struct, frozen=True, kw_only=True):
    """How long what is kept. `key_idle_seconds`: how long a key may be unused; 0: for ever."""

    accounts_seconds: float
    audit_seconds: float
    key_idle_seconds: float


class Janitor:
    """Removes a page of each kind at a time; each page is a transaction."""

    def __init__(self, line: Line, keeping: Keeping) -> None:
        self._line = line
        self._keeping = keeping

    async def run_once(self) -> bool:
        """Remove a page of each; returns whether there may be more."""
        swept, more = await self._page()
        if swept != Swept():
            log.info("accounts.swept", **msgspec.structs.asdict(swept))
        return more

    async def sweep(self) -> Swept:
        """Remove all there is; how much it was."""
        total, more = Swept(), True
        while more:
            swept, more = await self._page()
            total = _sum(total, swept)
        return total

    async def preview(self) -> Swept:
        """What `sweep` would do now; nothing is changed."""
        keeping = self._keeping
        return await self._line.run(
            lambda conn: janitor.preview(
                conn,
                keep_accounts_seconds=keeping.accounts_seconds,
                keep_audit_seconds=keeping.audit_seconds,
                idle_seconds=keeping.key_idle_seconds or None,
            )
        )

    async def _page(self) -> tuple[Swept, bool]:
        run, keeping = self._line.run, self._keeping
        revoked = await run(self._revoke_unused) if keeping.key_idle_seconds else 0
        keys = await run(
            lambda conn: janitor.remove_keys(conn, keep_seconds=keeping.accounts_seconds, limit=PAGE)
        )
        sessions = await run(lambda conn: janitor.remove_sessions(conn, limit=PAGE))
        failures = await run(lambda conn: janitor.remove_failures(conn, limit=PAGE))
        events = await run(
            lambda conn: janitor.remove_events(conn, keep_seconds=keeping.audit_seconds, limit=PAGE)
        )
        users = await run(self._remove_users)
        limits = await run(lambda conn: prune_limits(conn, PAGE))
        more = max(revoked, users) >= PAGE_TOLD or max(keys, sessions, failures, events, limits) >= PAGE
        return Swept(revoked, keys, sessions, failures, events, users, limits), more

    async def _revoke_unused(self, conn: Conn) -> int:
        async with conn.transaction():
            keys = await janitor.revoke_unused(
                conn, idle_seconds=self._keeping.key_idle_seconds, limit=PAGE_TOLD
            )
            for key in keys:
                told = {"user_id": key.user_id, "name": key.name, "idle_since": key.idle_since}
                await audit_log.write_audit(conn, By(ACTOR, janitor.UNUSED), "api_key.revoked", key.id, told)
        return len(keys)

    async def _remove_users(self, conn: Conn) -> int:
        async with conn.transaction():
            users = await janitor.remove_users(
                conn, keep_seconds=self._keeping.accounts_seconds, limit=PAGE_TOLD
            )
            for user in users:
                told = {"deleted_at": user.deleted_at}
                await audit_log.write_audit(conn, By(ACTOR), "user.removed", user.id, told)
        return len(users)


def _sum(one: Swept, other: Swept) -> Swept:
    added = msgspec.structs.asdict(other)
    return Swept(**{name: n + added[name] for name, n in msgspec.structs.asdict(one).items()})
