"""Whom a request must not reach it does not reach: no connection, not one byte. 127.0.0.2 plays the whole internet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from ipaddress import ip_address
from typing import cast

import pytest
from tests.integration.egress.conftest import PUBLIC, Names
from tests.support.hostile_urls import TO_LOOPBACK, told_resolver
from tests.support.listeners import OK, Listener, listening, sending
from tests.support.waiting import wait_until

from taskflow.kit.egress import BadUrl, Egress, Resolver, egress
from taskflow.kit.outgoing import Answer, Outgoing, OutgoingError
from taskflow.kit.ranges import Address


async def get(outgoing: Outgoing, url: str, headers: list[tuple[str, str]] | None = None) -> Answer:
    return await outgoing.send(
        "GET", url, headers or [], b"", timeout_seconds=5, answer_bytes_max=1_000, cut=True
    )


async def refusal(outgoing: Outgoing, url: str) -> str:
    with pytest.raises(OutgoingError) as refused:
        await get(outgoing, url)
    assert refused.value.kind == "EgressRefused", refused.value
    return str(refused.value)


@pytest.fixture
async def forbidden() -> AsyncIterator[Listener]:
    """Listens on every loopback address that there is, IPv6 too, but for that of the whole internet."""
    async with listening(sending(OK), "127.0.0.1", "::1") as found:
        yield found


async def test_no_hostile_url_reaches_loopback(forbidden: Listener) -> None:
    async with Outgoing(egress(), resolver=told_resolver) as outgoing:
        for template in TO_LOOPBACK:
            with pytest.raises((BadUrl, OutgoingError)) as refused:
                await get(outgoing, template.replace("{port}", str(forbidden.port)))
            kind = getattr(refused.value, "kind", "BadUrl")
            assert kind in ("EgressRefused", "BadUrl"), (template, refused.value)
    assert (forbidden.connections, forbidden.requests) == (0, [])


async def test_where_loopback_is_allowed_the_same_urls_reach_it(forbidden: Listener) -> None:
    """So the test above would see what arrives. (What leads to others too is left out, and TLS.)"""
    reached = 0
    left_out = ("https:", "both", "first-bad", "64:ff9b", "translated")
    async with Outgoing(egress(["loopback"]), resolver=told_resolver) as outgoing:
        for template in TO_LOOPBACK:
            if any(part in template for part in left_out):
                continue
            try:
                answer = await get(outgoing, template.replace("{port}", str(forbidden.port)))
            except (BadUrl, OutgoingError):
                continue
            assert answer.body == b"ok"
            reached += 1
    assert reached == len(forbidden.requests) > 30


@pytest.mark.parametrize("allowed", [[], [PUBLIC]])
async def test_a_name_of_many_addresses_is_refused_for_one(forbidden: Listener, allowed: list[str]) -> None:
    for answer in ([PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], [PUBLIC] * 20 + ["::1"]):
        names = Names(answer)
        async with Outgoing(egress(allowed), resolver=names) as outgoing:
            said = await refusal(outgoing, forbidden.url(host="evil.example"))
        assert said.startswith("evil.example is ") and "loopback" in said
        assert names.asked == ["evil.example"]
    assert forbidden.connections == 0


async def test_a_name_that_is_bound_anew_wins_nothing(rules: Egress) -> None:
    """First it is somebody on the internet, at every later look it is us."""
    async with (
        listening(sending(OK), PUBLIC) as public,
        listening(sending(OK), "127.0.0.1", port=public.port) as forbidden,
    ):
        names = Names([PUBLIC], ["127.0.0.1"])
        async with Outgoing(rules, resolver=names) as outgoing:
            url = public.url(host="rebound.example")
            assert (await get(outgoing, url)).body == b"ok"
            assert names.asked == ["rebound.example"], "one look for one connection"
            assert (await get(outgoing, url)).body == b"ok", "the connection is still that of the first look"
            assert (names.asked, public.connections) == (["rebound.example"], 1)
        async with Outgoing(rules, resolver=names) as outgoing:
            assert await refusal(outgoing, url) == "rebound.example is 127.0.0.1, a loopback address"
        assert forbidden.connections == 0
        assert b"Host: rebound.example:%d\r\n" % public.port in public.requests[0]


class DnsServer(asyncio.DatagramProtocol):
    """A name server of a few lines: it says what the test has it say, all addresses at once."""

    def __init__(self, addresses: list[str]) -> None:
        self.asked = 0
        self._addresses = addresses

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.asked += 1
        records = b"".join(
            b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04" + ip_address(each).packed
            for each in self._addresses
        )
        counts = b"\x00\x01" + len(self._addresses).to_bytes(2, "big") + b"\x00" * 4
        self._transport.sendto(data[:2] + b"\x81\x80" + counts + data[12:] + records, address)


class Asker(asyncio.DatagramProtocol):
    """Waits for one answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.answer.set_result(data)


