"""What every answer bears, and why:

- it is what its content-type says, and nothing a browser finds in it;
- no page but ours shows it in a frame, embeds it, or holds a handle on its window; it runs nothing;
- no cache keeps it; where it links to, nobody learns where from;
- who came by https comes by https for a year.

A reply that brings one of these itself keeps its own: `/docs` has a policy that lets its script run.
"""

from __future__ import annotations

from taskflow_api.cors import Fields

_CORP = b"cross-origin-resource-policy"
COMMON: Fields = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (_CORP, b"same-origin"),
)
_HTTPS = ((b"strict-transport-security", b"max-age=31536000"),)
_SHARED = tuple(field for field in COMMON if field[0] != _CORP)
_REPLACED = frozenset(name for name, _ in COMMON)
_VARIANTS: dict[tuple[bool, bool], Fields] = {
    (False, False): COMMON,
    (False, True): _SHARED,
    (True, False): COMMON + _HTTPS,
    (True, True): _SHARED + _HTTPS,
}


def common_headers(*, is_https: bool, is_shared: bool) -> Fields:
    """The headers of an answer; `is_shared`: a page of another origin may read it."""
    return _VARIANTS[is_https, is_shared]


def beside(own: list[tuple[bytes, bytes]], common: Fields) -> Fields:
    """What of `common` a reply with headers of its `own` still needs."""
    brought = _REPLACED.intersection([name for name, _ in own])
    return tuple(field for field in common if field[0] not in brought) if brought else common
