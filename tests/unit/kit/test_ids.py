"""Ids: their order is the order of making, and their time is read from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from taskflow.kit.clock import now
from taskflow.kit.ids import first_id_at, id_time, is_id, new_id


def test_later_ids_are_greater_and_none_comes_twice() -> None:
    made = [new_id() for _ in range(5_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_an_id_knows_when_it_was_made() -> None:
    before = now() - timedelta(milliseconds=2)
    assert before <= id_time(new_id()) <= now() + timedelta(milliseconds=2)


def test_the_first_id_of_a_moment_bounds_the_ids_made_from_then_on() -> None:
    moment = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert id_time(first_id_at(moment)) == moment
    assert first_id_at(moment) < first_id_at(moment + timedelta(milliseconds=1))
    assert first_id_at(now() - timedelta(seconds=1)) < new_id() < first_id_at(now() + timedelta(seconds=1))


@pytest.mark.parametrize(
    "text", ["019ab000-0000-7000-8000-000000000001", "019AB000-0000-7000-8000-00000000000F"]
)
def test_canonical_text_is_an_id(text: str) -> None:
    assert is_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "1", "019ab00000007000800000000000000a", "{019ab000-0000-7000-8000-000000000001}", "x" * 36, "\0"],
)
def test_other_text_is_none(text: str) -> None:
    assert not is_id(text)