def asking(port: int) -> Resolver:
    """A resolver that asks the name server on this port."""

    async def resolve(host: str, _: int) -> list[Address]:
        labels = b"".join(bytes([len(label)]) + label.encode() for label in host.split("."))
        question = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"
        loop = asyncio.get_running_loop()
        transport, asker = await loop.create_datagram_endpoint(Asker, remote_addr=("127.0.0.1", port))
        try:
            transport.sendto(question)
            answer = await asker.answer
        finally:
            transport.close()
        records = answer[len(question) :]
        return [ip_address(records[at + 12 : at + 16]) for at in range(0, len(records), 16)]

    return resolve


async def test_a_name_server_that_tells_of_both_at_once_wins_nothing(
    rules: Egress, forbidden: Listener
) -> None:
    loop = asyncio.get_running_loop()
    for addresses, is_reached in (([PUBLIC], True), ([PUBLIC, "127.0.0.1"], False)):
        transport, server = await loop.create_datagram_endpoint(
            partial(DnsServer, addresses),
            local_addr=("127.0.0.1", 0),
        )
        try:
            port = transport.get_extra_info("sockname")[1]
            async with (
                listening(sending(OK), PUBLIC, port=forbidden.port) as public,
                Outgoing(rules, resolver=asking(port)) as outgoing,
            ):
                url = public.url(host="evil.example")
                if is_reached:
                    assert (await get(outgoing, url)).body == b"ok"
                else:
                    await refusal(outgoing, url)
                assert (server.asked, public.connections) == (1, int(is_reached))
        finally:
            transport.close()
    assert forbidden.connections == 0


async def test_the_next_address_is_tried_and_it_is_a_judged_one(rules: Egress) -> None:
    async with listening(sending(OK), "127.0.0.3") as third:
        names = Names([PUBLIC, "127.0.0.3"])
        async with Outgoing(egress([PUBLIC, "127.0.0.3"]), resolver=names) as outgoing:
            assert (await get(outgoing, third.url(host="two.example"))).body == b"ok"
        async with Outgoing(rules, resolver=names) as outgoing:
            await refusal(outgoing, third.url(host="two.example"))
        assert third.connections == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_answers(rules: Egress, forbidden: Listener, status: int) -> None:
    head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {forbidden.url('/secret')}\r\nContent-Length: 0\r\n\r\n"
    async with (
        listening(sending(head.encode()), PUBLIC) as public,
        Outgoing(rules) as outgoing,
    ):
        answer = await get(outgoing, public.url(host=PUBLIC))
        assert (answer.status, answer.reason) == (status, "Elsewhere")
        assert ("Location", forbidden.url("/secret")) in answer.headers
        assert len(public.requests) == 1
    assert forbidden.connections == 0


async def test_the_environment_names_no_proxy(
    rules: Egress, forbidden: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, forbidden.url())
    async with listening(sending(OK), PUBLIC) as public, Outgoing(rules) as outgoing:
        assert (await get(outgoing, public.url(host=PUBLIC))).body == b"ok"
        assert public.requests[0].startswith(b"GET / HTTP/1.1\r\nHost: 127.0.0.2:")
    assert forbidden.connections == 0


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", [("Host", "other.example")]),
        ("GET", [("Content-Length", "5")]),
        ("GET", [("Transfer-Encoding", "chunked")]),
        ("GET", [("X-A", "a\r\n\r\nGET /secret HTTP/1.1")]),
        ("GET /secret HTTP/1.1\r\nX:", []),
        ("CONNECT", []),
        ("get", []),
    ],
)
async def test_nothing_is_sent_that_is_two_requests(
    rules: Egress, method: str, headers: list[tuple[str, str]]
) -> None:
    async with listening(sending(OK), PUBLIC) as public, Outgoing(rules) as outgoing:
        with pytest.raises(ValueError, match=r"method|header"):
            await outgoing.send(
                method, public.url(host=PUBLIC), headers, b"", timeout_seconds=5, answer_bytes_max=10
            )
        assert public.connections == 0


async def test_cookies_are_not_kept_and_answers_not_unpacked(rules: Egress) -> None:
    packed = b"\x1f\x8b\x08\x00not really gzip"
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    async with listening(sending(head % len(packed) + packed), PUBLIC) as public, Outgoing(rules) as outgoing:
        for _ in range(2):
            assert (await get(outgoing, public.url(host=PUBLIC))).body == packed
        assert public.connections == 1
        for request in public.requests:
            assert b"\r\nAccept-Encoding: identity\r\n" in request and b"ookie" not in request


async def test_leaving_closes_every_connection(rules: Egress) -> None:
    async with listening(sending(OK), PUBLIC) as public:
        async with Outgoing(rules) as outgoing:
            await asyncio.gather(*(get(outgoing, public.url(host=PUBLIC)) for _ in range(5)))
        await wait_until(lambda: public.open == 0, "the connections are closed")
