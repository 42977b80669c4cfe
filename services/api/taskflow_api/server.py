"""uvicorn, run by us: our stop event, our drain, and limits on how long a connection may dawdle.

uvicorn by itself waits for open streams when told to stop, installs its own signal handlers, and lets a
caller take for ever to send a request or to read an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from taskflow.domain.errors import BadHeader
from taskflow.kit.lifecycle import ProgramError
from taskflow.kit.logging import get_logger
from taskflow_api.common_headers import COMMON
from taskflow_api.drain import Drain
from taskflow_api.edge import new_request_id
from taskflow_api.problems import problem
from taskflow_api.websocket import FRAME_BYTES_MAX, PING_SECONDS, PONG_SECONDS, PREFIX, Socket, is_handshake

if TYPE_CHECKING:
    from litestar.types import ASGIApp

log = get_logger(__name__)

STALL_SECONDS = 30.0
"""How long a caller may take for a request to arrive or to make room for an answer, without getting on."""
STALL_BYTES_MIN = 64 * 1024
"""What has to arrive of a long body in that time."""
HEAD_BYTES_MAX = 64 * 1024
"""The request line and all headers."""
HEADERS_MAX = 200
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
BACKLOG = 2048
FILES_MAX = 32_768
"""Open files: a connection is one."""
DRAIN_SECONDS_MAX = 10.0
"""How long requests that are inside when the program is told to stop may take to finish."""
FLUSH_SECONDS_MAX = 1
"""How long their callers may then take to read what is left of the answers: a stream's `bye` may stand behind much."""


_COMMON = "".join(f"{name.decode()}: {value.decode()}\r\n" for name, value in COMMON)
_TOO_LONG = f"the request's head is too long; expected at most {HEAD_BYTES_MAX} bytes"


class Connection(HttpToolsProtocol):
    """uvicorn's connection, cut off when its caller stalls."""

    _refusal = ""
    """Why what arrived is refused, if it is not for being no HTTP."""
    _head_size = 0
    _timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _in_head = True
    _size = 0
    _size_before = 0
    _upgrades: bool | None = None
    """Whether the request at hand opens a WebSocket; None: not looked at yet."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._timer is None:
            self._expect()
        self._size += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._size > MESSAGE_BYTES_MAX:
            self.transport.abort()
        elif self._in_head and self._size > HEAD_BYTES_MAX:
            self.send_400_response(_TOO_LONG)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_size = 0
        self._upgrades = None
        if self._timer is None:
            self._expect()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value) + len(": \r\n"))
        if len(self.headers) > HEADERS_MAX:
            self._refuse(f"there are too many headers; expected at most {HEADERS_MAX}")

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._arrived()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Not HTTP, or too much of it: the same shape as every refusal, then the end."""
        request_id = new_request_id()
        body = problem(BadHeader(self._refusal or msg), request_id).body
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\n{_COMMON}connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _should_upgrade(self) -> bool:
        """What is no opening handshake, or not one for us, is a request like any other, and is answered as one."""
        if self._upgrades is None:
            self._upgrades = (
                self.url.startswith(PREFIX.encode())
                and super()._should_upgrade()
                and is_handshake(self._head())
            )
        return self._upgrades

    def _head(self) -> bytes:
        fields = b"".join([b"%s: %s\r\n" % field for field in self.headers])
        return b"%s %s HTTP/1.1\r\n%s\r\n" % (self.scope["method"].encode(), self.url, fields)

    def _count(self, size: int) -> None:
        """A head that arrives at once is not seen while it is incomplete, so its parts are counted too."""
        self._head_size += size
        if self._head_size > HEAD_BYTES_MAX:
            self._refuse(_TOO_LONG)

    def _refuse(self, why: str) -> None:
        """From within the parser: it stops at any exception, and uvicorn then sends our 400."""
        self._refusal = why
        raise ValueError(why)

    def _expect(self) -> None:
        """A request is to arrive."""
        self._in_head = True
        self._size = self._size_before = 0
        self._timer = self.loop.call_later(STALL_SECONDS, self._look)

    def _arrived(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        # While an earlier request of the connection is answered we stop reading: no fault of the caller.
        if not self.flow.read_paused and self._size - self._size_before < STALL_BYTES_MIN:
            self._timer = None
            self.transport.abort()
            return
        self._size_before = self._size
        self._timer = self.loop.call_later(STALL_SECONDS, self._look)


class Server(uvicorn.Server):
    """uvicorn's server, which leaves the signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_http(app: ASGIApp, listener: socket.socket, drain: Drain, stop: asyncio.Event) -> None:
    """Serve `app` until `stop` is set; then refuse new work, finish what is inside, and close `listener`."""
    # What uvicorn would tell of an error in the app, the edge has told.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    server = Server(_config(app))
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http server")
    stopping = asyncio.create_task(stop.wait(), name="http stop")
    host, port = listener.getsockname()[:2]
    log.info("server.started", url=f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        drain.begin()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(drain.emptied(), DRAIN_SECONDS_MAX)
    finally:
        drain.begin()
        stopping.cancel()
        server.should_exit = True
        await serving
    log.info("server.drained", requests_left=drain.requests)


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Connection,
        ws=Socket,
        ws_max_size=FRAME_BYTES_MAX,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PONG_SECONDS,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=FLUSH_SECONDS_MAX,
    )


def allow_many_connections() -> None:
    """Take as many open files as this process may have: most systems allow a thousand unless they are asked for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError) as error:
        log.warning("files.limited", limit=soft, error=str(error))


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that holds the address, so that a used one is told before anything is connected."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise ProgramError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    listener.setblocking(False)
    return listener
