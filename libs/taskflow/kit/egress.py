"""What this program may reach when others say where to: hosts of the whole internet, and what is allowed by name.

`check` judges a URL without touching a network, `resolve` the addresses behind its name. Whoever connects (`outgoing`)
connects to what `resolve` gave and asks no resolver again: a name that answers differently the next time wins nothing.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from msgspec import Struct

from taskflow.kit.ranges import LOOPBACK, Address, Network, plain, translated, use_of
from taskflow.kit.resolver import NameNotResolved, system_resolver
from taskflow.kit.urls import DEFAULT_PORTS, BadUrl, split

__all__ = ["BadUrl", "Destination", "Egress", "EgressRefused", "NameNotResolved", "egress", "system_resolver"]

Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]
"""`await resolver(host, port)`: all addresses of a name; NameNotResolved if it has none."""

PORTS = ("80", "443", "1024-65535")
SCHEMES = ("https", "http")
ALLOW_EXPECTED = "addresses and networks such as 10.0.0.5, 10.0.0.0/8 or fd00::/8, or loopback"
PORTS_EXPECTED = "ports and ranges of ports such as 443 or 1024-65535"
SCHEMES_EXPECTED = "https, http or both"
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_MAPPED = IPv6Network("::ffff:0:0/96")
_LOCALHOST = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


class EgressRefused(Exception):
    """What must not be reached from here; says what, and why."""


class Destination(Struct, frozen=True):
    """Where a URL leads. `host` is a name in lower-case ASCII or an address; `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def host_header(self) -> str:
        """The host as HTTP writes it: with brackets, and with the port if it is not the scheme's."""
        return self._bracketed if self.port == DEFAULT_PORTS[self.scheme] else self.place

    @property
    def origin(self) -> str:
        """`https://example.org:443`."""
        return f"{self.scheme}://{self.place}"

    @property
    def place(self) -> str:
        """Host and port, for messages."""
        return f"{self._bracketed}:{self.port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


class Egress(Struct, frozen=True):
    """What may be reached: every global address, those in `allow`; by these ports and schemes alone."""

    allow: tuple[Network, ...] = ()
    ports: tuple[tuple[int, int], ...] = ((80, 80), (443, 443), (1_024, 65_535))
    schemes: tuple[str, ...] = SCHEMES

    def check(self, url: str) -> Destination:
        """Where `url` leads, as far as it can be told without asking for a name. Raises BadUrl, EgressRefused."""
        scheme, host, port, target = split(url)
        if scheme not in self.schemes:
            raise EgressRefused(
                f"the scheme {scheme[:20]} is not allowed; expected {' or '.join(self.schemes)}"
            )
        if not any(first <= port <= last for first, last in self.ports):
            raise EgressRefused(f"port {port} is not allowed; expected {_in_words(self.ports)}")
        if isinstance(host, str):
            self._check_name(host)
        else:
            self.judge(host)
            if isinstance(host, IPv6Address) and host.scope_id is not None:
                raise BadUrl(f"{host} has a zone; expected an address without one")
            host = str(plain(host))
        return Destination(scheme, host, port, target)

    def judge(self, address: Address, name: str | None = None) -> None:
        """Raises EgressRefused if `address`, which `name` stands for, is neither global nor allowed."""
        address = plain(address)
        if any(address in network for network in self.allow):
            return
        said = f"{address} is" if name is None else f"{name} is {address},"
        if (use := use_of(address)) is not None:
            raise EgressRefused(f"{said} {use}")
        inner = translated(address)
        if inner is not None:
            self.judge(inner, name or str(address))

    async def resolve(self, host: str, port: int, resolver: Resolver = system_resolver) -> list[Address]:
        """The addresses of `host`, each judged: one that is refused refuses them all. Raises NameNotResolved too."""
        try:
            found: Sequence[Address] = [ip_address(host)]
        except ValueError:
            found = await resolver(host, port)
            if not found:
                raise NameNotResolved(f"{host} has no address") from None
            for address in found:
                self.judge(address, host)
        else:
            self.judge(found[0])
        return [plain(address) for address in found]

    def _check_name(self, host: str) -> None:
        """Names that mean this machine by their letters; all others are judged by what they stand for."""
        is_loopback = host == "localhost" or host.endswith(".localhost")
        if is_loopback and not any(ours in network for ours in _LOCALHOST for network in self.allow):
            raise EgressRefused(f"{host} is a loopback name")


ANYWHERE = Egress((ip_network("0.0.0.0/0"), ip_network("::/0")), ((1, 65_535),))
"""For who reads a URL that another will be judged by."""


def egress(
    allow: Sequence[str] = (), ports: Sequence[str] = PORTS, schemes: Sequence[str] = SCHEMES
) -> Egress:
    """An Egress of settings' texts. Raises ValueError, which says what is expected."""
    return Egress(allowed(allow), port_ranges(ports), known_schemes(schemes))


def allowed(texts: Sequence[str]) -> tuple[Network, ...]:
    """The networks of CIDRs, addresses and the word `loopback`. Raises ValueError."""
    networks: list[Network] = []
    for text in texts:
        networks += LOOPBACK if text == "loopback" else [_network(text)]
    return tuple(networks)


def port_ranges(texts: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """First and last port of each text. Raises ValueError."""
    ranges: list[tuple[int, int]] = []
    for text in texts:
        found = _RANGE.fullmatch(text)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last <= 65_535:
            raise ValueError(f"{text!r} is not a range of ports from 1 to 65535; expected {PORTS_EXPECTED}")
        ranges.append((first, last))
    return tuple(ranges)


def known_schemes(texts: Sequence[str]) -> tuple[str, ...]:
    """The schemes, if HTTP knows them. Raises ValueError."""
    for text in texts:
        if text not in DEFAULT_PORTS:
            raise ValueError(f"{text!r} is not a scheme; expected {SCHEMES_EXPECTED}")
    return tuple(texts)


def _network(text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(f"{error}; expected {ALLOW_EXPECTED}") from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        raise ValueError(f"{text} is IPv4; expected {network.network_address.ipv4_mapped}")
    return network


def _in_words(ranges: Sequence[tuple[int, int]]) -> str:
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges) or "none"
