"""What URLs given by others may lead to: judged as text when they are given, and by address when they are connected to.

Against server-side request forgery (OWASP API7:2023): all addresses of a name are judged, and one of those judged is
connected to, so that a name which changes in between (DNS rebinding) gains nothing. Special addresses are those of the
IANA registries (RFC 6890), written out here: the versions of Python differ in what they call global.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from msgspec import Struct

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int], Awaitable[list[str]]]
"""`await resolver(host, port)` gives the addresses of a name. OSError: it has none."""

URL_CHARS_MAX = 2_000
DEFAULT_PORTS = {"http": 80, "https": 443}
_EXPECTED = "expected a URL such as https://example.org/hook"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)(?:#.*)?")
_PLAIN = re.compile(r"[!-~]+")
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

_LOOPBACK = "a loopback address"
_PRIVATE = "a private address"
_LINK_LOCAL = "a link-local address"
_RESERVED = "a reserved address"
_SPECIAL_4 = {
    IPv4Network(network): what
    for network, what in (
        ("0.0.0.0/8", "an address of this host"), ("10.0.0.0/8", _PRIVATE), ("100.64.0.0/10", "a shared address"),
        ("127.0.0.0/8", _LOOPBACK), ("169.254.0.0/16", _LINK_LOCAL), ("172.16.0.0/12", _PRIVATE),
        ("192.0.0.0/24", _RESERVED), ("192.0.2.0/24", "a documentation address"), ("192.88.99.0/24", _RESERVED),
        ("192.168.0.0/16", _PRIVATE), ("198.18.0.0/15", "a benchmarking address"),
        ("198.51.100.0/24", "a documentation address"), ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"), ("240.0.0.0/4", _RESERVED),
    )
}  # fmt: skip
_UNICAST_6 = IPv6Network("2000::/3")
"""What IANA gives out for global use; the rest of IPv6 is local or reserved."""
_SPECIAL_6 = {
    IPv6Network(network): what
    for network, what in (
        ("::1/128", _LOOPBACK), ("::/128", "an address of this host"), ("fc00::/7", _PRIVATE), ("fe80::/10", _LINK_LOCAL),
        ("fec0::/10", _PRIVATE), ("ff00::/8", "a multicast address"), ("2001::/23", _RESERVED),
        ("2001:db8::/32", "a documentation address"), ("2002::/16", "a 6to4 address"),
        ("3fff::/20", "a documentation address"),
    )
}  # fmt: skip
_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: with DNS64 every IPv4 name has such an address; the IPv4 address in it is what is reached."""


class EgressRefused(Exception):
    """What a URL leads to may not be reached from here. The message says what it is, and why not."""


class BadUrl(ValueError):
    """Not a URL that can be used. The message says what is expected."""


class Destination(Struct, frozen=True):
    """Where a URL leads to. `host` is in lower case; `target` is path and query; `address`: it is one itself."""

    scheme: str
    host: str
    port: int
    target: str
    address: str | None = None

    @property
    def origin(self) -> str:
        """`https://example.org:443`."""
        return f"{self.scheme}://{self._authority}:{self.port}"

    @property
    def host_header(self) -> str:
        """The value of the header Host."""
        is_default = DEFAULT_PORTS.get(self.scheme) == self.port
        return self._authority if is_default else f"{self._authority}:{self.port}"

    @property
    def _authority(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


class Egress(Struct, frozen=True):
    """What may be reached: global addresses, and those in `allow`; on these ports, by these schemes."""

    allow: tuple[Network, ...] = ()
    ports: tuple[tuple[int, int], ...] = ((80, 80), (443, 443), (1024, 65_535))
    schemes: tuple[str, ...] = ("https", "http")

    def check(self, url: str) -> Destination:
        """Read a URL, and judge what can be judged without a network. Raises BadUrl or EgressRefused."""
        there = read_url(url)
        if there.scheme not in self.schemes:
            raise EgressRefused(f"{there.scheme} is not allowed here; expected {' or '.join(self.schemes)}")
        if not any(first <= there.port <= last for first, last in self.ports):
            raise EgressRefused(f"port {there.port} is not allowed here")
        if there.address is not None:
            self.judge(ip_address(there.address))
        elif there.host == "localhost" or there.host.endswith(".localhost"):
            self.judge(IPv4Address("127.0.0.1"), there.host)
        return there

    def judge(self, address: Address, name: str | None = None) -> None:
        """Refuse an address that is not global, unless it is allowed. Raises EgressRefused."""
        inner = _embedded(address)
        if any(one in network for one in {address, inner} for network in self.allow):
            return
        if (what := _special(inner)) is not None:
            shown = f"{address}, {name}'s address," if name else str(address)
            raise EgressRefused(f"{shown} is {what}, which may not be reached from here")

    async def resolve(self, there: Destination, resolver: Resolver | None = None) -> list[str]:
        """The addresses to connect to; of a name, all of them are judged, once. Raises EgressRefused or OSError."""
        if there.address is not None:
            self.judge(ip_address(there.address))
            return [there.address]
        found = await (resolver or system_resolver)(there.host, there.port)
        if not found:
            raise OSError("the name has no address")
        for text in found:
            self.judge(ip_address(text.partition("%")[0]), there.host)
        return found


def networks_of(text: str) -> tuple[Network, ...]:
    """What a setting allows: an address, a network, or `loopback`. Raises ValueError with what is expected."""
    if text == "loopback":
        return IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")
    try:
        return (ip_network(text),)
    except ValueError as error:
        raise ValueError(f"addresses, networks such as 10.0.0.0/8, or loopback ({error})") from None


def ports_of(text: str) -> tuple[int, int]:
    """A port or a range of them. Raises ValueError with what is expected."""
    first, _, last = text.partition("-")
    last = last or first
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last) <= 65_535):
        raise ValueError("ports from 1 to 65535 and ranges such as 1024-65535")
    return int(first), int(last)


