"""Requests to hosts that others name: only where `egress` allows, within a time and a size, and never a second place.

No redirects, proxies, cookies or decompression. Connections are kept and used again for the same host.

    async with Outgoing(egress) as outgoing:
        answer = await outgoing.send("POST", url, headers, body, timeout_seconds=10, answer_bytes_max=65_536)
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from functools import cache
from types import TracebackType
from typing import Self

import httpcore
from msgspec import Struct

from taskflow.kit.connecting import HEARING, GuardedBackend, Hearing, Kind, OutgoingError
from taskflow.kit.egress import Destination, Egress, EgressRefused, Resolver, system_resolver
from taskflow.kit.headers import forbidden_headers, names_of
from taskflow.kit.pool import Pool

__all__ = ["METHODS", "Answer", "Kind", "Outgoing", "OutgoingError"]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
KEEP_SECONDS = 4.0
"""How long an idle connection is kept: less than servers do, so that they seldom close one under a request."""
KEPT_MAX = 20
ANSWER_HEADERS_MAX = 200
ANSWER_HEADERS_BYTES_MAX = 32 * 1024
_HEARD_BYTES_MORE = 256 * 1024
_HEARD_FOLD = 8
"""So many times an answer's size may come over the wire: one that comes in chunks of one byte is six times as long."""
_WITH_BODY = ("POST", "PUT", "PATCH")


class Answer(Struct, frozen=True):
    """What came back. `cut`: there was more of the body."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    seconds: float
    cut: bool = False


class Outgoing:
    """A client for one event loop. `tls`: which certificates are accepted, if not those that the system knows."""

    def __init__(
        self,
        egress: Egress,
        *,
        connections_max: int = 100,
        connect_seconds: float = 5.0,
        resolver: Resolver = system_resolver,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._egress = egress
        self._connect_seconds = connect_seconds
        self._tls = tls or _known_authorities()
        self._backend = GuardedBackend(egress, resolver)
        self._pool = Pool(self._opened, connections_max, min(KEPT_MAX, connections_max))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close()

    async def send(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        *,
        timeout_seconds: float,
        answer_bytes_max: int,
        cut: bool = False,
    ) -> Answer:
        """Send one request; `timeout_seconds` is for all of it. `cut`: of a longer answer, take the beginning.

        Raises OutgoingError; BadUrl or ValueError for what cannot be sent to anybody.
        """
        try:
            to = self._egress.check(url)
        except EgressRefused as error:
            raise OutgoingError("EgressRefused", str(error)) from None
        request = _request(method, to, headers, body, self._connect_seconds)
        hearing = Hearing(to.place, answer_bytes_max * _HEARD_FOLD + _HEARD_BYTES_MORE)
        token = HEARING.set(hearing)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._answered(request, hearing, answer_bytes_max, cut)
        except TimeoutError:
            within = f"within {round(timeout_seconds, 1):g} s: given up while {hearing.stage}"
            raise OutgoingError("TimedOut", f"{to.place} gave no whole answer {within}") from None
        finally:
            HEARING.reset(token)

    async def _answered(
        self, request: httpcore.Request, hearing: Hearing, bytes_max: int, cut: bool
    ) -> Answer:
        started = time.monotonic()
        try:
            async with self._pool.connection(request.url.origin) as connection:
                response = await connection.handle_async_request(request)
                try:
                    _check_head(response, hearing)
                    body, was_cut = await _body(response, hearing, bytes_max, cut)
                finally:
                    await response.aclose()
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise _lost(error, hearing, time.monotonic() - started) from error
        reason = response.extensions.get("reason_phrase", b"").decode("latin-1")
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers]
        return Answer(response.status, reason, headers, body, time.monotonic() - started, was_cut)

    def _opened(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        return httpcore.AsyncHTTPConnection(
            origin, self._tls, keepalive_expiry=KEEP_SECONDS, network_backend=self._backend
        )


def _request(
    method: str, to: Destination, headers: Sequence[tuple[str, str]], body: bytes, connect_seconds: float
) -> httpcore.Request:
    """The whole request: httpcore adds nothing. Raises ValueError."""
    if method not in METHODS:
        raise ValueError(f"the method is {method[:20]!r}; expected one of {' '.join(METHODS)}")
    if (reason := forbidden_headers(headers)) is not None:
        raise ValueError(reason)
    ours = [("Host", to.host_header)]
    if body or method in _WITH_BODY:
        ours.append(("Content-Length", str(len(body))))
    known = names_of(headers)
    ours += [
        pair for pair in (("Accept", "*/*"), ("Accept-Encoding", "identity")) if pair[0].lower() not in known
    ]
    url = httpcore.URL(
        scheme=to.scheme.encode(), host=to.host.encode(), port=to.port, target=to.target.encode()
    )
    lines = [(name.encode(), value.encode("latin-1")) for name, value in (*ours, *headers)]
    return httpcore.Request(
        method, url, headers=lines, content=body, extensions={"timeout": {"connect": connect_seconds}}
    )


def _check_head(response: httpcore.Response, hearing: Hearing) -> None:
    """Refuse answers that are none, before their bodies are read."""
    if not hearing.heard:  # it lay there when the request was sent: the rest of what came before
        raise OutgoingError(
            "BadAnswer", f"{hearing.place} sent more than the answer before, on the same connection"
        )
    size = sum(len(name) + len(value) + 4 for name, value in response.headers)
    if len(response.headers) > ANSWER_HEADERS_MAX or size > ANSWER_HEADERS_BYTES_MAX:
        raise OutgoingError(
            "BadAnswer", f"{hearing.place} sends {len(response.headers)} headers of {size} bytes"
        )
    hearing.stage = "reading the answer"


async def _body(
    response: httpcore.Response, hearing: Hearing, bytes_max: int, cut: bool
) -> tuple[bytes, bool]:
    """The body and whether it was cut. Left early, httpcore closes the connection."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > bytes_max:
            if cut:
                return b"".join(chunks)[:bytes_max], True
            raise OutgoingError("AnswerTooLarge", f"the answer of {hearing.place} is over {bytes_max} bytes")
    return b"".join(chunks), False


def _lost(error: Exception, hearing: Hearing, seconds: float) -> OutgoingError:
    """What went wrong on a connection that stood."""
    if isinstance(error, httpcore.ProtocolError) and not hearing.ended:
        return OutgoingError("BadAnswer", f"{hearing.place} does not speak HTTP/1.1: {str(error)[:200]}")
    how = "closed the connection" if hearing.ended else "broke the connection off"
    return OutgoingError(
        "ConnectionLost", f"{hearing.place} {how} after {seconds:.1f} s, before its answer was whole"
    )


@cache
def _known_authorities() -> ssl.SSLContext:
    """Those of the system, and those of the package certifi where the system has none."""
    return httpcore.default_ssl_context()
