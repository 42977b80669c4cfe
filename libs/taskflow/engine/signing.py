"""signing: what webhooks and pushes are signed with. Each account has secrets; one that has none yet gets one."""

from __future__ import annotations

import time

from taskflow import webhooks
from taskflow.domain.account import By
from taskflow.domain.errors import Forbidden, NotFound
from taskflow.domain.webhook import SigningSecret
from taskflow.engine.vault import Vault, new_signing_secret
from taskflow.kit.ids import new_id
from taskflow.store import audit_log, signing_secrets
from taskflow.store.connect import Conn, Database

AGE_SECONDS_MAX = 5.0
"""So long a process trusts what it has read of an account's secrets: short beside any overlap."""
OWNERS_KEPT_MAX = 10_000
SECRETS_MAX = 10
"""Good secrets of one account, those that are being replaced among them: each is another signature."""
RESEAL_PAGE = 500


class CannotSign(Exception):
    """Something is to be signed, and there is nothing to sign it with: the message says why."""


class Signer:
    """Signs what is sent in an owner's name. Without a key it cannot."""

    def __init__(self, database: Database, vault: Vault | None) -> None:
        self._database = database
        self._vault = vault
        self._known: dict[str, tuple[float, list[str]]] = {}

    async def signed(
        self, owner_id: str, message_id: str, body: bytes, own_secret: str | None = None
    ) -> dict[str, str]:
        """The headers that sign a body, by its own secret or its owner's. Raises CannotSign."""
        secrets = [own_secret] if own_secret is not None else await self._secrets(owner_id)
        return webhooks.sign(message_id, int(time.time()), body, secrets)

    async def _secrets(self, owner_id: str) -> list[str]:
        """The oldest first."""
        if self._vault is None:
            raise CannotSign("neither SEALING_KEY nor SECRET_KEY is set here")
        read_at, secrets = self._known.get(owner_id, (float("-inf"), []))
        if time.monotonic() - read_at > AGE_SECONDS_MAX:
            sealed = await self._read(self._vault, owner_id)
            try:
                secrets = [self._vault.open(one, owner_id) for one in sealed]
            except LookupError as error:
                raise CannotSign(f"the signing secret cannot be read: {error}") from error
            if len(self._known) >= OWNERS_KEPT_MAX:
                self._known.clear()
            self._known[owner_id] = (time.monotonic(), secrets)
        return secrets

    async def _read(self, vault: Vault, owner_id: str) -> list[bytes]:
        async with self._database.connection() as conn:
            found = (await signing_secrets.read_secrets(conn, [owner_id])).get(owner_id)
        if found:
            return found
        async with self._database.transaction() as conn:
            if not await signing_secrets.lock_owner(conn, owner_id):
                raise CannotSign("its owner is gone")
            found = (await signing_secrets.read_secrets(conn, [owner_id])).get(owner_id)
            if found:  # another process was quicker
                return found
            sealed = vault.seal(new_signing_secret(), owner_id)
            await signing_secrets.add_secret(conn, new_id(), owner_id, sealed, shown=False)
        return [sealed]


class SigningSecrets:
    """An account's secrets, as it manages them."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def secrets(self, user_id: str) -> list[SigningSecret]:
        """What it signs with, the newest first."""
        async with self._database.connection() as conn:
            return await signing_secrets.list_secrets(conn, user_id)

    async def make(self, user_id: str, overlap_seconds: float, by: By) -> tuple[str, SigningSecret]:
        """A new secret, and what is known of it; those before it go on for so long, unless nobody has seen them."""
        secret, secret_id = new_signing_secret(), new_id()
        async with self._database.transaction() as conn:
            await signing_secrets.lock_owner(conn, user_id)
            if len(await signing_secrets.list_secrets(conn, user_id)) >= SECRETS_MAX:
                raise Forbidden(f"this account has {SECRETS_MAX} signing secrets; end one first")
            made = await signing_secrets.add_secret(
                conn, secret_id, user_id, self._vault.seal(secret, user_id)
            )
            await signing_secrets.end_others(conn, user_id, secret_id, overlap_seconds)
            told = {"overlap_seconds": overlap_seconds}
            await audit_log.write_audit(conn, by, "signing_secret.created", secret_id, told)
        return secret, made

    async def end(self, user_id: str, secret_id: str, by: By) -> None:
        """End a secret that was replaced before its time. The newest stays."""
        async with self._database.transaction() as conn:
            if not await signing_secrets.end_secret(conn, secret_id, user_id):
                raise NotFound(f"there is no signing secret {secret_id} that was replaced")
            await audit_log.write_audit(conn, by, "signing_secret.ended", secret_id)


async def reseal(database: Database, vault: Vault) -> tuple[int, int]:
    """Seal all signing secrets with the present key; how many were, and how many neither key opens."""
    done = lost = 0
    after: str | None = None
    while True:
        async with database.transaction() as conn:
            page = await signing_secrets.read_sealed(conn, after, RESEAL_PAGE)
            for row in page:
                done, lost = await _resealed(conn, vault, row, done, lost)
        if not page:
            return done, lost
        after = page[-1].id


async def _resealed(
    conn: Conn, vault: Vault, row: signing_secrets.Sealed, done: int, lost: int
) -> tuple[int, int]:
    if vault.is_present(row.sealed):
        return done, lost
    try:
        secret = vault.open(row.sealed, row.user_id)
    except LookupError:
        return done, lost + 1
    await signing_secrets.reseal(conn, row.id, row.sealed, vault.seal(secret, row.user_id))
    return done + 1, lost
