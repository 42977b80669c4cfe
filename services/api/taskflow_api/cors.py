"""Which web pages of other origins may read our answers: CORS_ORIGIN.

Credentials are headers here, never cookies, so a browser adds none by itself and `Allow-Credentials` is never
answered. An origin that is not allowed gets no header, and its browser keeps the answer from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litestar.types import HTTPScope

ANY = "*"
Fields = tuple[tuple[bytes, bytes], ...]
"""Headers as they go out."""
_PREFLIGHT_SECONDS = 600
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_ASKED = (
    "Accept, Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Traceparent, Tracestate, X-API-Key, "
    "X-Request-Id"
)
"""What callers may send."""
_TOLD = "Idempotent-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
"""What callers may read of an answer, beside its type and length."""
_ORIGIN = re.compile(r"(https?)://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_VARY = (b"vary", b"Origin")


class Cors:
    """What a request's origin adds to its answer."""

    def __init__(self, origins: Iterable[str] = ()) -> None:
        allowed = [read_origin(origin) for origin in origins]
        self.is_on = bool(allowed)
        self._any = _allowing(ANY, ()) if ANY in allowed else None
        self._others: Fields = (_VARY,) if allowed else ()
        self._by_origin = {origin.encode(): _allowing(origin, self._others) for origin in allowed}

    def headers(self, scope: HTTPScope) -> tuple[Fields, bool]:
        """The headers of an answer, and whether they let another origin's page read it."""
        if not self.is_on:
            return (), False
        if self._any is not None:
            return self._any, True
        found = self._by_origin.get(origin_of(scope))
        return (self._others, False) if found is None else (found, True)


PREFLIGHT: list[tuple[str, str]] = [
    ("access-control-allow-methods", _METHODS),
    ("access-control-allow-headers", _ASKED),
    ("access-control-max-age", str(_PREFLIGHT_SECONDS)),
]
"""The answer to a browser that asks before it calls. The same for all paths: so a page also reads our 404 and 405."""


def is_preflight(scope: HTTPScope) -> bool:
    """Whether a browser asks what its page may call."""
    names = {name for name, _ in scope["headers"]}
    return scope["method"] == "OPTIONS" and {b"origin", b"access-control-request-method"} <= names


def origin_of(scope: HTTPScope) -> bytes:
    """The origin of the page that calls, if a browser tells one."""
    return next((value for name, value in scope["headers"] if name == b"origin"), b"")


def read_origin(text: str) -> str:
    """An origin exactly as browsers write it, or `*`; ValueError that says what is wrong with it."""
    if text == ANY:
        return text
    found = _ORIGIN.fullmatch(text)
    if found is None or int(found[3] or 0) > 65_535:
        raise ValueError(f"{text} is no origin")
    if found[3] == _DEFAULT_PORTS[found[1]]:
        raise ValueError(f"browsers leave out the port of {text}")
    return text


def _allowing(origin: str, others: Fields) -> Fields:
    return (
        (b"access-control-allow-origin", origin.encode()),
        (b"access-control-expose-headers", _TOLD.encode()),
        *others,
    )
