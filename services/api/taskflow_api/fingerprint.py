"""Is it the same request? A hash over a call's route and the *value* of its body, for idempotency keys.

White space, the order of members and the way a number is written (1, 1.0, 1e0) make no difference; doubled
members do, since payloads keep them.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any

import msgspec

_NUMBER = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_EXPONENT_DIGITS_MAX = 100


def request_hash(route: str, body: bytes) -> bytes:
    """SHA-256 of `route` and the value of the JSON text `body`, whose nesting is known to be bounded."""
    value = _decoder.decode(body.decode())
    return sha256(route.encode() + b"\n" + msgspec.json.encode(value, order="sorted")).digest()


def _members(pairs: list[tuple[str, Any]]) -> dict[str, list[Any]]:
    """An object as name -> values; lists and numbers cannot look like one."""
    value: dict[str, list[Any]] = {}
    for name, member in pairs:
        value.setdefault(name, []).append(member)
    return value


def _number(text: str) -> dict[str, str]:
    """A number of any size by its digits without zeros at the ends, and its exponent."""
    match = _NUMBER.fullmatch(text)
    if match is None or len(match[4] or "") > _EXPONENT_DIGITS_MAX:
        return {"": text}
    sign, whole, part, exponent = match[1], match[2], match[3] or "", int(match[4] or "0")
    digits = (whole + part).lstrip("0")
    kept = digits.rstrip("0")
    if not kept:
        return {"": "0"}
    return {"": f"{sign}{kept}e{exponent - len(part) + len(digits) - len(kept)}"}


_decoder = json.JSONDecoder(object_pairs_hook=_members, parse_int=_number, parse_float=_number)
