"""WebSocket, as uvicorn speaks it with `websockets`, held to our bounds.

uvicorn by itself queues what callers send, answers pings whether or not anybody reads them, and waits for ever for who
takes nothing. Here what comes in is dropped, and who stalls is cut off.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol

PREFIX = "/ws/"
"""Only below this path is an upgrade heard."""
FRAME_BYTES_MAX = 4 * 1024
"""What a caller may send in one message; a larger one closes with 1009."""
PING_SECONDS = 20.0
PONG_SECONDS = 10.0
STALL_SECONDS = 30.0
"""How long a caller may take to make room for what is sent, or to read what is left once it is over."""
_SWITCHING = 101


def is_handshake(head: bytes) -> bool:
    """Whether `websockets` takes this head of a request for an opening handshake (RFC 6455, 4.2.1)."""
    asked = ServerProtocol()
    asked.receive_data(head)
    found = asked.events_received()
    return bool(found) and isinstance(found[0], Request) and asked.accept(found[0]).status_code == _SWITCHING


class Socket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket connection, cut off when its caller stalls."""

    _stall_timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._moves()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        # Who does not read what we say is not listened to either: each ping would add a pong.
        self.transport.pause_reading()
        self._stalls()

    def resume_writing(self) -> None:
        self._moves()
        if not self.transport.is_closing():
            self.transport.resume_reading()
        super().resume_writing()

    def handle_text(self, event: Frame) -> None:
        """Callers have nothing to say here."""

    handle_bytes = handle_cont = handle_text

    def keepalive_timeout(self) -> None:
        """The pong did not come: nobody is there who could take the rest."""
        super().keepalive_timeout()
        self.transport.abort()

    async def run_asgi(self) -> None:
        await super().run_asgi()
        self._stalls()  # closed, but for what is left to be read

    async def send(self, message: Any) -> None:
        """As uvicorn's, which takes it for a fault of the app when the connection ended while it wrote."""
        if self.close_sent:
            raise ClientDisconnected
        try:
            await super().send(message)
        except RuntimeError:
            if self.close_sent:
                raise ClientDisconnected from None
            raise

    def _stalls(self) -> None:
        if self._stall_timer is None and not self.disconnected:
            self._stall_timer = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def _moves(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
