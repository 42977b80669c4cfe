"""Connections to judged addresses alone, as httpcore asks for them. Used by `outgoing`.

A name is resolved once, all its addresses are judged, and one of those is connected to; the name stays in the request
and is what a certificate must be for.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Literal, NoReturn

import httpcore

from taskflow.kit.egress import Egress, EgressRefused, NameNotResolved, Resolver
from taskflow.kit.ranges import Address

Kind = Literal[
    "EgressRefused",
    "NameNotResolved",
    "ConnectFailed",
    "TlsFailed",
    "ConnectionLost",
    "TimedOut",
    "AnswerTooLarge",
    "BadAnswer",
]
ADDRESSES_TRIED_MAX = 8
_LOOKING_UP = "looking up the name"


class OutgoingError(Exception):
    """A request that got no answer, or none that can be used. `str()` tells an operator host, port and what happened."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind


class Hearing:
    """How far a request has come. `bytes_left` bounds all that is heard, so also what is no part of the answer."""

    __slots__ = ("bytes_left", "ended", "heard", "place", "stage")

    def __init__(self, place: str, bytes_left: int) -> None:
        self.place = place
        self.bytes_left = bytes_left
        self.heard = 0
        self.ended = False
        self.stage = "waiting for a free connection"

    def take(self, data: bytes) -> None:
        """Count what has arrived."""
        self.ended = not data
        self.heard += len(data)
        self.bytes_left -= len(data)
        if self.bytes_left < 0:
            raise OutgoingError("BadAnswer", f"{self.place} sends far more than its answer holds")


HEARING: ContextVar[Hearing] = ContextVar("hearing")
"""Set by whoever sends a request: httpcore reads and writes in the caller's own task."""


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections as `egress` allows."""

    def __init__(self, egress: Egress, resolver: Resolver) -> None:
        self._egress = egress
        self._resolver = resolver
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to one of the host's addresses. Raises OutgoingError."""
        hearing = HEARING.get()
        hearing.stage = _LOOKING_UP
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._egress.resolve(host, port, self._resolver)
                hearing.stage = "connecting"
                return await self._connected(addresses[:ADDRESSES_TRIED_MAX], port, timeout)
        except EgressRefused as error:
            raise OutgoingError("EgressRefused", str(error)) from None
        except NameNotResolved as error:
            raise OutgoingError("NameNotResolved", str(error)) from None
        except TimeoutError:
            if hearing.stage == _LOOKING_UP:
                message = f"{host} was not resolved within {timeout:g} s"
                raise OutgoingError("NameNotResolved", message) from None
            raise OutgoingError(
                "ConnectFailed", f"no connection to {hearing.place} within {timeout:g} s"
            ) from None

    async def connect_unix_socket(self, *_arguments: Any, **_more: Any) -> NoReturn:
        """No URL leads to one."""
        raise EgressRefused("a socket of this machine is not to be reached by a URL")

    async def sleep(self, seconds: float) -> None:
        """As httpcore asks between tries."""
        await asyncio.sleep(seconds)

    async def _connected(self, addresses: list[Address], port: int, timeout: float | None) -> Wire:
        """One after the other, each with its share of the time."""
        share = None if timeout is None else timeout / len(addresses)
        failures: list[str] = []
        for address in addresses:
            try:
                return Wire(await self._inner.connect_tcp(str(address), port, share))
            except httpcore.ConnectTimeout:
                failures.append(f"{address}: no answer within {share:g} s")
            except (httpcore.ConnectError, OSError) as error:
                failures.append(f"{address}: {_reason(error)}")
        raise OutgoingError(
            "ConnectFailed", f"no connection to {HEARING.get().place} ({'; '.join(failures)})"
        )


class Wire(httpcore.AsyncNetworkStream):
    """A connection that tells its request's `Hearing` what arrives."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has arrived; empty: the other side has ended."""
        hearing = HEARING.get()
        try:
            data = await self._inner.read(max_bytes, timeout)
        except ssl.SSLError as error:  # TLS 1.3 tells a caller only now that it wants a certificate of his
            raise OutgoingError("TlsFailed", f"no TLS with {hearing.place}: {_reason(error)}") from error
        hearing.take(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send it all."""
        HEARING.get().stage = "waiting for the answer"
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """The same connection under TLS, with a certificate for the name. Raises OutgoingError."""
        hearing = HEARING.get()
        hearing.stage = "agreeing on TLS"
        try:
            return Wire(await self._inner.start_tls(ssl_context, server_hostname, timeout))
        except httpcore.ConnectTimeout:
            raise OutgoingError("TlsFailed", f"no TLS with {hearing.place} within {timeout:g} s") from None
        except (httpcore.ConnectError, OSError) as error:
            raise OutgoingError("TlsFailed", f"no TLS with {hearing.place}: {_reason(error)}") from error
        except asyncio.CancelledError:  # httpcore closes it after all other failures
            await self._inner.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        """As httpcore asks."""
        return self._inner.get_extra_info(info)


def _reason(error: BaseException) -> str:
    """What the system or OpenSSL said in the first place."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return cause.reason.replace("_", " ").lower()
        if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
            return os.strerror(cause.errno)
    return str(error)[:200] or "the connection was closed"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
