"""Fingerprints group dead letters of one cause."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from taskflow.domain.dead_letter import DeadLetter
from taskflow.engine.bury import fingerprint


def letter(error: Any, name: str = "demo", **fields: Any) -> DeadLetter:
    kept: dict[str, Any] = {
        "id": "l", "task_id": "t", "life": 1, "queue": "default", "reason": "permanent", "status": "pending",
        "attempts": 1, "fingerprint": None, "worker_id": None, "created_at": "2026-11-22T00:00:00.000000Z",
        "handled_at": None, "resolved_at": None, "tags": [], "worker_version": None, "previous_id": None,
        "resolved_by": None, "resolved_reason": None, "operation_id": None,
    }  # fmt: skip
    raw = None if error is None else msgspec.Raw(msgspec.json.encode(error))
    return DeadLetter(type=name, error=raw, **(kept | fields))


def told(message: str, traceback: str | None = None, kind: str = "ValueError", name: str = "demo") -> str:
    return fingerprint(letter({"type": kind, "message": message, "traceback": traceback}, name))


TRACE = 'Traceback (most recent call last):\n  File "{file}", line {line}, in {function}\n    boom()\nValueError: no'


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("user 17 is gone", "user 8123 is gone"),
        ("no row 019ab000-0000-7000-8000-000000000001", "no row 019ab000-1111-7000-8000-00000000beef"),
        ("object at 0x7f3a9c", "object at 0xDEADBEEF"),
        ("missing 'name'", "missing 'e-mail'"),
        ('missing "name"', 'missing "e-mail"'),
    ],
)
def test_what_varies_makes_no_difference(one: str, other: str) -> None:
    assert told(one) == told(other)


def test_cause_type_and_place_make_a_difference() -> None:
    here = TRACE.format(file="a.py", line=3, function="send")
    assert told("no", here) == told("no", TRACE.format(file="a.py", line=99, function="send"))
    assert told("no", here) != told("no", TRACE.format(file="b.py", line=3, function="send"))
    assert told("no", here) != told("no", TRACE.format(file="a.py", line=3, function="fetch"))
    assert told("no") != told("yes")
    assert told("no") != told("no", kind="KeyError")
    assert told("no") != told("no", name="other")


def test_it_is_sixteen_hex_digits_whatever_the_error() -> None:
    for error in (None, {}, {"type": "X", "message": None, "traceback": None}, {"message": "x" * 100_000}):
        found = fingerprint(letter(error))
        assert len(found) == 16
        assert int(found, 16) >= 0


def test_task_queue_and_time_make_no_difference() -> None:
    error = {"type": "X", "message": "no", "traceback": None}
    one, other = letter(error), letter(error, task_id="u", queue="mail", life=3, worker_id="w")
    assert fingerprint(one) == fingerprint(other)
