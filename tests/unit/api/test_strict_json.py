"""Is it JSON at all?"""

from __future__ import annotations

import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.domain.errors import MalformedJson
from taskflow_api.strict_json import DEPTH_MAX, check_grammar, check_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def check(body: bytes) -> None:
    """Both checks, as the routes make them."""
    check_text(body)
    check_grammar(body)


@given(VALUES)
def test_all_json_is_taken(value: object) -> None:
    check(json.dumps(value).encode())
    check(json.dumps(value, ensure_ascii=False, indent=1).encode())


@given(st.binary())
def test_any_bytes_are_taken_as_json_or_refused(body: bytes) -> None:
    try:
        check(body)
    except MalformedJson:
        return
    msgspec.json.decode(body, type=msgspec.Raw)


GOOD = [
    b"1e400",
    b"1" * 10_000,
    b'"\\u0000"',
    b'"\\ud83d\\ude00"',
    b'"\\\\ud800"',
    b'{"a":1,"a":2}',
    b'"[[[["',
    b"-0",
]
BAD = [
    b"", b" \n", b"nul", b"NaN", b"-Infinity", b"01", b"1.", b"+1", b"[1,]", b'{"a":1,}', b"{'a':1}", b'"\x01"', b'"\\x"',
    b'"\\ud800"', b'"\\udc00"', b'"\\ud800\\u0041"', b'"\\udc00\\ud800"', b'{"\\ud800":1}', b"\xff", b'"\xed\xa0\x80"',
    b'"\xc0\x80"', b"\xef\xbb\xbf{}", b"{} {}", b"[" * 100_000, b"]" * 200, b'"' + b"[" * 200, b"/* */1",
]  # fmt: skip


@pytest.mark.parametrize("body", GOOD)
def test_odd_json(body: bytes) -> None:
    check(body)


@pytest.mark.parametrize("body", BAD)
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(MalformedJson):
        check(body)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"[":', b"}]")])
def test_nesting_has_a_limit(opening: bytes, closing: bytes) -> None:
    levels = opening.count(b"[") - opening.count(b'"[') + opening.count(b"{")
    most = DEPTH_MAX // levels
    check(opening * most + b"1" + closing * most)
    with pytest.raises(MalformedJson, match="nested"):
        check(opening * (most + 1) + b"1" + closing * (most + 1))


def test_brackets_in_texts_and_side_by_side_are_no_nesting() -> None:
    check(json.dumps(["[" * 500, '"[[[', {"{": "{" * 500}]).encode())
    check(json.dumps([[[]]] * 50_000).encode())


def test_hostile_nesting_is_refused_quickly() -> None:
    begun = time.perf_counter()
    for body in (b"[" * 1_048_576, b"[" * 524_288 + b"]" * 524_288, b'[[],{"a":' * 100_000):
        with pytest.raises(MalformedJson):
            check(body)
    assert time.perf_counter() - begun < 2
