"""Who calls: the peer, or whom a proxy of ours names; and what limits count."""

from __future__ import annotations

import pytest
from tests.support.scopes import answer_of, scope_of

from taskflow_api.addresses import UNKNOWN, Proxies, network_of, read_network
from taskflow_api.drain import Drain
from taskflow_api.edge import Edge
from taskflow_api.replies import Reply

TRUSTED = ["10.0.0.0/8", "192.168.7.7", "fd00::/8"]
CALLS = [
    pytest.param("203.0.113.9", ["198.51.100.1"], "203.0.113.9", id="a stranger says what he likes"),
    pytest.param("10.0.0.1", [], "10.0.0.1", id="a proxy that says nothing"),
    pytest.param("10.0.0.1", ["198.51.100.1"], "198.51.100.1", id="one proxy"),
    pytest.param("10.0.0.1", ["1.2.3.4, 198.51.100.1"], "198.51.100.1", id="what the caller wrote before it"),
    pytest.param("10.0.0.1", ["198.51.100.1, 10.9.9.9,192.168.7.7"], "198.51.100.1", id="three proxies"),
    pytest.param("10.0.0.1", ["1.2.3.4", "198.51.100.1, 10.2.2.2"], "198.51.100.1", id="two headers"),
    pytest.param("10.0.0.1", ["10.3.3.3, 10.2.2.2"], "10.3.3.3", id="all trusted: the farthest"),
    pytest.param("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1", id="malformed at the end"),
    pytest.param("10.0.0.1", ["198.51.100.1, , 10.2.2.2"], "10.2.2.2", id="malformed on the way"),
    pytest.param("10.0.0.1", ["198.51.100.01"], "10.0.0.1", id="octal"),
    pytest.param("10.0.0.1", ["198.51.100.1:5000"], "198.51.100.1", id="with a port"),
    pytest.param("10.0.0.1", ["[2001:db8::1]:5000"], "2001:db8::1", id="IPv6 with a port"),
    pytest.param("10.0.0.1", ["2001:DB8:0::1"], "2001:db8::1", id="IPv6, written otherwise"),
    pytest.param("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1", id="IPv4 within IPv6"),
    pytest.param("fd00::5", ["2001:db8::2"], "2001:db8::2", id="a proxy on IPv6"),
    pytest.param("::ffff:203.0.113.9", [], "203.0.113.9", id="a stranger's IPv4 within IPv6"),
    pytest.param("10.0.0.1", [",".join(["10.1.1.1"] * 50)], "10.1.1.1", id="hops without end"),
    pytest.param("10.0.0.1", [",".join(["1.2.3.4", *["10.1.1.1"] * 20])], "10.1.1.1", id="past the last hop"),
    pytest.param("10.0.0.1", [",".join(["1.2.3.4", *["10.1.1.1"] * 19])], "1.2.3.4", id="the last hop"),
]


@pytest.mark.parametrize(("peer", "said", "address"), CALLS)
def test_the_caller(peer: str, said: list[str], address: str) -> None:
    headers = [("x-forwarded-for", value) for value in said]
    for _ in range(2):  # the second time from memory
        scope = scope_of(headers=[*headers, ("forwarded", "for=9.9.9.9")], client=(peer, 40000))
        assert Proxies(TRUSTED).caller(scope)[0] == address


def test_without_proxies_nobody_is_believed() -> None:
    headers = {"x-forwarded-for": "198.51.100.1", "x-forwarded-proto": "https"}
    assert Proxies().caller(scope_of(headers=headers)) == ("127.0.0.1", "http")
    assert Proxies().caller(scope_of(client=None)) == (UNKNOWN, "http")


SCHEMES = [("https", "https"), ("HTTPS", "https"), ("http", "http"), ("http, https", "https"),
           ("https, http", "http"), ("wss", "http"), ("", "http")]  # fmt: skip


@pytest.mark.parametrize(("said", "scheme"), SCHEMES)
def test_the_scheme_a_trusted_proxy_tells(said: str, scheme: str) -> None:
    scope = scope_of(headers={"x-forwarded-proto": said}, client=("10.0.0.1", 1))
    assert Proxies(TRUSTED).caller(scope)[1] == scheme


async def test_the_edge_leaves_address_and_scheme_for_every_request() -> None:
    seen = []

    async def app(scope: object, receive: object, send: object) -> None:
        seen.append(scope)
        await Reply(200, b"")(scope, receive, send)  # type: ignore[arg-type]

    headers = {"x-forwarded-for": "198.51.100.1", "x-forwarded-proto": "https"}
    scope = scope_of(headers=headers, client=("10.0.0.1", 1))
    await answer_of(Edge(app, Drain(), lambda _: [], proxies=Proxies(TRUSTED)), scope)
    assert (seen[0]["state"]["address"], seen[0]["scheme"]) == ("198.51.100.1", "https")


NETWORKS = [("203.0.113.9", "203.0.113.9"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"), ("::ffff:203.0.113.9", "203.0.113.9"),
            ("fe80::1%eth0", "fe80::/64"), (UNKNOWN, UNKNOWN)]  # fmt: skip


@pytest.mark.parametrize(("address", "network"), NETWORKS)
def test_what_limits_count(address: str, network: str) -> None:
    assert network_of(address) == network


def test_two_of_a_network_count_as_one_and_two_networks_do_not() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff") != network_of("2001:db8:0:1::1")


@pytest.mark.parametrize(
    "text", ["10.0.0.1/8", "proxy", "0.0.0.0/0", "::/0", "::ffff:10.0.0.0/104", "10.0.0.0/33", ""]
)
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_network(text)
