"""Connections that dawdle are cut off, and what is no HTTP gets the shape of every refusal."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from tests.support.waiting import wait_until

from taskflow_api import server
from taskflow_api.drain import Drain

BIG = 64 * 1024 * 1024
ended = threading.Event()
"""An answer of `small_app` has gone out or was given up."""


async def small_app(scope: Any, receive: Any, send: Any) -> None:
    """Reads its body and answers with its size; at /big, with more than any buffer holds."""
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    body = b"x" * BIG if scope["path"] == "/big" else str(size).encode()
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    ended.set()


@pytest.fixture
async def port(free_port: int, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server of ours with short patience."""
    monkeypatch.setattr(server, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(server, "MESSAGE_BYTES_MAX", 1_000_000)
    stop = asyncio.Event()
    listener = server.bound_socket("127.0.0.1", free_port)
    serving = asyncio.create_task(server.serve_http(small_app, listener, Drain(), stop))

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", free_port)) == 0

    await wait_until(listens, "the server listens")
    yield free_port
    stop.set()
    await serving


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection that may be gone already."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def said(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """What comes back for these bytes, sent with a pause between, up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reading = asyncio.ensure_future(reader.read())
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.wait({reading}, timeout=pause)
        return await asyncio.wait_for(reading, 5)
    except ConnectionError:
        return b""
    finally:
        reading.cancel()
        await closed(writer)


async def test_a_whole_request_is_answered(port: int) -> None:
    request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"
    assert b"\r\n5\r\n" in await said(port, request)


DAWDLERS = [
    pytest.param(b"", id="says nothing"),
    pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\n", id="head without end"),
    pytest.param(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhel", id="body without end"),
    pytest.param(
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n", id="chunks"
    ),
    pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\n", id="second request without end"),
]


@pytest.mark.parametrize("part", DAWDLERS)
async def test_who_does_not_finish_is_cut_off(port: int, part: bytes) -> None:
    answer = await said(port, part)
    assert answer.count(b"HTTP/1.1 200") == (1 if part.count(b"GET") == 2 else 0)


async def test_who_drips_is_cut_off(port: int) -> None:
    drips = [b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n", *[b"x"] * 20]
    assert await said(port, *drips, pause=0.1) == b""


async def test_who_sends_without_end_is_cut_off(port: int) -> None:
    chunk = b"40000\r\n" + b"x" * 0x40000 + b"\r\n"
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    assert await said(port, head, *[chunk] * 20) == b""


async def test_who_does_not_read_is_cut_off(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    ended.clear()
    writer.write(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n")
    # The stream's buffer is small: while nothing is read from it, it takes nothing from the connection.
    await wait_until(ended.is_set, "the answer was given up")
    received = 0
    try:
        while chunk := await asyncio.wait_for(reader.read(1 << 20), 5):
            received += len(chunk)
    except ConnectionError:
        pass
    await closed(writer)
    assert received < BIG


END = b" HTTP/1.1\r\nhost: x\r\n\r\n"
NO_HTTP = [b"hello\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
           b"GET / HTTP/1.1\r\nx: " + b"y" * 100_000]  # fmt: skip


@pytest.mark.parametrize("part", NO_HTTP)
async def test_what_is_no_http_is_told_so(port: int, part: bytes) -> None:
    head, _, body = (await said(port, part)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in head
    assert b"x-content-type-options: nosniff" in head
    assert json.loads(body)["code"] == "bad_header"


def filled(size: int) -> bytes:
    """A head of so many bytes; half in its URL."""
    url = b"GET /" + b"p" * (size // 2) + b" HTTP/1.1\r\nx: "
    return url + b"y" * (size - len(url) - 4) + b"\r\n\r\n"


TOO_MUCH = [
    pytest.param(b"GET /" + b"x" * 70_000 + END, "too long", id="path"),
    pytest.param(b"GET /?" + b"x" * 70_000 + END, "too long", id="query"),
    pytest.param(b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", "too long", id="header"),
    pytest.param(filled(server.HEAD_BYTES_MAX + 500), "too long", id="both together"),
    pytest.param(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 201 + b"\r\n", "too many headers", id="many headers"),
    pytest.param(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 15_000 + b"\r\n", "too many headers", id="very many"),
]


@pytest.mark.parametrize("pause", [0.0, 0.05])
@pytest.mark.parametrize(("part", "why"), TOO_MUCH)
async def test_a_head_has_bounds(port: int, part: bytes, why: str, pause: float) -> None:
    """However it arrives: at once, or in pieces."""
    half = len(part) // 2
    parts = [part[:half], part[half:]] if pause else [part]
    head, _, body = (await said(port, *parts, pause=pause)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert why in json.loads(body)["detail"]


async def test_a_head_within_its_bounds_is_read(port: int) -> None:
    many = b"GET / HTTP/1.1\r\nconnection: close\r\n" + b"x: y\r\n" * (server.HEADERS_MAX - 1) + b"\r\n"
    for part in (
        filled(server.HEAD_BYTES_MAX - 500).replace(b"\r\nx:", b"\r\nconnection: close\r\nx:"),
        many,
    ):
        assert (await said(port, part)).startswith(b"HTTP/1.1 200 ")


async def test_each_head_of_a_connection_has_the_bounds_anew(port: int) -> None:
    one = b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 40_000 + b"\r\n\r\n"
    last = one.replace(b"host: x", b"connection: close")
    answer = await said(port, one, one, last, pause=0.05)
    assert answer.count(b"HTTP/1.1 200 ") == 3
