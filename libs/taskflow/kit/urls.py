"""Reads URLs strictly: what two programs could read differently is refused. Used by `egress`.

A host comes out as what is really connected to: an address in any of the ways that browsers and `inet_aton` take
(`0x7f.1`, `2130706433`, `[::ffff:7f00:1]`, full-width digits), or a name in lower-case ASCII without a last dot.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple
from urllib.parse import quote

from taskflow.kit.ranges import Address

URL_CHARACTERS_MAX = 2_000
HOST_CHARACTERS_MAX = 253
DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?")
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"0x([0-9a-f]{0,32})|(0[0-7]{0,32})|([1-9][0-9]{0,32})")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DISPUTED = frozenset("ßẞς\u200c\u200d")
"""Letters that the two editions of IDNA read differently: one host to some programs, another to others."""
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


class BadUrl(ValueError):
    """Not a URL that can be used; says what is expected."""


class Parts(NamedTuple):
    """A URL taken apart. `port` is the scheme's if none is written; `target` is path and query, ASCII."""

    scheme: str
    host: str | Address
    port: int
    target: str


def split(url: str) -> Parts:
    """The parts of `url`; its fragment is dropped. Raises BadUrl."""
    _check_characters(url)
    found = _URL.fullmatch(url)
    if found is None:
        raise BadUrl("not a URL; expected one such as https://example.com/path")
    scheme, authority, path, query = found[1].lower(), found[2], found[3], found[4] or ""
    if "@" in authority:
        raise BadUrl("the URL holds a user or a password; expected https://host/path")
    host_and_port = _AUTHORITY.fullmatch(authority)
    if not authority or host_and_port is None or not host_and_port[1]:
        raise BadUrl("the URL has no host, or a port that is no number; expected https://host:port/path")
    port = int(host_and_port[2]) if host_and_port[2] else DEFAULT_PORTS.get(scheme, 0)
    if port > 65_535:
        raise BadUrl(f"the port of the URL is {port}; expected at most 65535")
    return Parts(scheme, _host(host_and_port[1]), port, quote((path or "/") + query, safe=_VISIBLE))


def _check_characters(url: str) -> None:
    if len(url) > URL_CHARACTERS_MAX:
        raise BadUrl(f"the URL has {len(url)} characters; expected at most {URL_CHARACTERS_MAX}")
    for character in url:
        if character == "\\" or character.isspace() or unicodedata.category(character) in ("Cc", "Cs"):
            raise BadUrl(
                f"the URL holds {character!a}; expected no spaces, control characters or backslashes"
            )


def _host(text: str) -> str | Address:
    if text.startswith("["):
        try:
            return IPv6Address(text[1:-1])
        except ValueError:
            raise BadUrl(f"{text} is no IPv6 address; expected one such as [2001:db8::1]") from None
    name = _ascii(text).removesuffix(".")
    labels = name.split(".")
    if len(name) > HOST_CHARACTERS_MAX or not all(map(_LABEL.fullmatch, labels)):
        raise BadUrl(
            f"{ascii(text)[1:-1][:100]} is no host; expected a name such as example.com, or an address"
        )
    return _numeric(labels) if _NUMERIC.fullmatch(labels[-1]) else name


def _ascii(text: str) -> str:
    """The name as it is looked up. IDNA knows full-width digits and other dots; what it leaves of them is judged after."""
    if text.isascii():
        return text.lower()
    if len(text) > HOST_CHARACTERS_MAX:
        raise BadUrl(
            f"the host of the URL has {len(text)} characters; expected at most {HOST_CHARACTERS_MAX}"
        )
    try:
        if not _DISPUTED.isdisjoint(text):
            raise UnicodeError
        return text.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise BadUrl(
            f"{ascii(text)[1:-1][:100]} is no host; expected a name such as example.com, or its xn-- form"
        ) from None


def _numeric(labels: list[str]) -> IPv4Address:
    """An IPv4 address as `inet_aton` reads it: one to four numbers, the last filling what is left."""
    numbers = [_number(label) for label in labels]
    *heads, last = numbers
    if len(numbers) > 4 or any(head > 255 for head in heads) or last >= 256 ** (4 - len(heads)):
        raise _no_address(labels)
    for place, head in enumerate(heads):
        last += head << (24 - 8 * place)
    return IPv4Address(last)


def _number(label: str) -> int:
    found = _NUMBER.fullmatch(label)
    if found is None:
        raise _no_address([label])
    hexadecimal, octal, decimal = found.groups()
    if hexadecimal is not None:
        return int(hexadecimal or "0", 16)
    return int(octal, 8) if octal is not None else int(decimal)


def _no_address(labels: list[str]) -> BadUrl:
    return BadUrl(f"{'.'.join(labels)[:100]} is no IPv4 address; expected one such as 192.0.2.1")
