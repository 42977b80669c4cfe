"""Pages: a cursor names the last row shown, and is good only for the list and the filters it came from."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from taskflow.domain.errors import BadCursor
from taskflow.kit.ids import is_id
from taskflow_api.queries import Parameter, whole
from taskflow_api.replies import Reply, answer

LIMIT_MAX = 200
LIMIT = whole("limit", 1, LIMIT_MAX, 100, "How many items a page holds at most")
_CURSOR_CHARS_MAX = 3_000
"""Some name a URL."""
_DIGEST_BYTES = 12
_VERSION = b"1"
_NUMBER = re.compile("[0-9]{1,16}")

Item = TypeVar("Item")


def _text(text: str) -> str:
    return text[: _CURSOR_CHARS_MAX + 1]


CURSOR = Parameter(
    "cursor",
    "Where the page begins: `next_cursor` of the page before, with the same filters",
    {"type": "string"},
    _text,
)
PAGING = (LIMIT, CURSOR)


def bind(*parts: Any) -> bytes:
    """What a cursor is bound to: the list and its filters."""
    return msgspec.json.encode(parts)


def encode_cursor(bound: bytes, last: str) -> str:
    """A cursor after the row named `last`."""
    raw = _VERSION + _digest(bound, last) + last.encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_cursor(bound: bytes, cursor: str | None) -> str | None:
    """The row a cursor names. Raises BadCursor for one of another list, of other filters, or altered."""
    if cursor is None:
        return None
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        last = raw[1 + _DIGEST_BYTES :].decode()
    except ValueError:
        raise BadCursor("the cursor cannot be read; expected next_cursor of the page before") from None
    if encode_cursor(bound, last) != cursor:
        raise BadCursor(
            "the cursor is not of this list with these filters; expected next_cursor of the page before"
        )
    return last


def decode_id(bound: bytes, cursor: str | None) -> str | None:
    """The id a cursor names; as `decode_cursor`. The digest has no secret in it: anybody can make a cursor."""
    last = decode_cursor(bound, cursor)
    if last is not None and not is_id(last):
        raise BadCursor("the cursor names no id; expected next_cursor of the page before")
    return last


def decode_number(bound: bytes, cursor: str | None) -> int:
    """The number a cursor names, 0 without one; as `decode_id`."""
    last = decode_cursor(bound, cursor) or "0"
    if _NUMBER.fullmatch(last) is None:
        raise BadCursor("the cursor names no number; expected next_cursor of the page before")
    return int(last)


def _digest(bound: bytes, last: str) -> bytes:
    return sha256(bound + b"\n" + last.encode()).digest()[:_DIGEST_BYTES]


def page(
    path: str, query: bytes, items: Sequence[Any], next_cursor: str | None, told: dict[str, Any] | None = None
) -> Reply:
    """The answer of a list: its items, and where the next page is; `told`: what else this list says."""
    headers = []
    if next_cursor is not None:
        kept = [pair for pair in parse_qsl(query.decode(), keep_blank_values=True) if pair[0] != "cursor"]
        target = f"{quote(path)}?{urlencode([*kept, ('cursor', next_cursor)])}"
        headers.append(("link", f'<{target}>; rel="next"'))
    return answer({"items": items, "next_cursor": next_cursor, **(told or {})}, headers=headers)


def slice_after(
    rows: Sequence[Item], after: str | None, limit: int, key: Callable[[Item], str]
) -> tuple[Sequence[Item], str | None]:
    """A page of a list that is here as a whole, and the key of its last row if more follow."""
    start = 0
    if after is not None:
        start = next((at + 1 for at, row in enumerate(rows) if key(row) == after), len(rows))
    shown = rows[start : start + limit]
    return shown, key(shown[-1]) if start + limit < len(rows) else None
