"""Requests to URLs that others gave us: guarded by `egress`, bounded in time and bytes, never redirected.

HTTP/1.1 by httpcore, below httpx: it lets us connect to the very address that was judged, while certificate and Host
remain the name's. No proxies, cookies, decompression or redirects.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Self

import httpcore
from msgspec import Struct

from taskflow.kit.egress import BadUrl, Destination, Egress, EgressRefused, Resolver, literal

Kind = Literal[
    "EgressRefused", "BadUrl", "NameNotResolved", "ConnectFailed", "TlsFailed", "ConnectionLost", "TimedOut",
    "AnswerTooLarge", "BadAnswer",
]  # fmt: skip
CONNECT_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 5.0
HEADER_NAMES_MAX = 64
HEADER_CHARS_MAX = 8_192
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_FRAMING = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect", "keep-alive",
        "proxy-authorization", "proxy-connection", "proxy-authenticate", "accept-encoding",
    }
)  # fmt: skip


class OutgoingError(Exception):
    """A request that got no answer. `kind` is one word for it; the message is for operators."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind


class Answer(Struct, frozen=True):
    """An answer. `cut`: there was more of the body than was asked for."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    seconds: float
    cut: bool = False


def header_fault(headers: Mapping[str, str]) -> str | None:
    """Why these headers cannot be sent along, if so."""
    if len(headers) > HEADER_NAMES_MAX or sum(len(k) + len(v) for k, v in headers.items()) > HEADER_CHARS_MAX:
        return f"at most {HEADER_NAMES_MAX} headers of {HEADER_CHARS_MAX} characters together are expected"
    for name, value in headers.items():
        if _TOKEN.fullmatch(name) is None:
            return f"{name[:64]!r} is no name of a header"
        if name.lower() in _FRAMING:
            return f"{name} is set by the sender itself"
        if _VALUE.fullmatch(value) is None:
            return f"the value of {name} holds control characters, or others than of Latin-1"
    return None


class Outgoing:
    """Sends requests. `connections_max`: at once, those kept alive among them."""

    def __init__(
        self, egress: Egress, *, connections_max: int = 100, resolver: Resolver | None = None
    ) -> None:
        self._egress = egress
        self._resolver = resolver
        self._connections_max = connections_max
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def __aenter__(self) -> Self:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_tls(),
            max_connections=self._connections_max,
            max_keepalive_connections=self._connections_max // 2,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
            http1=True,
            http2=False,
            network_backend=_Guarded(self._egress, self._resolver),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None

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
        """Send a request once, and read its answer, all within the time. Raises OutgoingError.

        Of an answer over `answer_bytes_max` bytes the rest is left unread if `cut`; else it is an error.
        """
        assert self._pool is not None
        began = time.monotonic()
        try:
            there = self._egress.check(url)
        except BadUrl as error:
            raise OutgoingError("BadUrl", f"the URL {error}") from None
        except EgressRefused as error:
            raise OutgoingError("EgressRefused", str(error)) from None
        request = _request(method, there, headers, body)
        with _translated(there, timeout_seconds):
            async with asyncio.timeout(timeout_seconds):
                response = await self._pool.handle_async_request(request)
                try:
                    text, more = await _read(response, there, answer_bytes_max, cut=cut)
                finally:
                    await response.aclose()
        reason = response.extensions.get("reason_phrase", b"").decode("latin-1")
        told = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers]
        return Answer(response.status, reason, told, text, time.monotonic() - began, more)


def _request(
    method: str, there: Destination, headers: Iterable[tuple[str, str]], body: bytes
) -> httpcore.Request:
    own = [("host", there.host_header), ("accept-encoding", "identity"), ("content-length", str(len(body)))]
    if not body and method in {"GET", "HEAD"}:
        own.pop()
    return httpcore.Request(
        method,
        httpcore.URL(
            scheme=there.scheme.encode(),
            host=there.host.encode(),
            port=there.port,
            target=there.target.encode(),
        ),
        headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in [*own, *headers]],
        content=body,
        extensions={"timeout": {"connect": CONNECT_SECONDS}},
    )


async def _read(
    response: httpcore.Response, there: Destination, most: int, *, cut: bool
) -> tuple[bytes, bool]:
    chunks: list[bytes] = []
    size = 0
    stream: AsyncIterator[bytes] = response.aiter_stream()
    async for chunk in stream:
        chunks.append(chunk)
        size += len(chunk)
        if size > most:
            if not cut:
                raise OutgoingError("AnswerTooLarge", f"{there.origin} answered with over {most} bytes")
            return b"".join(chunks)[:most], True
    return b"".join(chunks), False


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were judged, and to no others."""

    def __init__(self, egress: Egress, resolver: Resolver | None) -> None:
        self._egress = egress
        self._resolver = resolver
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """One connection; the addresses of a name are tried in turn, within the one time."""
        there = Destination("https", host, port, "/", literal(host))
        until = time.monotonic() + (timeout or CONNECT_SECONDS)
        failure: Exception | None = None
        try:
            addresses = await asyncio.wait_for(
                self._egress.resolve(there, self._resolver), until - time.monotonic()
            )
        except EgressRefused:
            raise
        except TimeoutError as error:
            raise OutgoingError("NameNotResolved", f"the name {host} was not resolved in time") from error
        except OSError as error:
            raise OutgoingError("NameNotResolved", f"the name {host} cannot be resolved: {error}") from error
        for address in addresses:
            left = until - time.monotonic()
            if left <= 0:
                break
            try:
                return await self._inner.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectTimeout("no address answered in time")

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise EgressRefused("a socket of this machine may not be reached from here")

    async def sleep(self, seconds: float) -> None:
        """For httpcore's own retries, of which there are none."""
        await asyncio.sleep(seconds)


_contexts: list[ssl.SSLContext] = []


def _tls() -> ssl.SSLContext:
    """Certificates are those of the system's store (or certifi's); made once, for it takes its time."""
    if not _contexts:
        context = ssl.create_default_context()
        if not context.get_ca_certs():
            context = httpcore.default_ssl_context()
        _contexts.append(context)
    return _contexts[0]


@contextmanager
def _translated(there: Destination, seconds: float) -> Iterator[None]:
    """What goes wrong, in our words."""
    where = there.origin
    try:
        yield
    except OutgoingError:
        raise
    except EgressRefused as error:
        raise OutgoingError("EgressRefused", str(error)) from None
    except TimeoutError as error:
        raise OutgoingError("TimedOut", f"{where} did not answer within {round(seconds, 1):g} s") from error
    except httpcore.ConnectTimeout as error:
        raise OutgoingError("ConnectFailed", f"no connection to {where} in time") from error
    except httpcore.ConnectError as error:
        if isinstance(error.__context__, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
            raise OutgoingError("TlsFailed", f"no TLS with {where}: {error}") from error
        raise OutgoingError("ConnectFailed", f"no connection to {where}: {error}") from error
    except (httpcore.ReadError, httpcore.WriteError) as error:
        raise OutgoingError(
            "ConnectionLost", f"{where} broke the connection off: {error or 'reset'}"
        ) from error
    except httpcore.RemoteProtocolError as error:
        lost = "disconnected" in str(error) or "closed connection" in str(error)
        kind: Kind = "ConnectionLost" if lost else "BadAnswer"
        raise OutgoingError(kind, f"{where} did not answer in HTTP: {error}") from error
