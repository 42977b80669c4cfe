"""What webhooks of an account are signed with; kept encrypted."""

from __future__ import annotations

from taskflow.store.connect import Conn

# $1 id  $2 user id  $3 sealed secret
ADD_SECRET = """-- store.signing_secrets.add_secret
INSERT INTO signing_secrets (id, user_id, created_at, sealed) VALUES ($1, $2, clock_timestamp(), $3)"""


async def add_secret(conn: Conn, secret_id: str, user_id: str, sealed: bytes) -> None:
    """A new signing secret."""
    await conn.execute(ADD_SECRET, secret_id, user_id, sealed)
