"""Tickets for streams as rows: of a ticket only its hash, and which credentials asked for it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from taskflow.store.connect import Conn, one_row


class TakenTicket(NamedTuple):
    """A ticket that was there: of which key or session (neither: of nobody's), and whether it was good still."""

    key_hash: bytes | None
    session_id: str | None
    live: bool


# $1 hash  $2 hash of the key that asks  $3 id of the session that asks  $4 seconds it lasts
ADD_TICKET = """-- store.stream_tickets.add_ticket
INSERT INTO stream_tickets (hash, key_hash, session_id, expires_at)
VALUES ($1, $2, $3, clock_timestamp() + $4::float8 * interval '1 second') RETURNING expires_at"""

# $1 hash
# Of two that show one ticket at once, the second finds no row.
TAKE_TICKET = """-- store.stream_tickets.take_ticket
DELETE FROM stream_tickets WHERE hash = $1
RETURNING key_hash, session_id, expires_at > clock_timestamp() AS live"""


async def add_ticket(
    conn: Conn, ticket_hash: bytes, key_hash: bytes | None, session_id: str | None, seconds: float
) -> datetime:
    """A new ticket; returns when it expires."""
    row = await one_row(conn, ADD_TICKET, ticket_hash, key_hash, session_id, seconds)
    expires_at: datetime = row["expires_at"]
    return expires_at


async def take_ticket(conn: Conn, ticket_hash: bytes) -> TakenTicket | None:
    """Take a ticket out, so that it is good once; None without such a ticket."""
    row = await conn.fetchrow(TAKE_TICKET, ticket_hash)
    if row is None:
        return None
    session_id = row["session_id"]
    return TakenTicket(row["key_hash"], str(session_id) if session_id else None, row["live"])
