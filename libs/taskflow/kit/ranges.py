"""What addresses are for: those of the whole internet, and all others. Used by `egress`.

Written out after IANA's registries of special-purpose addresses: what `ipaddress` calls global differs between versions
of Python, and in some of them is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))

# The first that fits is told: within a table the narrower ones stand first.
_SPECIAL: Sequence[tuple[Network, str]] = (
    (IPv4Network("0.0.0.0/8"), "an address of this host"),
    (IPv4Network("10.0.0.0/8"), "a private address"),
    (IPv4Network("100.64.0.0/10"), "an address of a provider's own network"),
    (IPv4Network("127.0.0.0/8"), "a loopback address"),
    (IPv4Network("168.63.129.16/32"), "a cloud platform's own address"),  # Azure's, the same in every network
    (IPv4Network("169.254.0.0/16"), "a link-local address"),  # the metadata of clouds: 169.254.169.254
    (IPv4Network("172.16.0.0/12"), "a private address"),
    (IPv4Network("192.0.0.0/24"), "an address for protocols"),
    (IPv4Network("192.0.2.0/24"), "an address for documentation"),
    (IPv4Network("192.88.99.0/24"), "a 6to4 relay's address"),
    (IPv4Network("192.168.0.0/16"), "a private address"),
    (IPv4Network("198.18.0.0/15"), "an address for benchmarks"),
    (IPv4Network("198.51.100.0/24"), "an address for documentation"),
    (IPv4Network("203.0.113.0/24"), "an address for documentation"),
    (IPv4Network("224.0.0.0/4"), "a multicast address"),
    (IPv4Network("255.255.255.255/32"), "the broadcast address"),
    (IPv4Network("240.0.0.0/4"), "a reserved address"),
    (IPv6Network("::/128"), "the unspecified address"),
    (IPv6Network("::1/128"), "a loopback address"),
    (IPv6Network("::/96"), "an IPv4-compatible address"),
    (IPv6Network("64:ff9b:1::/48"), "a local NAT64 address"),
    (IPv6Network("100::/64"), "an address whose packets are discarded"),
    (IPv6Network("2001::/32"), "a Teredo address"),
    (IPv6Network("2001:db8::/32"), "an address for documentation"),
    (IPv6Network("2001::/23"), "an address for protocols"),
    (IPv6Network("2002::/16"), "a 6to4 address"),
    (IPv6Network("3fff::/20"), "an address for documentation"),
    (IPv6Network("fc00::/7"), "a private address"),
    (IPv6Network("fe80::/10"), "a link-local address"),
    (IPv6Network("fec0::/10"), "a site-local address"),
    (IPv6Network("ff00::/8"), "a multicast address"),
)
_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_IPV6 = IPv6Network("2000::/3")
"""What has been given out so far; nothing beyond it is anybody's."""


def plain(address: Address) -> Address:
    """`address`, or the IPv4 address that is written as an IPv6 one (`::ffff:127.0.0.1`)."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def translated(address: Address) -> IPv4Address | None:
    """The IPv4 address that a NAT64 gateway connects to for this one."""
    if isinstance(address, IPv6Address) and address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def use_of(address: Address) -> str | None:
    """What a plain address is for if it is not global, as in "a loopback address". That of a NAT64 gateway is."""
    for network, use in _SPECIAL:
        if address in network:
            return use
    if isinstance(address, IPv6Address) and address not in _GLOBAL_IPV6 and address not in _NAT64:
        return "a reserved address"
    return None
