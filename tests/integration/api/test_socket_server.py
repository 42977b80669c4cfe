"""WebSockets that dawdle are cut off, those that are merely quiet are not; behind the edge, which counts them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from tests.integration.api.test_server import closed
from tests.support.waiting import wait_until
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from taskflow_api import edge, server, websocket
from taskflow_api.drain import Drain
from taskflow_api.edge import Edge

STALL_SECONDS = 0.5
PATH = "/ws/quiet"
FLOOD = "/ws/flood"
ended = threading.Event()
"""A socket of `small_app` is over."""


async def small_app(scope: Any, receive: Any, send: Any) -> None:
    """Opens a socket; tells nothing until it is over, or at FLOOD without end."""
    await receive()
    await send({"type": "websocket.accept", "headers": []})
    try:
        if scope["path"] == FLOOD:
            while True:
                await send({"type": "websocket.send", "text": "x" * 60_000})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    except OSError:
        pass
    finally:
        ended.set()


@pytest.fixture
async def port(free_port: int, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server of ours with short patience, and pings that seldom come."""
    monkeypatch.setattr(server, "STALL_SECONDS", STALL_SECONDS)
    monkeypatch.setattr(websocket, "STALL_SECONDS", STALL_SECONDS)
    ended.clear()
    stop, drain = asyncio.Event(), Drain()
    listener = server.bound_socket("127.0.0.1", free_port)
    app = Edge(small_app, drain, lambda _: [])
    serving = asyncio.create_task(server.serve_http(app, listener, drain, stop))
    yield free_port
    stop.set()
    await serving


async def handshaken(port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A socket whose other end is a test that reads no more than the head of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_024)
    writer.write(
        f"GET {path} HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    return reader, writer


async def test_who_is_quiet_stays(port: int) -> None:
    async with connect(f"ws://localhost:{port}{PATH}") as socket:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 4 * STALL_SECONDS)
        await asyncio.wait_for(await socket.ping(), 5)


async def test_who_takes_nothing_is_cut_off(port: int) -> None:
    _, writer = await handshaken(port, FLOOD)
    await wait_until(ended.is_set, "the socket was given up")
    await closed(writer)


async def test_who_pings_and_takes_no_pong_is_cut_off(port: int) -> None:
    """Nor do the pongs gather here: what is not read is not listened to."""
    _, writer = await handshaken(port, PATH)
    ping = b"\x89\xfd" + b"\0" * 4 + b"x" * 125

    async def flood() -> None:
        while True:
            writer.write(ping * 1_000)
            await writer.drain()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(flood(), 20)
    assert ended.is_set()
    await closed(writer)


async def test_who_answers_no_ping_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket.Socket, "start_keepalive", impatient)
    reader, writer = await handshaken(port, PATH)
    with suppress(ConnectionError):
        frames = await asyncio.wait_for(reader.read(), 10)
        assert frames[:2] == b"\x89\x04"
    assert ended.is_set()
    await closed(writer)


def impatient(socket: websocket.Socket) -> None:
    """Pings soon, and waits little."""
    socket.ping_interval, socket.ping_timeout = 0.1, 0.2
    socket.schedule_ping()


async def test_sockets_count_among_the_requests(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "REQUESTS_MAX", 1)
    async with connect(f"ws://localhost:{port}{PATH}"):
        with pytest.raises(InvalidStatus) as found:
            async with connect(f"ws://localhost:{port}{PATH}"):
                pass
    answer = found.value.response
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert b'"code":"overloaded"' in (answer.body or b"")
