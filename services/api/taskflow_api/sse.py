"""Server-sent events, as every stream of this api writes them: its headers, its frames, its end.

A stream ends with the drain (`event: bye`), when its reader has left, and when the credentials that opened it have ended.
A reader that takes nothing holds up nobody: what is written to it waits, and with the drain, or the end of its
credentials, it is given up.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from taskflow.domain.errors import TaskflowError
from taskflow.kit.logging import get_logger
from taskflow_api.drain import hasten
from taskflow_api.operation import Call
from taskflow_api.problems import problem
from taskflow_api.queries import Parameter
from taskflow_api.waiting import Race, left

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

log = get_logger(__name__)

EVENT_STREAM = "text/event-stream"
COMMENT_SECONDS = 15.0
"""How long a reader may hear nothing before a comment tells it that we are still here."""
FAREWELL_SECONDS = 1.0
"""How long after the drain began, or its credentials ended, a stream may take for its last frame; then it is given up."""
OVER = frozenset({"bye", "gone", "ended"})
"""The waits of a stream's race that end it: the drain, the reader, the credentials."""
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
TICKET = Parameter(
    "ticket",
    "A ticket of POST /stream-tickets in place of credentials, good once: browsers send no headers with a stream",
    {"type": "string"},
    str,
)
"""For operations with `takes_ticket`."""


def frame(event: str, id_: int | str | None, data: bytes) -> bytes:
    """One event on the wire. `data` is JSON of ours, which has no line feed in it."""
    if id_ is None:
        return b"event: %s\ndata: %s\n\n" % (event.encode(), data)
    return b"event: %s\nid: %s\ndata: %s\n\n" % (event.encode(), str(id_).encode(), data)


KEEPALIVE = b": still here\n\n"
BYE = frame("bye", None, b"{}")


class Output:
    """The way to one reader. Whoever writes waits until there is room; nothing gathers here."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._written_at = 0.0
        self.started = False

    async def start(self) -> None:
        """The head, and how soon a reader that lost us comes back."""
        await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        self.started = True
        await self.write(b"retry: 1000\n\n")

    async def write(self, frames: bytes) -> None:
        """Some whole frames."""
        await self._write(frames, more=True)
        self._written_at = asyncio.get_running_loop().time()

    async def keep_alive(self) -> None:
        """A comment if nothing was written for long: proxies close what is silent."""
        if asyncio.get_running_loop().time() - self._written_at >= COMMENT_SECONDS:
            await self.write(KEEPALIVE)

    async def end(self, frames: bytes = b"") -> None:
        """The last frames, if any, and the end of the answer."""
        await self._write(frames, more=False)

    async def leave(self, over: set[str]) -> None:
        """The end for one of the reasons in `OVER`. Who may read no more is told nothing more."""
        if "gone" not in over:
            await self.end(BYE if "bye" in over and "ended" not in over else b"")

    async def _write(self, body: bytes, *, more: bool) -> None:
        message: Any = {"type": "http.response.body", "body": body, "more_body": more}
        await self._send(message)


@asynccontextmanager
async def stream_race(call: Call, receive: Receive) -> AsyncIterator[Race]:
    """The waits that end a stream; more may be added. The block is broken off if it does not end soon by itself, as
    while it writes to a reader that takes nothing.
    """
    async with call.drain.limited(FAREWELL_SECONDS) as limit:

        async def ended() -> None:
            await call.services.admission.ended(call.scope)
            hasten(limit, FAREWELL_SECONDS)

        async with Race(bye=call.drain.begun(), gone=left(receive), ended=ended()) as race:
            yield race


class EventStream:
    """The stream of one reader, as an ASGI app.

    `tell(output, race)` writes it until it is over: it starts the output, and whenever `race.first` gives a name in `OVER`
    it calls `output.leave` and returns. An error before the start is answered as one.
    """

    def __init__(self, call: Call, tell: Callable[[Output, Race], Awaitable[None]]) -> None:
        self._call = call
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call, output = self._call, Output(send)
        try:
            async with stream_race(call, receive) as race:
                await self._tell(output, race)
        except TaskflowError as error:
            if not output.started:
                await problem(error, str(scope["state"]["request_id"]))(scope, receive, send)
                return
            # The reader connects again, and goes on where it was.
            log.warning("stream.broken_off", path=scope["path"], error=error.detail)
            await output.end()
