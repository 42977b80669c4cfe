"""Accounts are made: by whoever registers, by an admin, or, the first admin, by whoever runs the system."""

from __future__ import annotations

from msgspec import Struct

from taskflow.domain.account import USER_SCOPES, By, Role, User
from taskflow.domain.errors import Invalid, NameTaken, NotFound, Problem, RegistrationClosed
from taskflow.domain.task import LOCAL_OWNER
from taskflow.engine.api_keys import make_key
from taskflow.engine.passwords import Passwords
from taskflow.engine.vault import Vault, new_signing_secret
from taskflow.kit.ids import new_id
from taskflow.kit.logging import get_logger
from taskflow.store import audit_log, lockouts, sessions, signing_secrets, users
from taskflow.store.connect import Conn, Database

log = get_logger(__name__)


class NewAccount(Struct, frozen=True):
    """Who is to have an account. Without a password it can be used through its API keys alone."""

    username: str | None
    email: str | None
    password: str | None
    role: Role = "user"


class Registered(Struct, frozen=True):
    """An account that was just made; key and secret are never shown again."""

    user: User
    api_key: str
    signing_secret: str


class Accounts:
    """Makes accounts."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        vault: Vault,
        *,
        registration_open: bool,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._vault = vault
        self._registration_open = registration_open

    async def register(self, new: NewAccount, by: By, *, by_admin: bool) -> Registered:
        """Make an account with its first API key. Only admins do where registration is closed."""
        if not (by_admin or self._registration_open):
            raise RegistrationClosed("registration is closed here; ask an admin for an account")
        if new.password is not None:
            await _judge_password(self._passwords, new, "/password")
        async with self._database.connection() as conn:
            await refuse_taken(conn, new.username, new.email)
        kept = await self._passwords.hash(new.password) if new.password is not None else None
        user_id, secret = new_id(), new_signing_secret()
        async with self._database.transaction() as conn:
            user = await users.add_user(conn, user_id, new.username, new.email, kept, new.role)
            if user is None:
                await refuse_taken(conn, new.username, new.email)
                raise NameTaken()
            author = by if by_admin else _self(user, by)
            _, key = await make_key(
                conn, user_id, "first", sorted(USER_SCOPES if new.role == "user" else {"admin"}), None, author
            )
            await signing_secrets.add_secret(conn, new_id(), user_id, self._vault.seal(secret, user_id))
            await audit_log.write_audit(conn, author, "user.created", user_id, {"role": new.role})
        log.info("user.created", user_id=user_id, role=new.role)
        return Registered(user, key, secret)


async def ensure_admin(database: Database, passwords: Passwords, username: str, password: str) -> bool:
    """Make the first admin, unless there is one who can sign in; whether it was made."""
    async with database.transaction() as conn:
        if await users.lock_admins(conn):
            return False
    kept = await passwords.hash(password)
    async with database.transaction() as conn:
        if await users.lock_admins(conn):  # another instance was quicker
            return False
        await _add_admin(conn, username, None, kept, By("environment"))
    return True


async def create_admin(
    database: Database, passwords: Passwords, new: NewAccount, by: By, *, with_key: bool
) -> tuple[User, str | None]:
    """Make an admin, with an API key for everything if one is asked for."""
    assert new.password is not None
    await _judge_password(passwords, new, "password")
    kept = await passwords.hash(new.password)
    async with database.transaction() as conn:
        user = await _add_admin(conn, new.username, new.email, kept, by)
        key = (await make_key(conn, user.id, "first", ["admin"], None, by))[1] if with_key else None
    return user, key


async def reset_password(database: Database, passwords: Passwords, name: str, password: str, by: By) -> User:
    """Give the account of this name another password; its sessions and its lock end."""
    async with database.connection() as conn:
        login = await users.find_login(conn, name)
    if login is None or login.id == LOCAL_OWNER:
        raise NotFound(f"there is no account {name!r}")
    await _judge_password(passwords, NewAccount(name, None, password), "password")
    kept = await passwords.hash(password)
    async with database.transaction() as conn:
        await users.set_password(conn, login.id, kept)
        await sessions.end_sessions(conn, login.id, "password reset")
        await lockouts.forgive(conn, f"account:{login.id}")
        await audit_log.write_audit(conn, by, "user.password_reset", login.id)
        user = await users.read_user(conn, login.id)
    assert user is not None
    return user


async def _add_admin(conn: Conn, username: str | None, email: str | None, kept: str, by: By) -> User:
    await refuse_taken(conn, username, email)
    user = await users.add_user(conn, new_id(), username, email, kept, "admin")
    if user is None:
        raise NameTaken()
    await audit_log.write_audit(conn, by, "user.created", user.id, {"role": "admin"})
    log.info("user.created", user_id=user.id, role="admin")
    return user


async def _judge_password(passwords: Passwords, new: NewAccount, pointer: str) -> None:
    names = [name for name in (new.username, new.email) if name]
    detail = await passwords.fault_of(new.password or "", names)
    if detail is not None:
        raise Invalid(f"{pointer}: {detail}", problems=[Problem(detail, pointer=pointer)])


async def refuse_taken(conn: Conn, username: str | None, email: str | None, but: str | None = None) -> None:
    by_name, by_email = await users.taken(conn, username, email, but)
    problems = [
        Problem("belongs to another account", pointer=pointer)
        for pointer, is_taken in (("/username", by_name), ("/email", by_email))
        if is_taken
    ]
    if problems:
        raise NameTaken(f"{problems[0].pointer}: {problems[0].detail}", problems=problems)


def _self(user: User, by: By) -> By:
    """Who registers does it as the account that comes of it."""
    name = user.username or user.email or user.id
    return By(name, user_id=user.id, address=by.address, request_id=by.request_id)
