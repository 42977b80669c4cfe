"""Health probes of a program that serves no HTTP otherwise: GET /livez, /readyz and /metrics, and nothing else.

`/livez` answers 200 as long as the event loop turns. `/readyz` asks the program: 200 or 503. `/metrics` tells what it
counts, for Prometheus.
A service's `app.py` enters it last, so that it is ready only once everything else is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Self

import msgspec

from taskflow.kit.lifecycle import ProgramError
from taskflow.kit.logging import get_logger
from taskflow.kit.metrics import CONTENT_TYPE, exposition

log = get_logger(__name__)

Ready = Callable[[], Awaitable[tuple[bool, dict[str, Any]]]]
Refresh = Callable[[], Awaitable[None]]

_REQUEST_SECONDS_MAX = 5.0
_REQUEST_BYTES_MAX = 16384
_OPEN_MAX = 64
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_PATHS = ("/livez", "/readyz", "/metrics")


class Probes:
    """`async with Probes(port, host, ready):` serves the probes; with `port` None it serves nothing.

    `refresh` is awaited before the metrics are told: for those that are read only when somebody asks.
    """

    def __init__(self, port: int | None, host: str, ready: Ready, refresh: Refresh | None = None) -> None:
        self._port, self._host, self._ready, self._refresh = port, host, ready, refresh
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int | None:
        """The port that is really served (a free one was taken for 0)."""
        return self._server.sockets[0].getsockname()[1] if self._server else None

    async def __aenter__(self) -> Self:
        if self._port is not None:
            try:
                self._server = await asyncio.start_server(
                    self._serve, self._host, self._port, limit=_REQUEST_BYTES_MAX
                )
            except OSError as error:
                where = f"{self._host}:{self._port}"
                raise ProgramError(
                    f"cannot serve probes on {where}: {error.strerror}; expected a free PROBE_PORT"
                ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is None:
            return
        self._server.close()
        for writer in tuple(self._open):
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= _OPEN_MAX:
            writer.close()
            return
        self._open.add(writer)
        try:
            async with asyncio.timeout(_REQUEST_SECONDS_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(head))
                await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # a caller that went away or dawdled; there is no one to tell
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3:
            return _json("GET", 400, {"detail": "not an HTTP request"})
        method, path = words[0], words[1].split("?", 1)[0].rstrip("/")
        if path not in _PATHS:
            return _json(method, 404, {"detail": "here are only /livez, /readyz and /metrics"})
        if method not in ("GET", "HEAD"):
            return _json(method, 405, {"detail": "expected GET or HEAD"})
        if path == "/livez":
            return _json(method, 200, {"live": True})
        if path == "/metrics":
            if self._refresh is not None:
                await self._refresh()
            return _response(method, 200, CONTENT_TYPE, await asyncio.to_thread(exposition))
        try:
            ready, found = await self._ready()
        except Exception as error:
            log.warning("readiness.check_failed", exc_info=error)
            ready, found = False, {"detail": type(error).__name__}
        return _json(method, 200 if ready else 503, {"ready": ready, **found})


def _json(method: str, status: int, body: dict[str, Any]) -> bytes:
    return _response(method, status, "application/json", msgspec.json.encode(body))


def _response(method: str, status: int, content_type: str, body: bytes) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
        *(["Allow: GET, HEAD"] if status == 405 else []),
    ]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return head if method == "HEAD" else head + body
