"""Who calls, and whether he may, and how often: asked once for each call, before its route sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from taskflow.domain.account import LOCAL, Caller, Scope
from taskflow.domain.errors import Forbidden, Unauthenticated
from taskflow.engine.credentials import Credentials, Name
from taskflow.engine.limits import Limit, Limiter
from taskflow.engine.stream_tickets import StreamTicket, StreamTickets
from taskflow_api.addresses import network_of
from taskflow_api.limits import LimitRules, headers_of, refusal_of

if TYPE_CHECKING:
    from litestar.types import HTTPScope

_EXPECTED = "expected Authorization: Bearer and an access token or API key, or X-API-Key"


class _Admitted(NamedTuple):
    """Who opened a stream; by which credentials (None: it needed none), and when these end by themselves."""

    caller: Caller
    name: Name | None
    until: float | None


class Admission:
    """Tells who calls, and refuses who may not."""

    def __init__(
        self,
        credentials: Credentials,
        tickets: StreamTickets,
        limiter: Limiter,
        limits: LimitRules,
        *,
        auth_required: bool,
        refuse_strangers: Callable[[HTTPScope], None],
    ) -> None:
        self._credentials = credentials
        self._tickets = tickets
        self._limiter = limiter
        self._auth_required = auth_required
        self._limits = limits
        self._refuse_strangers = refuse_strangers

    async def admit(
        self, scope: HTTPScope, wanted: Scope | None, *, signs_in: bool = False, takes_ticket: bool = False
    ) -> Caller:
        """The caller of an operation that wants this scope; None: of one that is open, though `signs_in` may be limited.

        `takes_ticket`: of a stream, whose credentials may also be a ticket, and can be asked for by `ended`.
        Raises Unauthenticated, Forbidden or RateLimited.
        """
        if wanted is None:
            if signs_in:
                await self._count(scope, self._limits.of_address(network_of(scope["state"]["address"])), 1)
            return LOCAL
        caller = await (self._streamer(scope) if takes_ticket else self.caller(scope))
        if limits := self._limits.of_caller(caller):
            await self._count(scope, limits, 1)
        if not caller.may(wanted):
            raise Forbidden(f"needs the scope {wanted}, which these credentials do not have")
        return caller

    async def caller(self, scope: HTTPScope) -> Caller:
        """Who shows the credentials of this request, or stands for whoever shows none."""
        shown = shown_in(scope)
        if shown is not None:
            return await self._credentials.caller(shown)
        if self._auth_required:
            raise Unauthenticated(f"credentials are missing; {_EXPECTED}")
        self._refuse_strangers(scope)
        return LOCAL

    async def ticket(self, scope: HTTPScope) -> StreamTicket:
        """A ticket that stands for the credentials of this request, which were taken."""
        shown = shown_in(scope)
        return await self._tickets.make(None if shown is None else self._credentials.name_of(shown)[0])

    async def ended(self, scope: HTTPScope) -> None:
        """Return once the credentials by which this stream was opened are good no more, or allow something else."""
        caller, name, until = scope["state"]["admitted"]
        if name is None:
            await asyncio.Event().wait()
        else:
            await self._credentials.ended(name, caller, until)

    async def _streamer(self, scope: HTTPScope) -> Caller:
        name: Name | None = None
        until: float | None = None
        shown, ticket = shown_in(scope), ticket_in(scope)
        if ticket is not None:
            if shown is not None:
                raise Unauthenticated("a ticket stands beside other credentials; expected one of them")
            name = await self._tickets.redeem(ticket)
            if name is None and self._auth_required:
                raise Unauthenticated(
                    "the ticket was given to a caller without credentials, which are needed here"
                )
            caller = LOCAL if name is None else await self._credentials.caller_of(name)
        else:
            caller = await self.caller(scope)
            if shown is not None:
                name, until = self._credentials.name_of(shown)
        scope["state"]["admitted"] = _Admitted(caller, name, until)
        return caller

    def refuse_strangers(self, scope: HTTPScope) -> None:
        """Raise Forbidden for pages of others while nobody signs in: what gives credentials is not theirs either."""
        if not self._auth_required:
            self._refuse_strangers(scope)

    async def count(self, scope: HTTPScope, caller: Caller, many: int) -> None:
        """Count a call, or the items of a batch beyond the first, against the caller's limits. Raises RateLimited."""
        if limits := self._limits.of_caller(caller):
            await self._count(scope, limits, many)

    async def _count(self, scope: HTTPScope, limits: Sequence[Limit], many: int) -> None:
        if not limits or many < 1:
            return
        taken = await self._limiter.take(limits, many)
        scope["state"]["limits"] = headers_of(taken.standings)
        if not taken.allowed:
            raise refusal_of(taken, many)


def shown_in(scope: HTTPScope) -> str | None:
    """The access token or API key that a request bears, if any."""
    found: set[str] = set()
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            found.add(_text(value))
        elif name == b"authorization":
            kind, _, rest = _text(value).partition(" ")
            if kind.lower() != "bearer":
                raise Unauthenticated(f"the header Authorization is not understood; {_EXPECTED}")
            found.add(rest.strip())
    if len(found) > 1:
        raise Unauthenticated("Authorization and X-API-Key differ; expected one of them")
    shown = next(iter(found), None)
    if shown is not None and not shown:
        raise Unauthenticated(f"the credentials are empty; {_EXPECTED}")
    return shown


def ticket_in(scope: HTTPScope) -> str | None:
    """The ticket that a request bears, if any. What else is wrong with its query is told later."""
    raw = scope["query_string"]
    if b"ticket" not in raw:
        return None
    pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True)
    return next((value for name, value in pairs if name == "ticket"), None)


def _text(value: bytes) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError:
        raise Unauthenticated(f"the credentials are not ASCII; {_EXPECTED}") from None
