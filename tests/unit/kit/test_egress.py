"""What may be reached: hostile URLs are refused whatever they are written like, others are read as they are meant."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.hostile_urls import ELSEWHERE, TO_LOOPBACK, WELL_KNOWN, told_resolver

from taskflow.kit.egress import BadUrl, Egress, EgressRefused, NameNotResolved, egress, system_resolver
from taskflow.kit.headers import forbidden_headers
from taskflow.kit.ranges import Address

PORT = 8_080
HOSTILE = [url.replace("{port}", str(PORT)) for url in TO_LOOPBACK] + ELSEWHERE


@pytest.mark.parametrize("url", HOSTILE, ids=ascii)
async def test_hostile_urls_are_refused(url: str) -> None:
    with pytest.raises((BadUrl, EgressRefused)) as refused:
        to = egress().check(url)
        await egress().resolve(to.host, to.port, told_resolver)
    assert str(refused.value).isprintable()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any use of a socket or a resolver fails."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a network was touched")

    for name in ("socket", "getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, never)


@pytest.mark.usefixtures("no_network")
def test_check_touches_no_network() -> None:
    for url in [*HOSTILE, "https://example.com/"]:
        try:
            egress().check(url)
        except (BadUrl, EgressRefused):
            continue


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "host_header"),
    [
        ("https://example.com", "example.com", 443, "/", "example.com"),
        ("HTTPS://Example.COM/Path", "example.com", 443, "/Path", "example.com"),
        ("http://example.com:80/", "example.com", 80, "/", "example.com"),
        ("https://example.com.:8443/a?b=c#d", "example.com", 8443, "/a?b=c", "example.com:8443"),
        ("http://example.com?x=1", "example.com", 80, "/?x=1", "example.com"),
        ("http://example.com/?", "example.com", 80, "/?", "example.com"),
        ("http://example.com#x", "example.com", 80, "/", "example.com"),
        ("http://example.com/#@127.0.0.1/", "example.com", 80, "/", "example.com"),
        (
            "http://example.com/a@b:c//d/../%2e",
            "example.com",
            80,
            "/a@b:c//d/../%2e",
            "example.com",
        ),
        ("http://hooks_1.example.com/", "hooks_1.example.com", 80, "/", "hooks_1.example.com"),
        ("http://bücher.example/ä?ü", "xn--bcher-kva.example", 80, "/%C3%A4?%C3%BC", "xn--bcher-kva.example"),
        ("http://BÜCHER。example/", "xn--bcher-kva.example", 80, "/", "xn--bcher-kva.example"),
        ("http://93.184.215.14/", "93.184.215.14", 80, "/", "93.184.215.14"),
        ("http://0x5d.184.55054/", "93.184.215.14", 80, "/", "93.184.215.14"),
        ("http://0135.0270.0327.016:1024/", "93.184.215.14", 1024, "/", "93.184.215.14:1024"),
        ("http://[::ffff:93.184.215.14]/", "93.184.215.14", 80, "/", "93.184.215.14"),
        (
            "https://[2606:4700::1111]:65535/x",
            "2606:4700::1111",
            65535,
            "/x",
            "[2606:4700::1111]:65535",
        ),
        ("https://[2606:4700:0::1111]/", "2606:4700::1111", 443, "/", "[2606:4700::1111]"),
        (
            "http://[64:ff9b::93.184.215.14]/",
            "64:ff9b::5db8:d70e",
            80,
            "/",
            "[64:ff9b::5db8:d70e]",
        ),
        ("http://localhost.example.com/", "localhost.example.com", 80, "/", "localhost.example.com"),
        ("http://notlocalhost/", "notlocalhost", 80, "/", "notlocalhost"),
        ("http://127.0.0.1.example.com/", "127.0.0.1.example.com", 80, "/", "127.0.0.1.example.com"),
        ("http://1.1.1.1.com/", "1.1.1.1.com", 80, "/", "1.1.1.1.com"),
    ],
)
def test_good_urls_are_read_as_they_are_meant(
    url: str, host: str, port: int, target: str, host_header: str
) -> None:
    to = egress().check(url)
    assert (to.host, to.port, to.target, to.host_header) == (host, port, target, host_header)
    assert to.scheme == url.partition(":")[0].lower()


def test_digits_of_other_scripts_are_letters() -> None:
    assert egress().check("http://١٢٧.٠.٠.١/").host == "xn--9hbcp.xn--8hb.xn--8hb.xn--9hb"


def test_a_url_may_have_two_thousand_characters() -> None:
    url = "http://example.com/".ljust(2_000, "x")
    assert len(egress().check(url).target) == 2_000 - len("http://example.com")
    with pytest.raises(BadUrl, match="2001 characters; expected at most 2000"):
        egress().check(url + "x")


LOOPBACK = egress(["loopback"])


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/",
        "http://127.1:8080/",
        "http://[::1]:8080/",
        "http://[::ffff:127.0.0.1]:8080/",
        "http://[64:ff9b::127.0.0.1]:8080/",
        "http://localhost:8080/",
        "http://api.localhost:8080/",
    ],
)
def test_what_is_allowed_passes_however_it_is_written(url: str) -> None:
    LOOPBACK.check(url)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://0.0.0.0/", "http://[::]/", "http://[::127.0.0.1]/"]
)
def test_loopback_allowed_allows_nothing_else(url: str) -> None:
    with pytest.raises(EgressRefused):
        LOOPBACK.check(url)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1", "127.0.0.1 is a loopback address"),
        ("::ffff:10.0.0.1", "10.0.0.1 is a private address"),
        ("64:ff9b::a00:1", "64:ff9b::a00:1 is 10.0.0.1, a private address"),
        ("169.254.169.254", "169.254.169.254 is a link-local address"),
        ("2002:7f00:1::", "2002:7f00:1:: is a 6to4 address"),
    ],
)
def test_refusals_say_what_and_why(address: str, words: str) -> None:
    with pytest.raises(EgressRefused, match=f"^{words}$"):
        egress().judge(ip_address(address))
    with pytest.raises(EgressRefused, match=r"^db\.example is .*, a"):
        egress().judge(ip_address(address), "db.example")


NOT_GLOBAL = [
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
        "203.0.113.0/24", "224.0.0.0/3", "::/8", "100::/8", "200::/7", "400::/6", "800::/5", "1000::/4", "4000::/2",
        "8000::/1", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
]  # fmt: skip
"""Written out a second time, in other parts than in the code. NAT64's 64:ff9b::/96 and mapped addresses stand for IPv4."""
NAT64 = ip_network("64:ff9b::/96")


