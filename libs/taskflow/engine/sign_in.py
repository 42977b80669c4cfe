"""Signing in: passwords for sessions, sessions for access tokens, and locks for those who guess.

A refresh token is good once. One that is shown a second time was stolen, by whoever showed it first or by whoever
shows it now: its whole family ends (RFC 9700, section 4.14.2).
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

from msgspec import Struct

from taskflow.domain.account import By, Caller
from taskflow.domain.errors import AccountLocked, Invalid, Problem, Unauthenticated
from taskflow.engine.credentials import Credentials
from taskflow.engine.passwords import Passwords
from taskflow.engine.tokens import Tokens
from taskflow.kit.ids import new_id
from taskflow.kit.logging import get_logger
from taskflow.kit.metrics import counter
from taskflow.kit.tokens import digest, is_token, new_token
from taskflow.store import audit_log, lockouts, sessions, users
from taskflow.store.connect import Conn, Database
from taskflow.store.users import Login

log = get_logger(__name__)

REFRESH_PREFIX = "tfr"
LOCKOUT = "lockout"
NOBODY = "nobody"
"""The actor of a try to sign in with a name that no account has."""
_WRONG = "the name or the password is wrong"
_NOT_GOOD = "the refresh token is unknown, expired or used"

SIGN_INS = counter(
    "taskflow_sign_ins_total",
    "Tries to sign in with a password: `succeeded`, `failed`, or refused as `locked`.",
    ["outcome"],
)


class SignInRules(Struct, frozen=True):
    """How long sessions last, and how many failures lock an account or an address for how long."""

    refresh_seconds: float
    failures_max: int
    lock_seconds: float


class Granted(Struct, frozen=True):
    """What signing in gives: a token for calls, and one to get the next with."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int


