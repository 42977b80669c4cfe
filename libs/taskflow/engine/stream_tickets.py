"""Tickets: what a browser shows to open a stream, since it sends no headers with one.

A ticket stands in a URL, and URLs end up in logs: so it is good once, for a minute, and gives no more than to read.
"""

from __future__ import annotations

from msgspec import Struct

from taskflow.domain.errors import Unauthenticated
from taskflow.domain.task import Time
from taskflow.engine.credentials import Name
from taskflow.kit.clock import rfc3339
from taskflow.kit.tokens import digest, is_token, new_token
from taskflow.store import stream_tickets
from taskflow.store.connect import Database

TICKET_PREFIX = "tfs"
TICKET_SECONDS = 60.0


class StreamTicket(Struct, frozen=True):
    """A ticket for one stream. It is never shown again."""

    ticket: str
    expires_at: Time


class StreamTickets:
    """Gives tickets for credentials, and takes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def make(self, name: Name | None) -> StreamTicket:
        """A ticket for the key or session of this name; None: for a caller who needs no credentials."""
        ticket = new_token(TICKET_PREFIX)
        key_hash = name if isinstance(name, bytes) else None
        session_id = name if isinstance(name, str) else None
        async with self._database.connection() as conn:
            expires_at = await stream_tickets.add_ticket(
                conn, digest(ticket), key_hash, session_id, TICKET_SECONDS
            )
        return StreamTicket(ticket, rfc3339(expires_at))

    async def redeem(self, ticket: str) -> Name | None:
        """The key or session it was made for; None: it needed no credentials. Good once; raises Unauthenticated."""
        if not is_token(TICKET_PREFIX, ticket):
            raise Unauthenticated("this is no ticket of ours, or not the whole of it")
        async with self._database.connection() as conn:
            found = await stream_tickets.take_ticket(conn, digest(ticket))
        if found is None or not found.live:
            raise Unauthenticated(
                "the ticket is unknown, used or expired; each opens one stream, within a minute"
            )
        return found.key_hash if found.key_hash is not None else found.session_id