def expected(address: Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return expected(address.ipv4_mapped)
        if address in NAT64:
            return expected(IPv4Address(int(address) % 2**32))
    return not any(address in network for network in NOT_GLOBAL)


def is_allowed(rules: Egress, address: Address) -> bool:
    try:
        rules.judge(address)
    except EgressRefused:
        return False
    return True


EDGES = [
    address
    for network in [*NOT_GLOBAL, NAT64]
    for number in (
        int(network.network_address) - 1,
        int(network.network_address),
        int(network.broadcast_address),
        int(network.broadcast_address) + 1,
    )
    if 0 <= number < 2**network.max_prefixlen
    for address in [IPv4Address(number) if network.version == 4 else IPv6Address(number)]
]


@pytest.mark.parametrize("address", EDGES, ids=str)
def test_every_range_begins_and_ends_where_it_should(address: Address) -> None:
    assert is_allowed(egress(), address) is expected(address)


v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6)
embedded = st.builds(
    lambda prefix, low: IPv6Address(prefix + int(low)),
    st.sampled_from([int(IPv6Address("::ffff:0:0")), int(IPv6Address("64:ff9b::")), 0]),
    v4,
)


@given(v4 | v6 | embedded)
def test_an_address_is_allowed_if_it_is_everybodys(address: Address) -> None:
    assert is_allowed(egress(), address) is expected(address)


@given(v4 | v6, st.integers(0, 32))
def test_an_allowed_network_is_reached_and_nothing_beside_it(address: Address, bits: int) -> None:
    if isinstance(address, IPv6Address) and (address.ipv4_mapped or address in NAT64):
        return
    network = ip_network((address, address.max_prefixlen - bits), strict=False)
    if network.version == 6 and network.overlaps(ip_network("::ffff:0:0/96")):
        return
    rules = egress([str(network)])
    assert is_allowed(rules, address)
    for number in (int(network.network_address) - 1, int(network.broadcast_address) + 1):
        if 0 <= number < 2**network.max_prefixlen:
            beside = type(address)(number)
            assert is_allowed(rules, beside) is expected(beside)


async def test_a_name_is_resolved_once_and_keeps_its_order() -> None:
    asked: list[tuple[str, int]] = []

    async def resolver(host: str, port: int) -> list[Address]:
        asked.append((host, port))
        return [ip_address("2606:4700::1111"), ip_address(f"::ffff:{WELL_KNOWN}")]

    found = await egress().resolve("example.com", 443, resolver)
    assert found == [ip_address("2606:4700::1111"), ip_address(WELL_KNOWN)]
    assert asked == [("example.com", 443)]


