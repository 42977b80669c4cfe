"""Queries, times, cursors, names and fingerprints."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.domain.errors import BadCursor, Invalid, UnknownField
from taskflow_api.cursors import (
    PAGING,
    bind,
    decode_cursor,
    decode_id,
    decode_number,
    encode_cursor,
    slice_after,
)
from taskflow_api.fingerprint import request_hash
from taskflow_api.names import QUERY_SYNONYMS, SUBMIT_SYNONYMS, nearest
from taskflow_api.queries import one_of, parts_of, read_query, seconds, time_of
from taskflow_api.submission import lane_of
from taskflow_api.times import instant

PARAMETERS = (
    one_of("status", ("queued", "running"), ""),
    parts_of("include", ("payload", "result"), ""),
    time_of("created_after", ""),
    seconds("wait", 60, ""),
    *PAGING,
)


def test_a_query_has_values_defaults_and_tuples() -> None:
    values = read_query(b"status=queued&status=running&include=result,payload&wait=1.5e1", PARAMETERS)
    assert values["status"] == ("queued", "running")
    assert values["include"] == ("result", "payload")
    assert values["wait"] == 15.0
    assert (values["limit"], values["cursor"], values["created_after"]) == (100, None, None)


def test_all_faults_of_a_query_are_told() -> None:
    with pytest.raises(Invalid) as caught:
        read_query(b"status=x&limit=0&wait=61&state=queued&limit=1&limit=2", PARAMETERS)
    parameters = [problem.parameter for problem in caught.value.problems]
    assert parameters == ["state", "status", "limit", "wait", "limit", "limit"]
    with pytest.raises(UnknownField):
        read_query(b"x=1&=&%00=1", PARAMETERS)


@given(st.binary())
def test_any_query_is_read_or_refused(raw: bytes) -> None:
    with suppress(Invalid, UnknownField):
        read_query(raw, PARAMETERS)


TIMES = [
    ("2026-11-22T00:54:52Z", datetime(2026, 11, 22, 0, 54, 52, tzinfo=UTC)),
    ("2026-11-22t00:54:52.1234567z", datetime(2026, 11, 22, 0, 54, 52, 123456, tzinfo=UTC)),
    ("2026-11-22 00:54:52+02:30", datetime(2026, 11, 21, 22, 24, 52, tzinfo=UTC)),
    ("2026-06-30T23:59:60Z", datetime(2026, 7, 1, tzinfo=UTC)),
    ("1970-01-01T00:00:00+01:00", datetime(1970, 1, 1, tzinfo=UTC)),
    ("0000-02-29T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
    ("9999-12-31T23:59:59-23:59", datetime(9999, 1, 1, tzinfo=UTC)),
]
NO_TIMES = [
    "", "2026-11-22", "2026-11-22T00:54:52", "2026-11-22T24:00:00Z", "2026-02-30T00:00:00Z", "1766361292",
    "2026-11-22T00:54:52+24:00", "2026-11-22T00:54:52+01:60", "2026-11-22T00:54:61Z", "2026-11-22T00:54:52Z\n",
]  # fmt: skip


@pytest.mark.parametrize(("text", "moment"), TIMES)
def test_times(text: str, moment: datetime) -> None:
    assert instant(text) == moment


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="offset"):
        instant(text)


@given(st.datetimes(datetime(1971, 1, 1), datetime(9998, 12, 30)), st.integers(-1439, 1439))
def test_every_moment_is_read(local: datetime, minutes: int) -> None:
    moment = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert instant(moment.isoformat()) == moment


@given(st.text(), st.text(), st.text())
def test_a_cursor_is_good_for_its_list_alone(name: str, filters: str, last: str) -> None:
    cursor = encode_cursor(bind(name, filters), last)
    assert decode_cursor(bind(name, filters), cursor) == last
    with pytest.raises(BadCursor):
        decode_cursor(bind(name, filters, "more"), cursor)


@given(st.text())
def test_other_texts_are_no_cursors(text: str) -> None:
    with pytest.raises(BadCursor):
        decode_cursor(bind("list"), text)


@pytest.mark.parametrize("last", ["", "7", "abc", "\0", "1" * 40, "١", "-1", "1.0"])
def test_a_cursor_made_by_hand_names_an_id_or_a_number(last: str) -> None:
    cursor = encode_cursor(bind("list"), last)
    with pytest.raises(BadCursor):
        decode_id(bind("list"), cursor)
    if last in ("", "7"):
        assert decode_number(bind("list"), cursor) == int(last or 0)
        return
    with pytest.raises(BadCursor):
        decode_number(bind("list"), cursor)


def test_slices_go_on_after_a_row() -> None:
    rows = ["a", "b", "c"]
    assert slice_after(rows, None, 2, str) == (["a", "b"], "b")
    assert slice_after(rows, "b", 2, str) == (["c"], None)
    assert slice_after(rows, "gone", 2, str) == ([], None)
    assert slice_after([], None, 2, str) == ([], None)


def test_nearest_names() -> None:
    known = ["max_attempts", "delay_seconds", "payload", "target"]
    assert nearest("max_tries", known, SUBMIT_SYNONYMS) == "max_attempts"
    assert nearest("task_url", known, SUBMIT_SYNONYMS) == "target.url"
    assert nearest("delay", known, SUBMIT_SYNONYMS) == "delay_seconds"
    assert nearest("payloda", known, SUBMIT_SYNONYMS) == "payload"
    assert nearest("zzzzzz", known, SUBMIT_SYNONYMS) is None
    assert nearest("state", ["limit"], QUERY_SYNONYMS) is None


SAME = [
    (b'{"a":1}', b' { "a" : 1.0 } '),
    (b'{"a":1,"b":2}', b'{"b":2e0,"a":10E-1}'),
    (b"[100000000000000000000000]", b"[1e23]"),
    (b"[0]", b"[-0.0]"),
    (b"[0.10]", b"[1e-1]"),
    (b'"\\u00e9"', '"é"'.encode()),
]
DIFFERENT = [
    (b'{"a":1}', b'{"a":2}'),
    (b"[1e400]", b"[1e401]"),
    (b"[1]", b"[-1]"),
    (b"[1]", b'["1"]'),
    (b'{"k":1,"k":2}', b'{"k":2}'),
    (b'{"a":1}', b'["a",1]'),
    (b'{"":"1e0"}', b"1"),
    (b"[100000000000000000000001]", b"[100000000000000000000002]"),
    (b"null", b"{}"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_value(one: bytes, other: bytes) -> None:
    assert request_hash("POST /", one) == request_hash("POST /", other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_value(one: bytes, other: bytes) -> None:
    assert request_hash("POST /", one) != request_hash("POST /", other)
    assert request_hash("POST /a", one) != request_hash("POST /b", one)


def test_priorities_have_lanes() -> None:
    lanes = [lane_of(value) for value in (None, "critical", "low", 100, 90, 89.9, 65, 64, 35, 34.9, 0)]
    assert lanes == [2, 0, 3, 0, 0, 1, 1, 2, 2, 3, 3]
