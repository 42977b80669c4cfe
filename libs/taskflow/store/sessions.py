"""Sign-ins as rows: each is a family of refresh tokens, of which the newest alone is good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from taskflow.domain.account import Role
from taskflow.store.connect import Conn


class SessionHolder(NamedTuple):
    """Who has signed in."""

    user_id: str
    name: str
    role: Role


class Turned(NamedTuple):
    """A refresh token that was shown: of which session, whether it had been used, and whether the session is live."""

    session_id: str
    user_id: str
    name: str
    role: Role
    used: bool
    live: bool


# $1 id  $2 user id  $3 seconds it lasts  $4 address
OPEN_SESSION = """-- store.sessions.open_session
INSERT INTO sessions (id, user_id, created_at, expires_at, address)
VALUES ($1, $2, clock_timestamp(), clock_timestamp() + $3::float8 * interval '1 second', $4)"""

# $1 hash  $2 session id
ADD_TOKEN = """-- store.sessions.add_token
INSERT INTO refresh_tokens (hash, session_id, created_at) VALUES ($1, $2, clock_timestamp())"""

_LIVE = "s.ended_at IS NULL AND s.expires_at > clock_timestamp() AND u.disabled_at IS NULL AND u.deleted_at IS NULL"

# $1 id uuid[]
FIND_SESSIONS = f"""-- store.sessions.find_sessions
SELECT s.id, s.user_id, coalesce(u.username, u.email) AS name, u.role
FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = ANY($1::uuid[]) AND {_LIVE}"""

# $1 hash
# Of two that show one token at once, the second waits here and sees that it was used.
HOLD_TOKEN = f"""-- store.sessions.hold_token
SELECT t.session_id, s.user_id, coalesce(u.username, u.email) AS name, u.role,
       t.used_at IS NOT NULL AS used, {_LIVE} AS live
FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id
WHERE t.hash = $1 FOR UPDATE OF t"""

# $1 hash
USE_TOKEN = """-- store.sessions.use_token
UPDATE refresh_tokens SET used_at = clock_timestamp() WHERE hash = $1"""

# $1 session id  $2 seconds it lasts from now
EXTEND_SESSION = """-- store.sessions.extend_session
UPDATE sessions SET expires_at = clock_timestamp() + $2::float8 * interval '1 second' WHERE id = $1"""

# $1 session id  $2 why
END_SESSION = """-- store.sessions.end_session
UPDATE sessions SET ended_at = clock_timestamp(), ended_reason = $2 WHERE id = $1 AND ended_at IS NULL RETURNING id"""

# $1 user id  $2 why  $3 session id that stays, or null
END_SESSIONS = """-- store.sessions.end_sessions
UPDATE sessions SET ended_at = clock_timestamp(), ended_reason = $2
WHERE user_id = $1 AND ended_at IS NULL AND id IS DISTINCT FROM $3 RETURNING id"""


async def open_session(
    conn: Conn, session_id: str, user_id: str, seconds: float, address: str | None
) -> None:
    """Somebody has signed in."""
    await conn.execute(OPEN_SESSION, session_id, user_id, seconds, address)


async def add_token(conn: Conn, token_hash: bytes, session_id: str) -> None:
    """The refresh token of a session that is good from now on."""
    await conn.execute(ADD_TOKEN, token_hash, session_id)


async def find_sessions(conn: Conn, ids: Sequence[str]) -> dict[str, SessionHolder]:
    """Of these sessions those that are live, and whose they are."""
    return {
        str(row["id"]): SessionHolder(str(row["user_id"]), *tuple(row)[2:])
        for row in await conn.fetch(FIND_SESSIONS, list(ids))
    }


async def hold_token(conn: Conn, token_hash: bytes) -> Turned | None:
    """A refresh token, held until the end of the transaction; None without such a token."""
    row = await conn.fetchrow(HOLD_TOKEN, token_hash)
    return Turned(str(row["session_id"]), str(row["user_id"]), *tuple(row)[2:]) if row else None


async def use_token(conn: Conn, token_hash: bytes, session_id: str, seconds: float) -> None:
    """It is good no more, and its session lasts so long from now."""
    await conn.execute(USE_TOKEN, token_hash)
    await conn.execute(EXTEND_SESSION, session_id, seconds)


async def end_session(conn: Conn, session_id: str, reason: str) -> bool:
    """End a session with all its tokens; whether it was live."""
    return bool(await conn.fetchval(END_SESSION, session_id, reason))


async def end_sessions(conn: Conn, user_id: str, reason: str, but: str | None = None) -> int:
    """End all sessions of an account, one excepted; returns how many."""
    return len(await conn.fetch(END_SESSIONS, user_id, reason, but))
