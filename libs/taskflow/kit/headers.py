"""Headers of requests as callers may ask for them: nothing that changes how a request is framed or whom it is for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

HEADERS_MAX = 100
HEADERS_BYTES_MAX = 32 * 1024
OURS = frozenset(
    {
        "connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""They frame the request or belong to the connection: whoever sends it writes them."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile("[\x20-\x7e\xa0-\xff]*")


def forbidden_headers(headers: Sequence[tuple[str, str]]) -> str | None:
    """Why these headers cannot be sent, or None if they can."""
    size = sum(len(name) + len(value) + 4 for name, value in headers)
    if len(headers) > HEADERS_MAX or size > HEADERS_BYTES_MAX:
        return f"{len(headers)} headers of {size} bytes; expected at most {HEADERS_MAX} of {HEADERS_BYTES_MAX} bytes"
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            return f"{name[:50]!a} is not the name of a header; expected letters, digits and hyphens"
        if name.lower() in OURS or name.lower().startswith("proxy-"):
            return f"the header {name[:50]} is not to be set; it belongs to the connection"
        if not _VALUE.fullmatch(value) or value != value.strip():
            return f"the header {name[:50]} holds what no header can; expected visible Latin-1 without spaces around"
    return None


def names_of(headers: Iterable[tuple[str, str]]) -> set[str]:
    """The names, in lower case."""
    return {name.lower() for name, _ in headers}
