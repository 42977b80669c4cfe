"""decide, case by case: the contract's section 2 as a table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.domain.samples import ERROR, NOW, make_claimed

from taskflow.domain.attempt import (
    Cancelled,
    Failed,
    Lost,
    Outcome,
    Released,
    Snoozed,
    Succeeded,
    TimedOut,
)
from taskflow.domain.decide import SNOOZES_MAX, Decision, decide

FAILED, TIMED_OUT, LOST = Failed(ERROR), TimedOut(ERROR), Lost(ERROR)
DIED, PERMANENT = Failed(ERROR, died=True), Failed(ERROR, permanent=True)
LATER = Failed(ERROR, delay_seconds=7)
RELEASED, UNBEGUN = Released("drain"), Released("drain", begun=False)
SNOOZED = Snoozed(3)


def judged(outcome: Outcome, **fields: Any) -> Decision:
    return decide(make_claimed(**fields), outcome, NOW, roll=0.5, poison_losses_max=3)


# the task's fields, the outcome, then what is decided: (status, execution, attempt, losses, bury, seconds until due)
CASES: list[tuple[dict[str, Any], Outcome, tuple[str, str, int, int, str | None, float | None]]] = [
    ({}, Succeeded("1"), ("completed", "succeeded", 1, 0, None, None)),
    ({"losses": 2}, Succeeded("1"), ("completed", "succeeded", 1, 0, None, None)),
    ({}, FAILED, ("retrying", "failed", 1, 0, None, 2)),
    ({"attempt": 4}, FAILED, ("retrying", "failed", 4, 0, None, 2)),
    ({"attempt": 5}, FAILED, ("failed", "failed", 5, 0, "attempts_exhausted", None)),
    ({"max_attempts": 1}, FAILED, ("failed", "failed", 1, 0, "attempts_exhausted", None)),
    ({"losses": 2}, FAILED, ("retrying", "failed", 1, 0, None, 2)),
    ({}, TIMED_OUT, ("retrying", "timed_out", 1, 0, None, 2)),
    ({"attempt": 5}, TIMED_OUT, ("failed", "timed_out", 5, 0, "attempts_exhausted", None)),
    ({"losses": 2}, TIMED_OUT, ("retrying", "timed_out", 1, 0, None, 2)),
    ({}, PERMANENT, ("failed", "failed", 1, 0, "permanent", None)),
    ({"attempt": 5}, PERMANENT, ("failed", "failed", 5, 0, "permanent", None)),
    ({}, LATER, ("retrying", "failed", 1, 0, None, 7)),
    ({"attempt": 5}, LATER, ("failed", "failed", 5, 0, "attempts_exhausted", None)),
    # deaths: the first loss in a row goes back at once, the second waits, the third is poison
    ({}, LOST, ("queued", "lost", 1, 1, None, None)),
    ({"losses": 1, "attempt": 2}, LOST, ("retrying", "lost", 2, 2, None, 2)),
    ({"losses": 2, "attempt": 3}, LOST, ("failed", "lost", 3, 3, "poison", None)),
    ({"losses": 2, "attempt": 5}, LOST, ("failed", "lost", 5, 3, "poison", None)),
    ({"attempt": 5}, LOST, ("failed", "lost", 5, 1, "attempts_exhausted", None)),
    ({"max_attempts": 1}, LOST, ("failed", "lost", 1, 1, "attempts_exhausted", None)),
    ({}, DIED, ("retrying", "failed", 1, 1, None, 2)),
    ({"losses": 2}, DIED, ("failed", "failed", 1, 3, "poison", None)),
    # ends in order spend nothing
    ({"attempt": 3, "losses": 1}, RELEASED, ("queued", "released", 2, 1, None, None)),
    ({"attempt": 5}, RELEASED, ("queued", "released", 4, 0, None, None)),
    ({"attempt": 1}, UNBEGUN, ("queued", "released", 0, 0, None, None)),
    ({"max_attempts": 1}, UNBEGUN, ("queued", "released", 0, 0, None, None)),
    ({"max_attempts": 1}, RELEASED, ("failed", "lost", 1, 1, "attempts_exhausted", None)),
    ({"attempt": 3, "losses": 1}, SNOOZED, ("retrying", "released", 2, 1, None, 3)),
    ({"attempt": 5}, SNOOZED, ("retrying", "released", 4, 0, None, 3)),
    ({"snoozes": SNOOZES_MAX - 1}, SNOOZED, ("retrying", "released", 0, 0, None, 3)),
    ({"snoozes": SNOOZES_MAX}, SNOOZED, ("failed", "failed", 1, 0, "permanent", None)),
    ({}, Cancelled(), ("cancelled", "cancelled", 1, 0, None, None)),
]


@pytest.mark.parametrize(("fields", "outcome", "expected"), CASES)
def test_what_an_end_leads_to(fields: dict[str, Any], outcome: Outcome, expected: tuple[Any, ...]) -> None:
    decision = judged(outcome, **fields)
    status, execution, attempt, losses, bury, seconds = expected
    due_at = None if seconds is None else NOW + timedelta(seconds=seconds)
    assert (decision.status, decision.execution) == (status, execution)
    assert (decision.attempt, decision.losses, decision.bury) == (attempt, losses, bury)
    assert decision.due_at == due_at


def test_a_result_is_kept_and_an_error_is_not() -> None:
    decision = judged(Succeeded('{"a":1.0}'))
    assert (decision.result, decision.error) == ('{"a":1.0}', None)


def test_snoozes_are_counted_and_released_attempts_keep_the_count() -> None:
    assert judged(SNOOZED, snoozes=4).snoozes == 5
    assert judged(RELEASED, snoozes=4).snoozes == 4
    assert judged(FAILED, snoozes=4).snoozes == 4


def test_too_many_snoozes_are_explained() -> None:
    error = judged(SNOOZED, snoozes=SNOOZES_MAX).error
    assert error is not None
    assert "1000" in error.message


def test_one_allowed_loss_makes_the_first_poison() -> None:
    decision = decide(make_claimed(), LOST, NOW, roll=0, poison_losses_max=1)
    assert decision.bury == "poison"


def test_the_dice_move_only_the_due_time() -> None:
    low = decide(make_claimed(), FAILED, NOW, roll=0.0, poison_losses_max=3)
    high = decide(make_claimed(), FAILED, NOW, roll=0.999, poison_losses_max=3)
    assert low == high
