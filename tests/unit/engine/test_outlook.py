"""When a queued task will start, as far as its place tells."""

from __future__ import annotations

import pytest

from taskflow.engine.outlook import AHEAD_MAX, Line, outlook


@pytest.mark.parametrize(
    ("line", "seconds", "by"),
    [
        (Line(4, 1, 9, 2, 5.0), 0.0, "slots_free"),
        (Line(4, 1, 9, 3, 5.0), 0.2, "starts_per_second"),  # the fourth, of three slots free
        (Line(4, 4, 9, 0, 5.0), 0.2, "starts_per_second"),
        (Line(4, 4, 9, 99, 5.0, 8.0), 20.0, "starts_per_second"),
        (Line(4, 4, 9, 7, 0.0, 3.0), 6.0, "run_seconds"),  # two rounds of four
        (Line(4, 9, 9, 0, 0.0, 3.0), 0.75, "run_seconds"),
    ],
)
def test_the_start_is_estimated_by_what_is_known(line: Line, seconds: float, by: str) -> None:
    numbers = outlook(line).numbers
    assert (numbers["estimated_start_seconds"], numbers["estimated_by"]) == (seconds, by)
    assert f"it may start in {seconds:.1f} s" in outlook(line).words


def test_nothing_is_estimated_from_nothing() -> None:
    numbers = outlook(Line(4, 4, 9, 3)).numbers
    assert numbers["estimated_start_seconds"] is None
    assert numbers["estimated_by"].startswith("unknown: none started in the last 5 minutes")
    unheard = outlook(Line(4, 4, 9, 3, 5.0), doorbells_heard=False)
    assert unheard.numbers["estimated_start_seconds"] is None


def test_of_very_many_it_is_told_that_there_are_at_least_as_many() -> None:
    some, many = outlook(Line(4, 4, 20_000, AHEAD_MAX - 1)), outlook(Line(4, 4, 20_000, AHEAD_MAX))
    assert (some.numbers["position"], some.numbers["position_is_at_least"]) == (9_999, False)
    assert (many.numbers["position"], many.numbers["position_is_at_least"]) == (10_000, True)
    assert many.words.startswith("at least 10000 tasks start before it")


def test_more_busy_than_slots_is_told_as_full() -> None:
    """A worker that was started anew with fewer slots."""
    numbers = outlook(Line(4, 6, 0, 0)).numbers
    assert (numbers["busy"], numbers["slots_free"]) == (4, 0)
