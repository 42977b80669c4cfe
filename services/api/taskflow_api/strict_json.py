"""Is it JSON at all? Checked on the bytes of a body, before anything is decoded from them.

The routes keep payloads as the very text that came (`msgspec.Raw`); msgspec checks the grammar and the pairs
of surrogates inside such text, but not its UTF-8, and its recursion ends in an error of the interpreter.
"""

from __future__ import annotations

import re
from itertools import accumulate

import msgspec

from taskflow.domain.errors import MalformedJson

DEPTH_MAX = 128

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_ROUNDS = 8
_raw_decoder = msgspec.json.Decoder(msgspec.Raw)


def check_text(body: bytes) -> None:
    """Refuse an empty body, bytes that are no UTF-8, and nesting over 128: what msgspec does not look at."""
    if not body.strip():
        raise MalformedJson("the body is empty; expected JSON")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise MalformedJson(f"the body is not UTF-8 (byte {error.start})") from None
    # Fewer brackets than levels allowed is the usual case, and costs two scans in C.
    if body.count(b"[") + body.count(b"{") > DEPTH_MAX and _is_deep(body):
        raise MalformedJson(f"the body is nested deeper than {DEPTH_MAX} levels")


def check_grammar(body: bytes) -> None:
    """Refuse text that is not JSON. For bodies that a typed decoder has refused for any reason."""
    try:
        _raw_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error) from None


def malformed(error: Exception) -> MalformedJson:
    """What msgspec found, in our words."""
    said = str(error).removeprefix("JSON is malformed: ")
    return MalformedJson(f"the body is not JSON: {said}")


def _is_deep(body: bytes) -> bool:
    """Whether brackets outside of strings ever stand deeper than allowed."""
    brackets = left = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    # What is wide but shallow, a batch, is gone after a few rounds in C; each takes one or two levels away.
    for _ in range(_ROUNDS):
        left = left.replace(b"[]", b"").replace(b"{}", b"")
    return _deeper_than(DEPTH_MAX - 2 * _ROUNDS, left) and _deeper_than(DEPTH_MAX, brackets)


def _deeper_than(limit: int, brackets: bytes) -> bool:
    return any(depth > limit for depth in accumulate(map(_STEP.__getitem__, brackets)))