async def test_one_bad_address_refuses_a_name() -> None:
    for name in ("both.example", "first-bad.example"):
        with pytest.raises(EgressRefused, match=f"^{name} is 127.0.0.1, a loopback address$"):
            await egress().resolve(name, 80, told_resolver)


async def test_an_address_is_judged_and_not_resolved() -> None:
    async def resolver(host: str, port: int) -> list[Address]:
        raise AssertionError("asked")

    assert await egress().resolve(WELL_KNOWN, 80, resolver) == [ip_address(WELL_KNOWN)]
    with pytest.raises(EgressRefused):
        await egress().resolve("127.0.0.1", 80, resolver)


async def test_a_name_without_addresses_is_told_of() -> None:
    async def nothing(host: str, port: int) -> list[Address]:
        return []

    with pytest.raises(NameNotResolved, match=r"example\.com has no address"):
        await egress().resolve("example.com", 80, nothing)


@pytest.mark.parametrize("host", ["localhost", "0x7f.1", "127.1", "2130706433", "localhost.localdomain"])
async def test_what_the_system_makes_of_a_name_is_judged(host: str) -> None:
    """Should ever a host come here unread: the system's resolver takes numbers of all kinds."""
    with pytest.raises((EgressRefused, NameNotResolved)):
        await egress().resolve(host, 80, system_resolver)


async def test_the_systems_resolver_tells_what_it_found() -> None:
    assert set(await system_resolver("localhost", 80)) & {ip_address("127.0.0.1"), ip_address("::1")}
    with pytest.raises(NameNotResolved, match=r"^nothing\.invalid has no address: "):
        await system_resolver("nothing.invalid", 80)
    with pytest.raises(NameNotResolved):
        await system_resolver("a" * 70 + ".invalid", 80)


def test_ports_and_schemes_are_those_that_are_set() -> None:
    rules = egress(ports=["443", "8000-8999"], schemes=["https"])
    rules.check("https://example.com:8999/")
    with pytest.raises(EgressRefused, match=r"^port 9000 is not allowed; expected 443, 8000-8999$"):
        rules.check("https://example.com:9000/")
    with pytest.raises(EgressRefused, match=r"^the scheme http is not allowed; expected https$"):
        rules.check("http://example.com:8999/")


def test_what_nobody_set_is_the_default() -> None:
    assert egress() == Egress()


@pytest.mark.parametrize(
    ("allow", "ports", "schemes", "words"),
    [
        (["localhost"], ["80"], ["http"], "'localhost' .* expected addresses and networks such as"),
        (["10.0.0.1/8"], ["80"], ["http"], "host bits set; expected addresses"),
        (["::ffff:10.0.0.0/104"], ["80"], ["http"], "is IPv4; expected 10.0.0.0"),
        ([], ["0"], ["http"], "'0' is not a range of ports from 1 to 65535; expected ports"),
        ([], ["90-80"], ["http"], "'90-80' is not"),
        ([], ["80-70000"], ["http"], "'80-70000' is not"),
        ([], ["http"], ["http"], "'http' is not"),
        ([], ["８０"], ["http"], "is not a range"),
        ([], ["80"], ["ftp"], "'ftp' is not a scheme; expected https, http or both"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    allow: list[str], ports: list[str], schemes: list[str], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        egress(allow, ports, schemes)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("Host", "x", "the header Host is not to be set"),
        ("content-LENGTH", "1", "not to be set"),
        ("Transfer-Encoding", "chunked", "not to be set"),
        ("Proxy-Authorization", "x", "not to be set"),
        ("Upgrade", "h2c", "not to be set"),
        ("X:Y", "x", "'X:Y' is not the name of a header"),
        ("", "x", "'' is not the name"),
        ("X Y", "x", "is not the name"),
        ("X\r\nY", "x", "is not the name"),
        ("Ünicode", "x", "is not the name"),
        ("X-A", "a\r\nHost: b", "the header X-A holds what no header can"),
        ("X-A", "a\x00", "holds what"),
        ("X-A", "a\x7f", "holds what"),
        ("X-A", "a\x85", "holds what"),
        ("X-A", " a", "without spaces around"),
        ("X-A", "€", "Latin-1"),
        ("X-A", "x" * 40_000, "2 headers of 40020 bytes; expected at most 100 of 32768 bytes"),
    ],
)
def test_headers_that_must_not_be_sent_are_refused(name: str, value: str, words: str) -> None:
    assert words in (forbidden_headers([("Accept", "*/*"), (name, value)]) or "")


def test_other_headers_are_sent() -> None:
    assert forbidden_headers([("Authorization", "Bearer ~x=="), ("X-Colour", "grün"), ("X", "")]) is None
    assert forbidden_headers([("X", "y")] * 101) is not None
