"""Reading `callback` and `target`: each fault with its place, and the flat names of an older system."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from taskflow.domain.callback import EVENTS, CallbackWish, TargetWish
from taskflow.domain.errors import Invalid, Problem, TaskflowError, UnknownField
from taskflow_api import faults
from taskflow_api.nested import as_said
from taskflow_api.submission import Submission, new_task

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
URL = "https://example.org/hook"
CALLBACK, TARGET = "expected an object with a url, or null", "is required; expected a URL such as"
MANY = {f"X-{at}": "v" for at in range(65)}


def read(**members: Any) -> Submission:
    return faults.one(json.dumps(members).encode(), NOW)


def refused(**members: Any) -> TaskflowError:
    with pytest.raises(TaskflowError) as caught:
        read(**members)
    return caught.value


OF_BOTH: list[tuple[Any, str, str]] = [
    # what is said, below which pointer, the words
    ([], "", CALLBACK),
    (URL, "", CALLBACK),
    (7, "", CALLBACK),
    (True, "", CALLBACK),
    ({}, "/url", TARGET),
    ({"url": None}, "/url", "expected a URL"),
    ({"url": 7}, "/url", "expected a URL"),
    ({"url": ""}, "/url", "expected a URL"),
    ({"url": [URL]}, "/url", "expected a URL"),
    ({"url": URL + "x" * 2_000}, "/url", "expected a URL"),
    ({"url": URL, "headers": []}, "/headers", "at most 64 names of headers and their values"),
    ({"url": URL, "headers": {"X-A": 1}}, "/headers", "at most 64 names of headers and their values"),
    ({"url": URL, "headers": {"X-A": None}}, "/headers", "at most 64 names of headers and their values"),
    ({"url": URL, "headers": {"X-A": ["a"]}}, "/headers", "at most 64 names of headers and their values"),
    ({"url": URL, "headers": MANY}, "/headers", "at most 64 names of headers and their values"),
]
OF_CALLBACKS: list[tuple[Any, str, str]] = [
    ({"events": []}, "/events", "a list of some of task.succeeded, task.failed,"),
    ({"events": "task.failed"}, "/events", "a list of some of"),
    ({"events": ["task.done"]}, "/events", "a list of some of"),
    ({"events": ["task.test"]}, "/events", "a list of some of"),
    ({"events": ["task.failed", 7]}, "/events", "a list of some of"),
    ({"events": [["task.failed"]]}, "/events", "a list of some of"),
    ({"events": ["task.failed"] * 7}, "/events", "a list of some of"),
    ({"secret": "x" * 15}, "/secret", "whsec_ and base64 of 24 to 64 bytes, or 16 to 255 visible ASCII"),
    ({"secret": "x" * 256}, "/secret", "whsec_"),
    ({"secret": 7}, "/secret", "whsec_"),
    ({"secret": ["x" * 20]}, "/secret", "whsec_"),
    ({"max_attempts": 0}, "/max_attempts", "a whole number from 1 to 100"),
    ({"max_attempts": 101}, "/max_attempts", "a whole number from 1 to 100"),
    ({"max_attempts": 1.5}, "/max_attempts", "a whole number from 1 to 100"),
    ({"max_attempts": True}, "/max_attempts", "a whole number from 1 to 100"),
    ({"max_attempts": "5"}, "/max_attempts", "a whole number from 1 to 100"),
    ({"max_attempts": 10**30}, "/max_attempts", "a whole number from 1 to 100"),
]
OF_TARGETS: list[tuple[Any, str, str]] = [
    ({"method": "GET"}, "/method", "POST, PUT or PATCH"),
    ({"method": "post"}, "/method", "POST, PUT or PATCH"),
    ({"method": ""}, "/method", "POST, PUT or PATCH"),
    ({"method": 7}, "/method", "POST, PUT or PATCH"),
]
KINDS = [
    *[(name, *case) for name in ("callback", "target") for case in OF_BOTH],
    *[("callback", {"url": URL, **said}, pointer, words) for said, pointer, words in OF_CALLBACKS],
    *[("target", {"url": URL, **said}, pointer, words) for said, pointer, words in OF_TARGETS],
]


@pytest.mark.parametrize(("name", "said", "pointer", "words"), KINDS)
def test_every_kind_of_fault_has_its_place(name: str, said: Any, pointer: str, words: str) -> None:
    for more in ({"type": "echo"}, {"type": "echo", "name": None}):
        error = refused(**more, **{name: said})
        assert isinstance(error, Invalid)
        [problem] = error.problems
        assert problem.pointer == f"/{name}{pointer}"
        assert words in problem.detail
    with pytest.raises(Invalid) as caught:
        faults.batch(json.dumps({"items": [{"type": "a"}] * 7 + [{"type": "a", name: said}]}).encode(), NOW)
    assert [problem.pointer for problem in caught.value.problems] == [f"/items/7/{name}{pointer}"]


@pytest.mark.parametrize("said", [{"url": 7}, {"url": URL, "uri": 1}, 7], ids=str)
@pytest.mark.parametrize("kind", [None, "http.push"])
def test_a_target_with_a_fault_is_no_missing_one(said: Any, kind: str | None) -> None:
    """What hangs on it, that a type need not be said beside it, is not told as well."""
    error = refused(type=kind, target=said)
    assert len(error.problems) == 1
    assert (error.problems[0].pointer or "").startswith("/target")


UNKNOWN = [
    ("callback", "max_tries", "max_attempts"), ("callback", "uri", "url"), ("callback", "event", "events"),
    ("callback", "signing_secret", "secret"), ("callback", "header", "headers"), ("callback", "URL", "url"),
    ("target", "uri", "url"), ("target", "verb", "method"), ("target", "http_method", "method"),
    ("target", "endpoint", "url"), ("target", "Headers", "headers"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "member", "meant"), UNKNOWN)
def test_an_unknown_member_is_told_the_nearest_name(name: str, member: str, meant: str) -> None:
    error = refused(type="echo", **{name: {"url": URL, member: 1}})
    assert isinstance(error, UnknownField)
    [problem] = error.problems
    assert problem.pointer == f"/{name}/{member}"
    assert problem.detail.endswith(f"did you mean {meant}?")


def test_members_of_the_other_kind_are_unknown() -> None:
    """A target has no secret of its own, and a callback no method."""
    for name, member in (
        ("target", "secret"),
        ("target", "events"),
        ("target", "max_attempts"),
        ("callback", "method"),
    ):
        error = refused(type="echo", **{name: {"url": URL, member: None}})
        assert isinstance(error, UnknownField)
        assert "expected one of" in error.problems[0].detail or "did you mean" in error.problems[0].detail


def test_all_faults_are_told_at_once() -> None:
    error = refused(
        callback={"events": [], "secret": "x", "max_attempts": 0, "a/b~": 1},
        target={"url": "", "method": "GET"},
    )
    assert [problem.pointer for problem in error.problems] == [
        "/callback/a~1b~0", "/callback/url", "/callback/events", "/callback/secret", "/callback/max_attempts",
        "/target/url", "/target/method",
    ]  # fmt: skip


def test_what_is_right_is_read_alike_on_both_ways() -> None:
    callback = {
        "url": URL, "events": list(EVENTS), "headers": {"X-A": "b"}, "secret": "x" * 16, "max_attempts": 5.0,
    }  # fmt: skip
    target = {"url": URL, "method": "PATCH", "headers": None}
    body = json.dumps({"callback": callback, "target": target}).encode()
    quick, slow = msgspec.json.decode(body, type=Submission), faults.one(body, NOW)
    assert quick.callback == slow.callback == CallbackWish(**callback)  # type: ignore[arg-type]
    assert quick.target == slow.target == TargetWish(URL, "PATCH")
    assert new_task(slow).type == "http.push"
    kept = read(type="mine", target=target)
    assert new_task(kept).type == "mine"


@pytest.mark.parametrize(
    "null", [{"callback": None}, {"target": None}, {"callback_url": None, "callback_secret": None}]
)
def test_null_is_not_said(null: dict[str, None]) -> None:
    said = read(type="echo", **null)
    assert (said.callback, said.target) == (None, None)


def test_a_push_needs_a_target_and_all_else_a_type() -> None:
    for more in ({}, {"target": None}):
        assert [problem.pointer for problem in refused(type="http.push", **more).problems] == ["/target"]
        assert [problem.pointer for problem in refused(**more).problems] == ["/type"]
    assert [problem.pointer for problem in refused(callback={"url": URL}).problems] == ["/type"]


def test_the_flat_names_of_an_older_system() -> None:
    said = read(
        type="echo",
        callback_url=URL,
        callback_events=["task.revoked", "task.failed"],
        callback_headers={"X-A": "b"},
        callback_secret="x" * 20,
        callback_max_attempts=3,
    )
    wanted = CallbackWish(URL, ["task.cancelled", "task.failed"], {"X-A": "b"}, "x" * 20, 3)
    assert said.callback is not None
    assert msgspec.to_builtins(said.callback) == msgspec.to_builtins(wanted)
    mixed = read(
        task_type="echo", callback=None, callback_url=URL, callback_events=None, callback_headers=None
    )
    assert msgspec.to_builtins(mixed.callback) == msgspec.to_builtins(CallbackWish(URL))


def test_revoked_is_read_within_a_callback_too() -> None:
    said = read(type="echo", callback={"url": URL, "events": ["task.revoked"]})
    assert said.callback == CallbackWish(URL, ["task.cancelled"])


FLAT: list[tuple[dict[str, Any], dict[str, str]]] = [
    # members, and the words by pointer
    ({"callback_events": ["task.failed"]}, {"/callback_url": TARGET}),
    ({"callback_secret": "x" * 20}, {"/callback_url": TARGET}),
    ({"callback_url": URL, "callback_events": ["task.done"]}, {"/callback_events": "a list of some of"}),
    ({"callback_url": URL, "callback_events": "task.revoked"}, {"/callback_events": "a list of some of"}),
    ({"callback_url": URL, "callback_headers": [1]}, {"/callback_headers": "64 names of headers"}),
    ({"callback_url": URL, "callback_secret": "x"}, {"/callback_secret": "whsec_"}),
    ({"callback_url": URL, "callback_max_attempts": 0}, {"/callback_max_attempts": "1 to 100"}),
    ({"callback_url": 7, "callback_max_attempts": 0}, {"/callback_url": "a URL", "/callback_max_attempts": "1 to 100"}),
    ({"callback_url": URL, "callback": {"url": URL}}, {"/callback_url": "stands beside callback; expected one of"}),
    ({"callback_secret": "x" * 20, "callback": {"url": URL}}, {"/callback_secret": "stands beside callback"}),
    ({"callback_url": URL, "callback": 7}, {"/callback": CALLBACK, "/callback_url": "stands beside callback"}),
]  # fmt: skip


@pytest.mark.parametrize(("members", "told"), FLAT)
def test_faults_of_the_flat_names_point_to_them(members: dict[str, Any], told: dict[str, str]) -> None:
    error = refused(type="echo", **members)
    assert isinstance(error, Invalid)
    assert {problem.pointer for problem in error.problems} == set(told)
    assert all(told[problem.pointer or ""] in problem.detail for problem in error.problems)
    with pytest.raises(Invalid) as caught:
        faults.batch(json.dumps({"items": [{"type": "a"}, {"type": "a", **members}]}).encode(), NOW)
    assert {problem.pointer for problem in caught.value.problems} == {f"/items/1{place}" for place in told}


def test_flat_names_that_nobody_knows() -> None:
    near = {"callback_uri": "callback_url", "callback_event": "callback_events", "callback_header": "callback_headers",
            "task_url": "target.url", "webhook_url": "callback.url"}  # fmt: skip
    for name, meant in near.items():
        error = refused(type="echo", **{name: URL})
        assert isinstance(error, UnknownField)
        assert error.problems[0].detail.endswith(f"did you mean {meant}?"), error.problems


def test_a_refusal_points_to_the_name_that_was_said() -> None:
    flat = read(type="echo", callback_url=URL).callback
    nested = read(type="echo", callback={"url": URL}).callback
    for at in ("", "/items/7"):
        for pointer, meant in (("/callback/secret", "/callback_secret"), ("/callback", "/callback_url"),
                               ("/target/url", "/target/url"), ("/target", "/target")):  # fmt: skip
            problem = Problem("no", pointer=f"{at}{pointer}")
            assert as_said(problem, nested, at) == as_said(problem, None, at) == problem
            assert as_said(problem, flat, at).pointer == f"{at}{meant}"
