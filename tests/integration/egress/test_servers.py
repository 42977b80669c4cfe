"""Servers that answer late, never, too much or nonsense: each costs a bounded time, and what happened can be told."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.integration.egress.conftest import PUBLIC, Names
from tests.support.listeners import (
    OK,
    Answers,
    Listener,
    dripping,
    flooding,
    hanging,
    listening,
    resetting,
    sending,
)
from tests.support.waiting import wait_until

from taskflow.cli.dev.places import free_port
from taskflow.kit.egress import Egress
from taskflow.kit.outgoing import Answer, Outgoing, OutgoingError
from taskflow.kit.ranges import Address

LIMIT = 10_000
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MANY = 10 * 1024 * 1024


async def send(outgoing: Outgoing, url: str, body: bytes = b"", **more: Any) -> Answer:
    limits: dict[str, Any] = {"timeout_seconds": 10, "answer_bytes_max": LIMIT, **more}
    return await outgoing.send("POST" if body else "GET", url, [], body, **limits)


async def failure(outgoing: Outgoing, url: str, **more: Any) -> tuple[str, str]:
    with pytest.raises(OutgoingError) as failed:
        await send(outgoing, url, **more)
    return failed.value.kind, str(failed.value)


@pytest.fixture
async def outgoing(rules: Egress) -> AsyncIterator[Outgoing]:
    async with Outgoing(rules, connect_seconds=1, resolver=Names([PUBLIC])) as found:
        yield found


@pytest.mark.parametrize(
    ("answers", "kind", "words"),
    [
        (sending(close=True), "ConnectionLost", "closed the connection after 0"),
        (sending(HEAD, close=True), "ConnectionLost", "before its answer was whole"),
        (sending(HEAD + b"Content-Length: 10\r\n\r\n12345", close=True), "ConnectionLost", "closed the"),
        (sending(CHUNKED + b"5\r\n12345\r\n", close=True), "ConnectionLost", "closed the connection"),
        (resetting, "ConnectionLost", "broke the connection off"),
        (sending(HEAD + b"Content-Length: 10485760\r\n\r\n", b"x" * MANY), "AnswerTooLarge", "10000 bytes"),
        (flooding(b"x" * 65_536, HEAD + b"\r\n"), "AnswerTooLarge", "is over 10000 bytes"),
        (flooding(b"400\r\n" + b"x" * 1_024 + b"\r\n", CHUNKED), "AnswerTooLarge", "10000 bytes"),
        (flooding(b"X-More: and more\r\n", HEAD), "BadAnswer", "does not speak HTTP/1.1"),
        (flooding(b"x" * 1_000, HEAD + b"X-More: "), "BadAnswer", "does not speak HTTP/1.1"),
        (sending(HEAD + b"X: y\r\n" * 300 + b"\r\n"), "BadAnswer", "300 headers of 1800 bytes"),
        (sending(HEAD + b"X: " + b"y" * 40_000 + b"\r\n\r\n"), "BadAnswer", "1 headers of 40005 bytes"),
        (flooding(b"HTTP/1.1 100 Continue\r\n\r\n" * 100), "BadAnswer", "far more than its answer holds"),
        (flooding(b"1;" + b"x" * 10_000 + b"\r\nx\r\n", CHUNKED), "BadAnswer", "sends far more"),
        (flooding(b"X: y\r\n" * 100, CHUNKED + b"0\r\n"), "BadAnswer", "does not speak HTTP/1.1"),
        (sending(b"\x00\xff\x00garbage\r\n\r\n"), "BadAnswer", "does not speak HTTP/1.1: illegal"),
        (sending(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"), "BadAnswer", "does not speak HTTP/1.1"),
        (sending(b"<html>HTTP/0.9</html>\r\n\r\n"), "BadAnswer", "does not speak HTTP/1.1"),
        (flooding(b"\x16" * 1_000), "BadAnswer", "does not speak HTTP/1.1"),
        (sending(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"), "BadAnswer", "conflicting"),
        (sending(HEAD + b"Content-Length: -1\r\n\r\nx"), "BadAnswer", "bad Content-Length"),
        (sending(HEAD + b"Bad Header\r\n\r\n"), "BadAnswer", "illegal header line"),
        (sending(CHUNKED + b"zz\r\n"), "BadAnswer", "illegal chunk header"),
        (sending(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), "BadAnswer", "does not speak HTTP/1.1"),
    ],
)
async def test_answers_that_are_none(outgoing: Outgoing, answers: Answers, kind: str, words: str) -> None:
    async with listening(answers, PUBLIC) as server:
        got, said = await failure(outgoing, server.url(host="service.example"))
        assert (got, words in said) == (kind, True), said
        assert f"service.example:{server.port}" in said
        assert len(server.requests) == 1, "sent once"
        await wait_until(lambda: server.open == 0, "the connection is closed")


@pytest.mark.parametrize(
    ("answers", "stage"),
    [
        (hanging(), "waiting for the answer"),
        (hanging(HEAD), "waiting for the answer"),
        (hanging(HEAD + b"Content-Length: 5\r\n\r\n12"), "reading the answer"),
        (dripping(b"x", HEAD + b"Content-Length: 10000\r\n\r\n"), "reading the answer"),
        (dripping(b"1\r\nx\r\n", CHUNKED), "reading the answer"),
        (dripping(b"x", HEAD + b"X-Slow: "), "waiting for the answer"),
        (dripping(b"HTTP/1.1 102 Processing\r\n\r\n"), "waiting for the answer"),
    ],
)
async def test_the_time_limit_is_for_all_of_it(outgoing: Outgoing, answers: Answers, stage: str) -> None:
    async with listening(answers, PUBLIC) as server:
        started = time.monotonic()
        got, said = await failure(outgoing, server.url(host="service.example"), timeout_seconds=0.4)
        assert time.monotonic() - started < 2
        place = f"service.example:{server.port}"
        assert (got, said) == (
            "TimedOut",
            f"{place} gave no whole answer within 0.4 s: given up while {stage}",
        )
        await wait_until(lambda: server.open == 0, "the connection is closed")


async def test_a_slow_answer_within_the_limit_is_one(outgoing: Outgoing) -> None:
    parts = [OK[at : at + 1] for at in range(len(OK))]

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0.005)

    async with listening(answer, PUBLIC) as server:
        answered = await send(outgoing, server.url(host="service.example"))
    assert (answered.status, answered.reason, answered.body, answered.cut) == (200, "OK", b"ok", False)
    assert answered.seconds > 0.1


async def test_a_caller_who_takes_no_body_is_waited_for_no_longer(outgoing: Outgoing) -> None:
    """The server reads nothing: what is sent fills the buffers, and then stands still."""
    over = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.transport.abort()

    async with await asyncio.start_server(serve, PUBLIC, 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"http://service.example:{port}/"
        got, _ = await failure(outgoing, url, body=b"x" * 30_000_000, timeout_seconds=0.4)
        over.set()
        assert got == "TimedOut"


@pytest.mark.parametrize(
    "answers",
    [
        sending(HEAD + b"Content-Length: 10485760\r\n\r\n", b"x" * MANY),
        flooding(b"x" * 65_536, HEAD + b"\r\n"),
        flooding(b"10\r\n" + b"x" * 16 + b"\r\n", CHUNKED),
    ],
)
async def test_of_a_long_answer_the_beginning_can_be_taken(outgoing: Outgoing, answers: Answers) -> None:
    async with listening(answers, PUBLIC) as server:
        answer = await send(outgoing, server.url(host="service.example"), cut=True)
        assert (answer.body, answer.cut) == (b"x" * LIMIT, True)
        await wait_until(lambda: server.open == 0, "the connection is closed")


async def test_an_answer_may_be_as_long_as_it_may(outgoing: Outgoing) -> None:
    body = b"x" * LIMIT
    tiny = b"".join(b"1\r\nx\r\n" for _ in range(LIMIT)) + b"0\r\n\r\n"
    for whole in (HEAD + b"Content-Length: 10000\r\n\r\n" + body, CHUNKED + tiny):
        async with listening(sending(whole), PUBLIC) as server:
            answer = await send(outgoing, server.url(host="service.example"))
            assert (answer.body, answer.cut) == (body, False)


async def test_what_is_beyond_an_answer_is_nobodys(outgoing: Outgoing) -> None:
    """A server that says less than it sends: the rest must not be taken for the answer to the next request."""
    forged = HEAD + b"Content-Length: 6\r\n\r\nforged"
    async with listening(sending(OK + forged), PUBLIC) as server:
        url = server.url(host="service.example")
        assert (await send(outgoing, url)).body == b"ok"
        got, said = await failure(outgoing, url)
        assert (got, "sent more than the answer before" in said) == ("BadAnswer", True)
        assert (await send(outgoing, url)).body == b"ok"


async def test_connections_are_used_again(outgoing: Outgoing) -> None:
    async with listening(sending(OK), PUBLIC) as server:
        url = server.url("/a?b", host="service.example")
        for body in (b"", b"one", b"two"):
            await send(outgoing, url, body)
        assert server.connections == 1
        heads = [request.partition(b"\r\n\r\n") for request in server.requests]
        assert [body for *_, body in heads] == [b"", b"one", b"two"]
        assert heads[1][0].splitlines() == [
            b"POST /a?b HTTP/1.1",
            b"Host: service.example:%d" % server.port,
            b"Content-Length: 3",
            b"Accept: */*",
            b"Accept-Encoding: identity",
        ]


async def test_one_who_closes_after_each_answer_is_called_anew(outgoing: Outgoing) -> None:
    async with listening(sending(OK, close=True), PUBLIC) as server:
        for _ in range(3):
            await send(outgoing, server.url(host="service.example"))
            await wait_until(lambda: server.open == 0, "it has closed")
        assert server.connections == 3


async def test_a_free_connection_is_waited_for_as_long_as_the_limit_is(rules: Egress) -> None:
    async with (
        listening(hanging(), PUBLIC) as server,
        Outgoing(rules, connections_max=1) as outgoing,
        asyncio.TaskGroup() as group,
    ):
        url = server.url(host=PUBLIC)
        first = group.create_task(failure(outgoing, url, timeout_seconds=0.8))
        await wait_until(lambda: server.requests, "the first has its connection")
        got, said = await failure(outgoing, url, timeout_seconds=0.2)
        assert (got, said.endswith("waiting for a free connection")) == ("TimedOut", True)
        assert (await first)[0] == "TimedOut"
        assert server.connections == 1


async def test_who_gives_up_closes_the_connection(outgoing: Outgoing) -> None:
    async with listening(hanging(HEAD), PUBLIC) as server:
        sent = asyncio.create_task(send(outgoing, server.url(host="service.example")))
        await wait_until(lambda: server.requests, "the request has arrived")
        sent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sent
        await wait_until(lambda: server.open == 0, "the connection is closed")


async def test_nobody_listens(outgoing: Outgoing) -> None:
    port = free_port(PUBLIC)
    got, said = await failure(outgoing, f"http://service.example:{port}/")
    assert (got, said) == (
        "ConnectFailed",
        f"no connection to service.example:{port} (127.0.0.2: Connection refused)",
    )


async def test_a_connection_that_is_never_made(rules: Egress) -> None:
    """A full backlog: the system drops what would come after it, as a firewall does."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind((PUBLIC, 0))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        port = full.getsockname()[1]
        async with Outgoing(rules, connect_seconds=0.4, resolver=Names([PUBLIC, PUBLIC])) as outgoing:
            started = time.monotonic()
            got, said = await failure(outgoing, f"http://service.example:{port}/")
        assert 0.3 < time.monotonic() - started < 2
        assert got == "ConnectFailed", said
        assert f"no connection to service.example:{port}" in said and "within 0." in said