class SignIn:
    """Opens, renews and ends sessions."""

    def __init__(
        self,
        database: Database,
        credentials: Credentials,
        passwords: Passwords,
        tokens: Tokens,
        rules: SignInRules,
    ) -> None:
        self._database = database
        self._credentials = credentials
        self._passwords = passwords
        self._tokens = tokens
        self._rules = rules
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: Counter[str] = Counter()

    async def sign_in(self, name: str, password: str, by: By, network: str) -> Granted:
        """Open a session. `network` is what tries of an address are counted by."""
        async with self._database.connection() as conn:
            login = await users.find_login(conn, name)
        kept = await self._verify(login, name, password, by, network)
        assert login is not None
        session_id = new_id()
        async with self._database.transaction() as conn:
            if not await users.signed_in(conn, login.id, kept):  # changed or disabled in the meantime
                raise Unauthenticated(_WRONG)
            token = await self._open(conn, session_id, login.id, by.address)
            await audit_log.write_audit(conn, _as(by, login.name, login.id), "session.opened", session_id)
        return self._granted(login.id, session_id, token)

    async def refresh(self, shown: str, by: By) -> Granted:
        """The next pair of tokens, for a refresh token that was not used yet."""
        if not is_token(REFRESH_PREFIX, shown):
            raise Unauthenticated(_NOT_GOOD)
        async with self._database.transaction() as conn:
            held = await sessions.hold_token(conn, digest(shown))
            stolen = held is not None and held.used
            if held is not None and stolen:
                await self._end_family(conn, held, by)
            elif held is not None and held.live:
                await sessions.use_token(conn, digest(shown), held.session_id, self._rules.refresh_seconds)
                token = new_token(REFRESH_PREFIX)
                await sessions.add_token(conn, digest(token), held.session_id)
        if held is None or stolen or not held.live:
            raise Unauthenticated(_NOT_GOOD)
        return self._granted(held.user_id, held.session_id, token)

    async def sign_out(self, session_id: str, by: By) -> None:
        """End a session; one that has ended stays so."""
        async with self._database.transaction() as conn:
            if await sessions.end_session(conn, session_id, "signed out"):
                await audit_log.write_audit(conn, by, "session.ended", session_id)
        self._credentials.forget(lambda caller: caller.session_id == session_id)

    async def sign_out_by(self, shown: str, by: By) -> None:
        """End the session of a refresh token. One that is not known is nobody's: nothing is to be ended."""
        async with self._database.connection() as conn:
            held = await sessions.hold_token(conn, digest(shown))
        if held is not None:
            await self.sign_out(held.session_id, _as(by, held.name, held.user_id))

    async def change_password(self, caller: Caller, old: str, new: str, by: By, network: str) -> int:
        """Set another password; all other sessions of the account end. Returns how many did."""
        async with self._database.connection() as conn:
            login = await users.read_login(conn, caller.user_id)
            user = await users.read_user(conn, caller.user_id)
        try:
            verified = await self._verify(login, caller.name, old, by, network)
        except Unauthenticated:
            raise _not_present() from None
        names = [name for name in (user and user.username, user and user.email) if name]
        if (detail := await self._passwords.fault_of(new, names)) is not None:
            raise Invalid(f"new_password: {detail}", problems=[Problem(detail, pointer="/new_password")])
        kept = await self._passwords.hash(new)
        async with self._database.transaction() as conn:
            if not await users.set_password(conn, caller.user_id, kept, verified):
                raise _not_present()
            ended = await sessions.end_sessions(conn, caller.user_id, "password changed", caller.session_id)
            told = {"sessions_ended": ended}
            await audit_log.write_audit(conn, by, "user.password_changed", caller.user_id, told)
        self._credentials.forget(
            lambda one: one.user_id == caller.user_id and one.session_id not in {None, caller.session_id}
        )
        return ended

    async def _verify(self, login: Login | None, name: str, password: str, by: By, network: str) -> str:
        """The hash of the password, if it is the one of a live account, or Unauthenticated.

        Known names and others go the same way, step by step.
        """
        account = f"account:{login.id}" if login is not None else f"name:{_unreadable(name)}"
        subjects = [account, f"address:{network}"]
        async with self._alone(account):
            async with self._database.connection() as conn:
                locked = await lockouts.read_lock(conn, subjects)
            if locked:
                SIGN_INS.labels("locked").inc()
                raise AccountLocked(
                    f"too many failed tries to sign in; try again in {math.ceil(locked)} s",
                    retry_after_seconds=locked,
                )
            kept = login.password_hash if login is not None and login.live else None
            verified = await self._passwords.verify(kept, password)
            async with self._database.transaction() as conn:
                if not verified:
                    await self._note_failure(conn, subjects, login, by)
                elif await lockouts.forgive(conn, account):
                    log.info("sign_in.forgiven", user_id=login.id if login else None)
        SIGN_INS.labels("succeeded" if verified else "failed").inc()
        if not verified or login is None or kept is None:
            raise Unauthenticated(_WRONG)
        return await self._renewed(login.id, kept, password) if self._passwords.is_outdated(kept) else kept

    async def _renewed(self, user_id: str, kept: str, password: str) -> str:
        """The password, hashed with the parameters that are used now; unless it was changed in the meantime."""
        renewed = await self._passwords.hash(password)
        async with self._database.connection() as conn:
            return renewed if await users.set_password(conn, user_id, renewed, kept) else kept

    async def _note_failure(self, conn: Conn, subjects: list[str], login: Login | None, by: By) -> None:
        rules = self._rules
        counts = await lockouts.note_failure(
            conn, subjects, failures_max=rules.failures_max, seconds=rules.lock_seconds
        )
        await audit_log.write_audit(
            conn,
            _as(by, login.name if login else NOBODY, login.id if login else None),
            "session.refused",
            login.id if login else None,
            {"failures": counts[subjects[0]]},
        )
        for subject in (one for one, count in counts.items() if count == rules.failures_max):
            kind = subject.partition(":")[0]
            locked_by = _as(by, LOCKOUT, login.id if login and kind == "account" else None)
            await audit_log.write_audit(conn, locked_by, f"{kind}.locked", subject.partition(":")[2])
            log.warning("sign_in.locked", kind=kind, address=by.address, seconds=rules.lock_seconds)

    @asynccontextmanager
    async def _alone(self, account: str) -> AsyncIterator[None]:
        """One try at a time for an account: else many that are sent at once would all come before the lock."""
        lock = self._locks.setdefault(account, asyncio.Lock())
        self._waiting[account] += 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[account] -= 1
            if not self._waiting[account]:
                del self._waiting[account], self._locks[account]

    async def _open(self, conn: Conn, session_id: str, user_id: str, address: str | None) -> str:
        token = new_token(REFRESH_PREFIX)
        await sessions.open_session(conn, session_id, user_id, self._rules.refresh_seconds, address)
        await sessions.add_token(conn, digest(token), session_id)
        return token

    async def _end_family(self, conn: Conn, held: sessions.Turned, by: By) -> None:
        if await sessions.end_session(conn, held.session_id, "refresh token used twice"):
            by = _as(by, held.name, held.user_id)
            await audit_log.write_audit(conn, by, "session.token_reused", held.session_id)
            log.warning("session.token_reused", user_id=held.user_id, session_id=held.session_id)
        self._credentials.forget(lambda caller: caller.session_id == held.session_id)

    def _granted(self, user_id: str, session_id: str, refresh_token: str) -> Granted:
        access = self._tokens.issue(user_id, session_id)
        return Granted(access, refresh_token, "Bearer", self._tokens.seconds)


def _not_present() -> Invalid:
    fault = Problem("is not the present password", pointer="/old_password")
    return Invalid(f"old_password: {fault.detail}", problems=[fault])


def _unreadable(name: str) -> str:
    """A name that nobody has may be a password in the wrong field: it is counted, and not kept."""
    return sha256(name.lower().encode()).hexdigest()


def _as(by: By, name: str, user_id: str | None) -> By:
    """The same call, by whom it turned out to be."""
    return By(name, by.reason, user_id=user_id, address=by.address, request_id=by.request_id)
