"""A stand-in of the API on loopback, which answers what a test tells it and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

PROBLEM = "application/problem+json"


class Asked(NamedTuple):
    """A request as it arrived; `path` is below `/api/v1`, if it is there."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; None if there is none."""
        return json.loads(self.body) if self.body else None


class Reply(NamedTuple):
    """An answer; with `parts` it is sent in these, and broken off after them if `broken`."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    parts: tuple[bytes, ...] | None = None
    broken: bool = False


def problem(status: int, code: str, detail: str, **members: Any) -> Reply:
    """An answer that refuses, in the API's shape."""
    told = {"type": f"/docs#problem-{code}", "title": code, "status": status, "detail": detail, "code": code}
    return Reply(status, json.dumps({**told, "request_id": "req-1", **members}).encode(), PROBLEM)


class StandIn:
    """The replies by call, as `GET /dead-letters`; of several the last one stays. `asked` are the requests so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self._replies: dict[str, list[Reply]] = {}

    def answers(self, call: str, *replies: Any) -> None:
        """Answer a call with these, one after the other; what is no `Reply` or bytes is sent as JSON."""
        self._replies[call] = [_reply(reply) for reply in replies]

    def to(self, call: str) -> list[Asked]:
        """The requests of a call, as `GET /dead-letters`."""
        return [asked for asked in self.asked if f"{asked.method} {asked.path}" == call]

    def reply(self, asked: Asked) -> Reply:
        """What is answered now."""
        self.asked.append(asked)
        replies = self._replies.get(f"{asked.method} {asked.path}")
        if replies is None:
            return problem(404, "not_found", f"there is no {asked.path}")
        return replies.pop(0) if len(replies) > 1 else replies[0]


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """A stand-in on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = parse_qsl(parts.query, keep_blank_values=True)
            path = parts.path.removeprefix("/api/v1")
            self._send(found.reply(Asked(self.command, path, query, headers, body)))

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            self.send_header("content-type", reply.kind)
            if reply.parts is None:
                self.send_header("content-length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)
                return
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for part in reply.parts:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            if reply.broken:
                self.close_connection = True
            else:
                self.wfile.write(b"0\r\n\r\n")

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found = StandIn(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def _reply(given: Any) -> Reply:
    if isinstance(given, Reply):
        return given
    return Reply(body=given if isinstance(given, bytes) else json.dumps(given).encode())
