"""Tickets for streams: asked for with credentials, shown in a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskflow_api.operation import Answer, Call, Operation
from taskflow_api.replies import answer

if TYPE_CHECKING:
    from litestar.types import ASGIApp


async def make_ticket(call: Call) -> ASGIApp:
    """A ticket for whoever calls."""
    return answer(await call.services.admission.ticket(call.scope), 201)


OPERATIONS = (
    Operation(
        id="makeStreamTicket",
        method="POST",
        path="/api/v1/stream-tickets",
        tag="Tasks",
        summary="Make a ticket that opens one stream within 60 seconds",
        description=(
            "For browsers, whose EventSource and WebSocket send no credentials: the page asks for a ticket with its "
            "own, and opens the stream with `?ticket=`. A ticket is good once, on any instance, for a stream alone, and "
            "the stream ends when the credentials end that asked for it. Beside other credentials it is refused."
        ),
        handle=make_ticket,
        answers=(Answer(201, "The ticket; it is not shown again", "StreamTicket"),),
        scope="read",
    ),
)
