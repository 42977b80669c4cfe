"""Who really calls: the peer of the connection, or whom a proxy of ours names (TRUSTED_PROXIES).

Only what a trusted proxy says counts, and of that only what it added itself: the list in X-Forwarded-For is
read from its end, and the first address that is no proxy of ours is the caller. What stands before it, the
caller may have written. `Forwarded` (RFC 7239) is not read.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litestar.types import HTTPScope

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"
"""The address of a caller whose connection was gone before it could be asked."""
HOPS_MAX = 20
"""Proxies in a row that are followed; no path of ours is longer."""
_KNOWN_MAX = 4096
_PREFIX_IPV6 = 64
"""What one customer is given at least: within it he picks addresses as he likes."""
_IPV4_MAPPED = IPv6Network("::ffff:0:0/96")
_SCHEMES = {b"http": "http", b"https": "https"}


class Proxies:
    """The proxies whose word counts. Without any, the peer is the caller."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._networks = tuple(map(read_network, trusted))
        # By text: one look an address, not one a request.
        self._known = lru_cache(maxsize=_KNOWN_MAX)(self._look_up)

    def caller(self, scope: HTTPScope) -> tuple[str, str]:
        """The caller's address, and the scheme he came by."""
        client, scheme = scope.get("client"), scope.get("scheme", "http")
        if not client:
            return UNKNOWN, scheme
        address, is_trusted = self._known(client[0]) or (client[0], False)
        return self._forwarded(scope, address, scheme) if is_trusted else (address, scheme)

    def _forwarded(self, scope: HTTPScope, proxy: str, scheme: str) -> tuple[str, str]:
        hops: list[bytes] = []
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                hops += value.rsplit(b",", HOPS_MAX)
            elif name == b"x-forwarded-proto":
                scheme = _SCHEMES.get(value.rpartition(b",")[2].strip().lower(), scheme)
        address = proxy
        for hop in reversed(hops[-HOPS_MAX:]):
            said = self._known(hop.decode("latin-1"))
            if said is None:
                break
            address, is_trusted = said
            if not is_trusted:
                break
        return address, scheme

    def _look_up(self, text: str) -> tuple[str, bool] | None:
        """An address as we write it, and whether it is a proxy of ours; None if it is no address."""
        address = _read(_without_port(text))
        if address is None:
            return None
        return str(address), any(address in network for network in self._networks)


def read_network(text: str) -> Network:
    """An address or a CIDR, or ValueError that says what is wrong with it."""
    network = ipaddress.ip_network(text)
    if network.prefixlen == 0:
        raise ValueError(f"{text} is everybody")
    if isinstance(network, IPv6Network) and network.subnet_of(_IPV4_MAPPED):
        raise ValueError(f"{text} is IPv4: write {network.network_address.ipv4_mapped}")
    return network


def _without_port(text: str) -> str:
    """The host of `1.2.3.4:5`, `[::1]:5`, or of a bare address."""
    host = text.strip()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


@lru_cache(maxsize=_KNOWN_MAX)
def network_of(address: str) -> str:
    """What limits and lockouts count: an IPv4 address by itself, an IPv6 address with its whole /64."""
    found = _read(address)
    if not isinstance(found, IPv6Address):
        return address if found is None else str(found)
    return str(IPv6Network((int(found), _PREFIX_IPV6), strict=False))


def _read(text: str) -> Address | None:
    """An address; IPv4 within IPv6 is IPv4. A zone (`%eth0`) means something to this machine alone."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
