"""The strict encoder: what is a result, and what is not."""

from __future__ import annotations

import enum
import json
from collections import OrderedDict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct, field

from taskflow.handlers.results import DEPTH_MAX, RESULT_BYTES_MAX, UnstorableResult, encode_result


class Colour(enum.Enum):
    RED = "red"


class Word(str):
    __slots__ = ()


class Half(float):
    __slots__ = ()


class Stamp(datetime):
    pass


class Shape(Struct, rename="camel"):
    side_count: int
    colours: list[Any] = field(default_factory=list)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def short(value: Any) -> str:
    """A test's id: some of the values are too large to be one."""
    return value[:20] if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        ((1, 2.5, True, "ü"), '[1,2.5,true,"ü"]'),
        (OrderedDict(z=1, a=Word("w")), '{"z":1,"a":"w"}'),
        (Half(0.5), "0.5"),
        (10**30, "1" + "0" * 30),
        (Shape(3, [Colour.RED]), '{"sideCount":3,"colours":["red"]}'),
        (datetime(2026, 1, 2, tzinfo=UTC), '"2026-01-02T00:00:00Z"'),
        ([UUID(int=1), Decimal("1.10")], '["00000000-0000-0000-0000-000000000001","1.10"]'),
        ("a\x00b", '"a\\u0000b"'),
        ({"a\ud800": ["\udfff", Shape(1, ["\ud83d"])]}, '{"a�":["�",{"sideCount":1,"colours":["�"]}]}'),
        (["\ud800", Raw(b"1e400")], '["�",1e400]'),
        (Stamp(2026, 1, 2, tzinfo=UTC), '"2026-01-02T00:00:00+00:00"'),
        ({"raw": Raw(b'{"b":1e400, "b":2}')}, '{"raw":{"b":1e400, "b":2}}'),
        (nested(DEPTH_MAX), "[" * DEPTH_MAX + "1" + "]" * DEPTH_MAX),
    ],
    ids=short,
)
def test_json_is_written(value: Any, text: str) -> None:
    assert encode_result(value) == text


def shared(levels: int) -> Any:
    """A small value that is enormous when written out."""
    value: Any = []
    for _ in range(levels):
        value = [value] * 10
    return value


def cyclic() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "finite"),
        ({"a": [float("-inf")]}, r"at result\.a\[0\]"),
        (Decimal("NaN"), "finite"),
        ({1, 2}, "set"),
        (Shape(1, [frozenset()]), r"frozenset.*at result\.colours\[0\]"),
        (b"bytes", "bytes"),
        (object(), "object"),
        ({1: 2}, "key"),
        (1j, "complex"),
        (10**5000, "not JSON"),
        (10**900_000, "over"),
        ("x" * RESULT_BYTES_MAX, "over"),
        ("ü" * (RESULT_BYTES_MAX // 2), "over"),
        ("\x00" * (RESULT_BYTES_MAX // 2), "over"),
        (nested(DEPTH_MAX + 1), "deep"),
        (cyclic(), "deep"),
        (shared(100), "over"),
        (Raw(b"not json"), "not JSON"),
        (Raw(b"[NaN]"), "not JSON"),
        (Raw(b'"\xff"'), "not JSON"),
        (Raw(b'["\\ud800"]'), "surrogate"),
        (Raw(b"[" * 200 + b"]" * 200), "deep"),
        (Raw(b"[" * 100_000), "not JSON"),
        (Raw(b""), "not JSON"),
    ],
    ids=short,
)
def test_all_else_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(UnstorableResult, match=reason):
        encode_result(value)


def test_the_given_payload_goes_back_byte_for_byte() -> None:
    text = '{"z":1,"a":1.0,"b":1e400,"d":"x\\u0000y","k":1,"k":2}'
    payload = Raw(text)
    assert encode_result(payload, payload, text) == text
    assert encode_result({"echo": payload}, payload, text) == '{"echo":' + text + "}"


def test_an_escaped_pair_in_raw_is_no_fault() -> None:
    text = r'["😀","\\ud800"]'
    assert encode_result(Raw(text)) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
)


@given(JSON)
def test_what_is_json_reads_back_the_same(value: Any) -> None:
    assert json.loads(encode_result(value)) == value