async def test_names_that_nobody_knows_or_that_take_too_long(rules: Egress) -> None:
    async def silent(host: str, port: int) -> list[Address]:
        await asyncio.Event().wait()
        return []

    async with Outgoing(rules) as outgoing:
        assert (await failure(outgoing, "http://nothing.invalid/"))[0] == "NameNotResolved"
    async with Outgoing(rules, connect_seconds=0.2, resolver=silent) as outgoing:
        assert await failure(outgoing, "http://service.example/") == (
            "NameNotResolved",
            "service.example was not resolved within 0.2 s",
        )


async def test_a_certificate_must_be_for_the_name(
    rules: Egress, serving_tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server_side, known = serving_tls
    asked: list[str | None] = []
    server_side.sni_callback = lambda _connection, name, _context: asked.append(name)
    async with (
        listening(sending(OK), PUBLIC, tls=server_side) as server,
        Outgoing(rules, resolver=Names([PUBLIC]), tls=known) as outgoing,
    ):
        url = server.url(host="service.example", scheme="https")
        assert (await send(outgoing, url)).body == b"ok"
        assert asked == ["service.example"]
        for host in ("other.example", PUBLIC):
            got, said = await failure(outgoing, server.url(host=host, scheme="https"))
            assert got == "TlsFailed"
            assert f"no TLS with {host}:{server.port}: its certificate is not accepted: " in said
            assert "mismatch" in said
        assert len(server.requests) == 1


async def test_a_certificate_must_be_from_an_authority_that_is_known(
    outgoing: Outgoing, serving_tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    async with listening(sending(OK), PUBLIC, tls=serving_tls[0]) as server:
        got, said = await failure(outgoing, server.url(host="service.example", scheme="https"))
        assert (got, "certificate is not accepted" in said, server.requests) == ("TlsFailed", True, [])


async def test_one_who_does_not_speak_tls(outgoing: Outgoing) -> None:
    async with listening(hanging(), PUBLIC) as silent:
        got, said = await failure(outgoing, silent.url(host="service.example", scheme="https"))
        assert (got, said) == ("TlsFailed", f"no TLS with service.example:{silent.port} within 1 s")

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, PUBLIC, 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        got, said = await failure(outgoing, f"https://service.example:{port}/")
        assert (got, said.startswith(f"no TLS with service.example:{port}: ")) == ("TlsFailed", True)


async def test_many_at_once_each_get_their_own_answer(rules: Egress) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = listener.requests[-1].split()[1]
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(path) + path)

    listener: Listener
    async with (
        listening(answer, PUBLIC) as listener,
        Outgoing(rules, connections_max=5) as outgoing,
    ):
        paths = [f"/{number}" for number in range(100)]
        answers = await asyncio.gather(*(send(outgoing, listener.url(path, PUBLIC)) for path in paths))
        assert [answer.body.decode() for answer in answers] == paths
        assert listener.connections <= 5
