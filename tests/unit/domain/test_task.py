"""Lanes, states and errors: small tables that everything else leans on."""

from __future__ import annotations

import pytest

from taskflow.domain import errors
from taskflow.domain.errors import RetryLater, Snooze, TaskflowError
from taskflow.domain.task import LANE_NAMES, Lane
from taskflow.domain.transitions import LIVE, MOVES, REPLAYABLE, TERMINAL, Status, may_move


@pytest.mark.parametrize(
    ("number", "lane"),
    [(0, "low"), (34, "low"), (35, "normal"), (64, "normal"), (65, "high"), (89, "high"), (90, "critical"),
     (100, "critical")],
)  # fmt: skip
def test_numbers_name_lanes(number: int, lane: str) -> None:
    assert Lane.of_number(number).label == lane


def test_lanes_are_ordered_by_urgency() -> None:
    assert [lane.label for lane in sorted(Lane)] == list(LANE_NAMES) == ["critical", "high", "normal", "low"]
    assert [Lane.named(name) for name in LANE_NAMES] == list(Lane)
    with pytest.raises(KeyError):
        Lane.named("urgent")


def test_every_state_has_its_moves_and_only_replay_leads_out_of_an_end() -> None:
    assert set(MOVES) == set(Status)
    assert set(Status) == TERMINAL | LIVE
    assert frozenset() == TERMINAL & LIVE
    for status in TERMINAL:
        assert MOVES[status] == ({Status.QUEUED} if status in REPLAYABLE else frozenset())
    assert may_move(Status.QUEUED, Status.RUNNING)
    assert not may_move(Status.COMPLETED, Status.QUEUED)
    assert not may_move(Status.SCHEDULED, Status.RUNNING)


def test_only_what_runs_can_complete_or_fail() -> None:
    assert {s for s in Status if may_move(s, Status.COMPLETED)} == {Status.RUNNING}
    assert {s for s in Status if may_move(s, Status.FAILED)} == {Status.RUNNING}
    assert {s for s in Status if may_move(s, Status.CANCELLED)} == LIVE


@pytest.mark.parametrize("kind", [RetryLater, Snooze])
@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 31_536_001])
def test_a_delay_out_of_bounds_is_refused_where_it_is_raised(kind: type[Snooze], seconds: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 31536000"):
        kind(seconds)


def test_every_coded_error_has_a_code_of_its_own_and_a_title() -> None:
    kinds = [kind for kind in vars(errors).values()
             if isinstance(kind, type) and issubclass(kind, TaskflowError)]  # fmt: skip
    codes = [kind.code for kind in kinds]
    assert len(set(codes)) == len(codes)
    for kind in kinds:
        assert kind.title()
        assert str(kind()) == kind.title()
        assert str(kind("told")) == "told"
