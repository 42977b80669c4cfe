"""Reading what callers submit: quickly if it is right, and telling all that is wrong if not."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.domain.errors import Invalid, TaskflowError, TooLarge, UnknownField
from taskflow.domain.task import Lane
from taskflow_api import faults
from taskflow_api.submission import Batch, Submission, judge, new_task

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ODD: list[Any] = [
    None, True, 0, 1, 5.0, 1.5, -1, 10**30, "", "x", "normal", "a b", "a\n", "x" * 300, "a\u0000", [], ["x"], [1], {},
    {"a": 1}, {"strategy": "fixed"}, {"factor": 0}, "2026-12-01T00:00:00Z", "2026-12-01T00:00:00+02:00",
    "2026-12-01T00:00:00", "2020-01-01T00:00:00Z", "9999-12-31T00:00:00Z", ["x"] * 21, {"url": "https://example.org"},
]  # fmt: skip
FIELDS = [field.name for field in msgspec.structs.fields(Submission)]


def quick(body: bytes) -> Submission | None:
    """What the quick decoder takes."""
    try:
        said = msgspec.json.decode(body, type=Submission)
    except msgspec.ValidationError:
        return None
    return None if any(True for _ in judge(said, NOW)) else said


def slow(body: bytes) -> Submission | TaskflowError:
    try:
        return faults.one(body, NOW)
    except TaskflowError as error:
        return error


def plain(said: Submission) -> dict[str, Any]:
    """For comparing: raw JSON as bytes."""
    values = {name: getattr(said, name) for name in FIELDS}
    return {name: bytes(value) if isinstance(value, msgspec.Raw) else value for name, value in values.items()}


@given(st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(ODD), max_size=5))
def test_both_ways_take_and_refuse_the_same(members: dict[str, Any]) -> None:
    body = json.dumps({"type": "echo", **members}).encode()
    taken, judged = quick(body), slow(body)
    if taken is None:
        assert isinstance(judged, TaskflowError)
        assert judged.problems
    else:
        assert isinstance(judged, Submission)
        assert plain(judged) == plain(taken)


@given(st.dictionaries(st.text(max_size=10), st.sampled_from(ODD), max_size=5))
def test_any_object_is_taken_or_refused_with_places(members: dict[str, Any]) -> None:
    judged = slow(json.dumps(members).encode())
    if isinstance(judged, TaskflowError):
        assert isinstance(judged, Invalid | UnknownField)
        assert all(problem.pointer is not None for problem in judged.problems)


def test_a_task_of_all_that_was_said() -> None:
    body = b'{"type":"echo","payload": [1.0, 1e400] ,"priority":70,"max_attempts":5.0,"metadata":{"b":1.0,"a":2}}'
    task = new_task(msgspec.json.decode(body, type=Submission))
    assert (task.payload, task.metadata) == ("[1.0, 1e400]", '{"b":1.0,"a":2}')
    assert (task.lane, task.max_attempts, task.queue) == (Lane.HIGH, 5, "default")
    assert type(task.max_attempts) is int
    assert new_task(msgspec.json.decode(b'{"type":"a","payload":null}', type=Submission)).payload == "null"
    assert new_task(Submission(type="a")).payload == "{}"


def test_every_fault_is_told_once() -> None:
    judged = slow(
        b'{"task_type":"a b","priorty":1,"queue":"","tags":["\\u0000",1],"retry":{"factor":0,"x":1}}'
    )
    assert isinstance(judged, Invalid)
    assert [problem.pointer for problem in judged.problems] == [
        "/task_type", "/priorty", "/queue", "/tags/0", "/tags/1", "/retry/factor", "/retry/x", "/type",
    ]  # fmt: skip


def test_one_kind_of_fault_gives_its_code() -> None:
    assert isinstance(slow(b'{"type":"a","max_tries":1,"delay":1}'), UnknownField)
    big = json.dumps({"type": "a", "payload": "x" * 262_143}).encode()
    assert quick(big.replace(b"xxx", b"x", 1)) is not None
    assert isinstance(slow(big), TooLarge)
    assert isinstance(slow(b'{"type":"a","max_tries":1,"priority":-1}'), Invalid)


def test_a_batch_tells_of_100_faults_at_most() -> None:
    items: list[Any] = [{"type": "a"}] * 50 + [{"type": "a", "x": 1}] * 500
    with pytest.raises(UnknownField) as caught:
        faults.batch(json.dumps({"items": items}).encode(), NOW)
    pointers = [problem.pointer for problem in caught.value.problems]
    assert pointers == [f"/items/{at}/x" for at in range(50, 150)]


def test_a_batch_of_oddities_that_are_right() -> None:
    items = [{"task_type": "a"}, {"type": "b", "callback": None}, {"type": "c", "idempotency_key": "k"}]
    said = faults.batch(json.dumps({"items": items}).encode(), NOW)
    assert [(item.type, item.idempotency_key) for item in said] == [("a", None), ("b", None), ("c", "k")]


def test_10_000_items_are_read_quickly() -> None:
    item = {"type": "echo", "payload": {"n": 1, "l": [1, {"a": "b"}]}, "priority": "high", "tags": ["a", "b"]}
    body = json.dumps({"items": [item] * 10_000}).encode()
    begun = time.process_time()
    items = msgspec.json.decode(body, type=Batch).items
    assert not [fault for one in items for fault in judge(one, NOW)]
    assert len({new_task(one).id for one in items}) == 10_000
    assert time.process_time() - begun < 0.6  # 0.1 s on an idle machine
