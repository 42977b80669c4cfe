"""Answers as small ASGI apps: a body that is known, and the encoding of what the engine gives."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

JSON = "application/json"
Headers = Iterable[tuple[str, str]]
_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """JSON of a value of ours."""
    return _encoder.encode(value)


class Reply:
    """A whole answer. Litestar calls it as an ASGI app, past its own renderers."""

    __slots__ = ("body", "headers", "media_type", "status")

    def __init__(self, status: int, body: bytes, headers: Headers = (), media_type: str = JSON) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.media_type = media_type

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        headers: list[tuple[bytes, bytes]] = []
        if self.status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
            headers.append((b"content-length", str(len(self.body)).encode()))
        if self.media_type:
            headers.append((b"content-type", self.media_type.encode()))
        headers += [(name.encode(), value.encode()) for name, value in self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def answer(value: Any, status: int = 200, headers: Headers = ()) -> Reply:
    """`value` as JSON."""
    return Reply(status, encode(value), headers)
