"""Accounts as rows."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from taskflow.domain.account import Role, User
from taskflow.domain.task import LOCAL_OWNER
from taskflow.kit.clock import rfc3339
from taskflow.store.connect import Conn
from taskflow.store.wire import Row, time_text

_COLUMNS = """id, username, email, role, password_hash IS NOT NULL AS has_password, created_at, signed_in_at, disabled_at,
    deleted_at"""
_LIVE = "disabled_at IS NULL AND deleted_at IS NULL"


class Login(NamedTuple):
    """What signing in needs to know of an account. `live`: it is neither disabled nor deleted."""

    id: str
    name: str
    role: Role
    password_hash: str | None
    live: bool


# $1 id  $2 username  $3 e-mail  $4 password hash  $5 role
ADD_USER = f"""-- store.users.add_user
INSERT INTO users (id, created_at, username, email, password_hash, role)
VALUES ($1, clock_timestamp(), $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING {_COLUMNS}"""

# $1 username  $2 e-mail  $3 id that does not count
TAKEN = """-- store.users.taken
SELECT coalesce(bool_or(username_key = lower($1)), false) AS username,
       coalesce(bool_or(email_key = lower($2)), false) AS email
FROM users WHERE (username_key = lower($1) OR email_key = lower($2)) AND id IS DISTINCT FROM $3"""

_LOGIN = f"id, coalesce(username, email) AS name, role, password_hash, {_LIVE} AS live"

# $1 username or e-mail
FIND_LOGIN = f"""-- store.users.find_login
SELECT {_LOGIN} FROM users WHERE username_key = lower($1) OR email_key = lower($1)"""

# $1 id
READ_LOGIN = f"""-- store.users.read_login
SELECT {_LOGIN} FROM users WHERE id = $1"""

# $1 id
READ_USER = f"""-- store.users.read_user
SELECT {_COLUMNS} FROM users WHERE id = $1"""

# $1 before id  $2 limit  $3 role, or null  $4 part of username or e-mail, or null
LIST_USERS = f"""-- store.users.list_users
SELECT {_COLUMNS} FROM users
WHERE ($1::uuid IS NULL OR id < $1) AND ($3::text IS NULL OR role = $3)
  AND ($4::text IS NULL OR strpos(username_key, lower($4)) > 0 OR strpos(email_key, lower($4)) > 0)
ORDER BY id DESC LIMIT $2"""

# $1 id  $2 username  $3 e-mail; null: as it is
SET_NAMES = f"""-- store.users.set_names
UPDATE users SET username = coalesce($2, username), email = coalesce($3, email)
WHERE id = $1 AND deleted_at IS NULL RETURNING {_COLUMNS}"""

# $1 id  $2 password hash  $3 the hash it takes the place of; null: any
SET_PASSWORD = """-- store.users.set_password
UPDATE users SET password_hash = $2 WHERE id = $1 AND ($3::text IS NULL OR password_hash = $3) RETURNING id"""

# $1 id  $2 password hash
SIGNED_IN = f"""-- store.users.signed_in
UPDATE users SET signed_in_at = clock_timestamp() WHERE id = $1 AND password_hash = $2 AND {_LIVE} RETURNING id"""

# $1 id  $2 role or null  $3 disabled or null
SET_RIGHTS = f"""-- store.users.set_rights
UPDATE users SET role = coalesce($2, role),
    disabled_at = CASE WHEN $3 THEN coalesce(disabled_at, clock_timestamp()) WHEN NOT $3 THEN NULL ELSE disabled_at END
WHERE id = $1 AND deleted_at IS NULL RETURNING {_COLUMNS}"""

# $1 id  $2 deleted
SET_DELETED = f"""-- store.users.set_deleted
UPDATE users SET deleted_at = CASE WHEN $2 THEN coalesce(deleted_at, clock_timestamp()) END
WHERE id = $1 RETURNING {_COLUMNS}"""

# $1 the built-in account, which cannot sign in
COUNT_ADMINS = f"""-- store.users.count_admins
SELECT count(*) FROM users WHERE role = 'admin' AND id <> $1 AND password_hash IS NOT NULL AND {_LIVE}"""

LOCK_ADMINS = """-- store.users.lock_admins
SELECT pg_advisory_xact_lock(hashtextextended('taskflow admins', 1635083369))"""


async def add_user(
    conn: Conn, user_id: str, username: str | None, email: str | None, password_hash: str | None, role: Role
) -> User | None:
    """A new account; None if one of its names is taken."""
    row = await conn.fetchrow(ADD_USER, user_id, username, email, password_hash, role)
    return _user(row) if row else None


async def taken(
    conn: Conn, username: str | None, email: str | None, but: str | None = None
) -> tuple[bool, bool]:
    """Whether the username and the e-mail address belong to an account other than `but`."""
    row = await conn.fetchrow(TAKEN, username, email, but)
    return (row["username"], row["email"]) if row else (False, False)


async def find_login(conn: Conn, name: str) -> Login | None:
    """The account of this username or e-mail address."""
    row = await conn.fetchrow(FIND_LOGIN, name)
    return Login(str(row["id"]), *tuple(row)[1:]) if row else None


async def read_login(conn: Conn, user_id: str) -> Login | None:
    """The account of this id."""
    row = await conn.fetchrow(READ_LOGIN, user_id)
    return Login(str(row["id"]), *tuple(row)[1:]) if row else None


async def read_user(conn: Conn, user_id: str) -> User | None:
    """One account, or None."""
    row = await conn.fetchrow(READ_USER, user_id)
    return _user(row) if row else None


async def list_users(
    conn: Conn, *, limit: int, before: str | None, role: Role | None, name: str | None
) -> list[User]:
    """Newest first, older than `before`; `name` is a part of the username or e-mail address."""
    return [_user(row) for row in await conn.fetch(LIST_USERS, before, limit, role, name)]


async def set_names(conn: Conn, user_id: str, username: str | None, email: str | None) -> User | None:
    """Give an account other names; what is None stays. Raises Unstorable if one is taken."""
    row = await conn.fetchrow(SET_NAMES, user_id, username, email)
    return _user(row) if row else None


async def set_password(conn: Conn, user_id: str, password_hash: str, was: str | None = None) -> bool:
    """Give an account another password, if its present one is still kept as `was`; whether it was."""
    return bool(await conn.fetchval(SET_PASSWORD, user_id, password_hash, was))


async def signed_in(conn: Conn, user_id: str, password_hash: str) -> bool:
    """Note that somebody signed in; whether he still may, by the password of this hash."""
    return bool(await conn.fetchval(SIGNED_IN, user_id, password_hash))


async def set_rights(conn: Conn, user_id: str, role: Role | None, disabled: bool | None) -> User | None:
    """Give an account another role, disable or enable it; what is None stays."""
    row = await conn.fetchrow(SET_RIGHTS, user_id, role, disabled)
    return _user(row) if row else None


async def set_deleted(conn: Conn, user_id: str, *, deleted: bool) -> User | None:
    """Delete an account, or take that back while the janitor has not removed it."""
    row = await conn.fetchrow(SET_DELETED, user_id, deleted)
    return _user(row) if row else None


async def lock_admins(conn: Conn) -> int:
    """How many admins can sign in; nobody else changes that before the end of the transaction."""
    await conn.execute(LOCK_ADMINS)
    count: int = await conn.fetchval(COUNT_ADMINS, LOCAL_OWNER)
    return count


def _user(row: Row) -> User:
    times: dict[str, datetime | None] = {
        name: row[name] for name in ("signed_in_at", "disabled_at", "deleted_at")
    }
    return User(
        id=str(row["id"]),
        username=row["username"],
        email=row["email"],
        role=row["role"],
        has_password=row["has_password"],
        created_at=rfc3339(row["created_at"]),
        **{name: time_text(moment) for name, moment in times.items()},
    )