def scheme_of(text: str) -> str:
    """One of the schemes there are. Raises ValueError with what is expected."""
    if text not in DEFAULT_PORTS:
        raise ValueError("https or http")
    return text


async def system_resolver(host: str, port: int) -> list[str]:
    """The addresses of a name as this machine resolves it."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def read_url(url: str) -> Destination:
    """Strictly: what two readers might take for different hosts is refused. Raises BadUrl or EgressRefused."""
    if len(url) > URL_CHARS_MAX:
        raise BadUrl(f"is over {URL_CHARS_MAX} characters")
    if not _PLAIN.fullmatch(url):
        raise BadUrl(
            "holds spaces, control characters or non-ASCII ones; percent-encode them, and hosts as xn--"
        )
    if any(character in url for character in '\\<>"'):
        raise BadUrl(f'holds one of \\ < > "; {_EXPECTED}')
    parts = _URL.fullmatch(url)
    if parts is None:
        raise BadUrl(_EXPECTED)
    scheme, authority, rest = parts[1].lower(), parts[2], parts[3]
    if "@" in authority:
        raise BadUrl("holds a user name or password; send credentials in a header")
    host, port = _authority(authority, DEFAULT_PORTS.get(scheme, 0))
    target = rest if rest.startswith("/") else f"/{rest}"
    return Destination(scheme, host, port, target, literal(host))


def _authority(text: str, default_port: int) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{0,5}))?", text)
    if found is None or not found[1]:
        raise BadUrl(f"its host cannot be read; {_EXPECTED}")
    port = int(found[2]) if found[2] else default_port
    if port > 65_535 or port < 0:
        raise BadUrl("its port is over 65535")
    host = found[1].lower()
    if host.startswith("["):
        return host[1:-1], port
    host = host.removesuffix(".")
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise BadUrl(f"its host {host[:64]!r} is no host name; {_EXPECTED}")
    return host, port


def literal(host: str) -> str | None:
    """A host that is an address, in its canonical form; forms that readers differ in are refused."""
    if ":" in host or "%" in host:
        try:
            address = IPv6Address(host)
        except ValueError:
            raise BadUrl(f"its host [{host[:64]}] is no IPv6 address") from None
        if address.scope_id is not None:
            raise EgressRefused(f"{host[:64]} names an interface of this machine")
        return str(address)
    try:
        return str(IPv4Address(host))
    except ValueError:
        pass
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise EgressRefused(f"{host[:64]} is an address in an unusual form; expected four decimal numbers")
    return None


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address really leads to, if it is of such a kind."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _special(address: Address) -> str | None:
    if isinstance(address, IPv4Address):
        return next((what for network, what in _SPECIAL_4.items() if address in network), None)
    what = next((what for network, what in _SPECIAL_6.items() if address in network), None)
    return what or (None if address in _UNICAST_6 else _RESERVED)
