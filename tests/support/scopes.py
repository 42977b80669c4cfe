"""Calls to an ASGI app without a wire: a scope, and what comes back."""

from __future__ import annotations

from typing import Any, NamedTuple


class Told(NamedTuple):
    """An answer. A header that stands twice is joined, as HTTP says."""

    status: int
    headers: dict[str, str]
    body: bytes


def scope_of(
    method: str = "GET",
    path: str = "/x",
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    *,
    client: tuple[str, int] | None = ("127.0.0.1", 40000),
    scheme: str = "http",
) -> Any:
    """The scope of a request, as uvicorn makes it."""
    pairs = headers.items() if isinstance(headers, dict) else headers or []
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "scheme": scheme,
        "client": client,
        "headers": [(name.encode(), value.encode()) for name, value in pairs],
        "state": {},
    }


async def answer_of(app: Any, scope: Any) -> Told:
    """What `app` answers to a request without a body."""
    status, body = 0, b""
    headers: dict[str, str] = {}

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, body
        status = message.get("status", status)
        body += message.get("body", b"")
        for raw_name, raw_value in message.get("headers", []):
            name, value = raw_name.decode(), raw_value.decode()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value

    await app(scope, receive, send)
    return Told(status, headers, body)
