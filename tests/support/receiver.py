"""Somebody's service on loopback: takes webhooks and pushes, keeps what it got, and behaves as told, well or badly."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Received(NamedTuple):
    """A request that came in, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        """What it says."""
        return json.loads(self.body)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """Keep it, then do as the first part of the path says: `/hang/any/thing` hangs."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        receiver = self.server.receiver
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Received(self.path, headers, body, time.monotonic())
        receiver.received.append(request)
        with suppress(OSError):
            receiver.behaviours.get(self.path.split("/")[1], _ok)(self, request)

    do_PUT = do_PATCH = do_GET = do_POST  # noqa: N815 - http.server's names

    def say(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        """Answer."""
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        for name, value in {"content_type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: what matters is kept."""


Behaviour = Callable[[_Handler, Received], None]


def _ok(to: _Handler, _request: Received) -> None:
    to.say(200, b'{"ok": true}')


def status(code: int, **headers: str) -> Behaviour:
    """Answers with this status."""
    return lambda to, _: to.say(code, b'{"told": "no"}', **headers)


def slow(seconds: float) -> Behaviour:
    """Answers well, but late."""

    def behave(to: _Handler, _request: Received) -> None:
        to.server.receiver.closing.wait(seconds)
        to.say(200)

    return behave


def _reset(to: _Handler, _request: Received) -> None:
    to.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    to.connection.close()
    to.close_connection = True


def _huge(to: _Handler, _request: Received) -> None:
    to.say(200, b"[" + b"1," * 5_000_000 + b"1]")


def _short(to: _Handler, _request: Received) -> None:
    to.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{}")
    to.close_connection = True


def _long(to: _Handler, _request: Received) -> None:
    to.wfile.write(
        b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n{"a": "much more"}'
    )
    to.close_connection = True


def _garbage(to: _Handler, _request: Received) -> None:
    to.wfile.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n" * 3)
    to.close_connection = True


def _drip(to: _Handler, _request: Received) -> None:
    to.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n")
    while not to.server.receiver.closing.wait(0.2):
        to.wfile.write(b" ")


BAD: dict[str, Behaviour] = {
    "hang": slow(3_600), "slow": slow(30), "reset": _reset, "huge": _huge, "short": _short, "long": _long,
    "garbage": _garbage, "drip": _drip,
}  # fmt: skip


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1_024
    receiver: Receiver

    def handle_error(self, *_: Any) -> None:
        """Callers break off: that is what is tested."""


class Receiver:
    """`behaviours`: what it does by the first part of the path; else it answers 200. It may be down for a while."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.closing = threading.Event()
        self.behaviours: dict[str, Behaviour] = {
            **BAD,
            "redirect": lambda to, _: to.say(302, b"", location=self.url("redirected")),
        }
        self._server: _Server | None = None
        self.port = 0
        self.up()

    def url(self, path: str) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def up(self) -> None:
        """Listen, on the port of before."""
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.receiver = self
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections."""
        self.closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def at(self, path: str) -> list[Received]:
        """What came to a path, in order."""
        return [one for one in list(self.received) if one.path == f"/{path}"]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that is up."""
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.down()
