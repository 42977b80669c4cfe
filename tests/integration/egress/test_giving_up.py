"""Requests that are given up, and servers that make them be: each gives back what it had, the connection and its room."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
from tests.integration.egress.conftest import PUBLIC, Names
from tests.support.listeners import OK, Listener, hanging, listening, sending
from tests.support.waiting import wait_until

from taskflow.kit.egress import Egress
from taskflow.kit.outgoing import Answer, Outgoing, OutgoingError

KIB = 1_024
LONG = 10 * KIB * KIB
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LONG


async def get(outgoing: Outgoing, url: str, **more: Any) -> Answer:
    limits: dict[str, Any] = {"timeout_seconds": 5, "answer_bytes_max": KIB, **more}
    return await outgoing.send("GET", url, [], b"", **limits)


async def test_who_gives_up_leaves_room_for_others(rules: Egress) -> None:
    """Forty times as many as may be at once: most are given up while they wait for a connection, some by their callers."""
    loop = asyncio.get_running_loop()
    async with (
        listening(hanging(), PUBLIC) as silent,
        listening(sending(OK), PUBLIC) as well,
        Outgoing(rules, connections_max=5) as outgoing,
    ):
        for _ in range(4):
            sends = []
            for number in range(200):
                seconds = 0.05 + number % 7 * 0.03
                send = loop.create_task(get(outgoing, silent.url(host=PUBLIC), timeout_seconds=seconds))
                if number % 3 == 0:
                    loop.call_later(number % 5 * 0.02, send.cancel)
                sends.append(send)
            ended = await asyncio.gather(*sends, return_exceptions=True)
            assert {type(each) for each in ended} == {OutgoingError, asyncio.CancelledError}
            assert (await get(outgoing, well.url(host=PUBLIC))).body == b"ok"
        assert 0 < silent.open_max <= 5
        await wait_until(lambda: silent.open == 0, "the connections are closed")


async def test_idle_connections_make_room_for_others(rules: Egress) -> None:
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(listening(sending(OK), PUBLIC)) for _ in range(6)]
        outgoing = await stack.enter_async_context(Outgoing(rules, connections_max=3))
        for _ in range(2):
            for server in servers:
                assert (await get(outgoing, server.url(host=PUBLIC))).body == b"ok"
                await wait_until(
                    lambda: sum(each.open for each in servers) <= 3, "no more are open than may be"
                )
        last = servers[-1]
        assert (last.open, last.connections) == (1, 2)
        await get(outgoing, last.url(host=PUBLIC))
        assert last.connections == 2, "the one that was kept"


async def test_at_once_there_are_as_many_as_may_be(rules: Egress) -> None:
    together = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if server.open == 4:
            together.set()
        await together.wait()
        writer.write(OK)

    server: Listener
    async with listening(answer, PUBLIC) as server, Outgoing(rules, connections_max=4) as outgoing:
        answers = await asyncio.gather(*(get(outgoing, server.url(host=PUBLIC)) for _ in range(60)))
        assert {each.body for each in answers} == {b"ok"}
        assert (server.open_max, server.connections) == (4, 4)


async def test_agreeing_on_tls_is_given_up_and_closed(rules: Egress) -> None:
    async with listening(hanging(), PUBLIC) as silent, Outgoing(rules) as outgoing:
        with pytest.raises(OutgoingError, match=r"within 0\.2 s: given up while agreeing on TLS$") as failed:
            await get(outgoing, silent.url(host=PUBLIC, scheme="https"), timeout_seconds=0.2)
        assert (failed.value.kind, silent.connections) == ("TimedOut", 1)
        await wait_until(lambda: silent.open == 0, "the connection is closed")


@contextmanager
def wanting_certificates(server_side: ssl.SSLContext) -> Iterator[int]:
    """The port of a server that takes nobody without a certificate; under TLS 1.3 it says so after the handshake."""

    def serve() -> None:
        wire, _ = listener.accept()
        with server_side.wrap_socket(wire, server_side=True, do_handshake_on_connect=False) as connection:
            with contextlib.suppress(ssl.SSLError):
                connection.do_handshake()
            while socket.socket.recv(connection, 65_536):  # so that its word is not lost by a reset
                pass

    with socket.create_server((PUBLIC, 0)) as listener:
        thread = Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)
        assert not thread.is_alive(), "the caller has not closed"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_one_who_wants_a_certificate_of_ours(
    rules: Egress, serving_tls: tuple[ssl.SSLContext, ssl.SSLContext], version: ssl.TLSVersion
) -> None:
    server_side, known = serving_tls
    server_side.verify_mode = ssl.CERT_REQUIRED
    server_side.maximum_version = version
    with wanting_certificates(server_side) as port:
        async with Outgoing(rules, resolver=Names([PUBLIC]), tls=known) as outgoing:
            with pytest.raises(OutgoingError, match=f"^no TLS with service.example:{port}: ") as failed:
                await get(outgoing, f"https://service.example:{port}/")
    assert failed.value.kind == "TlsFailed", failed.value


async def test_a_beginning_is_enough_and_no_more_is_read(rules: Egress) -> None:
    sent = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * KIB)
        writer.transport.set_write_buffer_limits(0)
        writer.write(HEAD)
        while sent < LONG:
            writer.write(b"x" * KIB)
            await writer.drain()
            sent += KIB

    async with (
        listening(hanging(HEAD, b"x" * (KIB + 1)), PUBLIC) as stopping,
        listening(flood, PUBLIC) as flooding,
        Outgoing(rules) as outgoing,
    ):
        for server in (stopping, flooding):
            answer = await get(outgoing, server.url(host=PUBLIC), cut=True)
            assert (answer.body, answer.cut) == (b"x" * KIB, True)
        await wait_until(lambda: stopping.open == flooding.open == 0, "the connections are closed")
    assert sent < LONG / 2


async def test_one_who_leaves_when_asked_again_costs_that_request_alone(rules: Egress) -> None:
    """What was sent on a kept connection may have been done: it is not sent a second time."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 2:
            writer.close()
        else:
            writer.write(OK)

    server: Listener
    async with listening(answer, PUBLIC) as server, Outgoing(rules) as outgoing:
        url = server.url(host=PUBLIC)
        assert (await get(outgoing, url)).body == b"ok"
        with pytest.raises(OutgoingError, match="closed the connection") as failed:
            await get(outgoing, url)
        assert failed.value.kind == "ConnectionLost"
        assert (await get(outgoing, url)).body == b"ok"
        assert (len(server.requests), server.connections) == (3, 2)
