"""What holds of every decision, whatever the attempt and however it ended."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests.property.attempts import claims, outcomes, policies
from tests.unit.domain.samples import NOW, make_claimed

from taskflow.domain.attempt import Cancelled, ExecutionStatus, Failed, Lost, Outcome, Released, Snoozed
from taskflow.domain.decide import SNOOZES_MAX, Decision, decide
from taskflow.domain.retry import RetryPolicy, retry_delay
from taskflow.domain.task import Claimed
from taskflow.domain.transitions import Status, may_move

rolls = st.floats(0, 1, exclude_max=True)
limits = st.integers(1, 100)
SPENDING = {ExecutionStatus.FAILED, ExecutionStatus.TIMED_OUT, ExecutionStatus.LOST}


def judged(task: Claimed, outcome: Outcome, roll: float = 0.5, losses_max: int = 3) -> Decision:
    return decide(task, outcome, NOW, roll=roll, poison_losses_max=losses_max)


@given(claims(), outcomes, rolls, limits)
def test_every_decision_is_an_arrow_of_the_picture(
    task: Claimed, outcome: Outcome, roll: float, losses_max: int
) -> None:
    assert may_move(Status.RUNNING, judged(task, outcome, roll, losses_max).status)


@given(claims(), outcomes, rolls, limits)
def test_a_due_time_goes_with_retrying_alone_and_is_never_past(
    task: Claimed, outcome: Outcome, roll: float, losses_max: int
) -> None:
    decision = judged(task, outcome, roll, losses_max)
    assert (decision.due_at is not None) == (decision.status is Status.RETRYING)
    assert decision.due_at is None or decision.due_at >= NOW


@given(claims(), outcomes, rolls, limits)
def test_a_letter_goes_with_failed_alone(
    task: Claimed, outcome: Outcome, roll: float, losses_max: int
) -> None:
    decision = judged(task, outcome, roll, losses_max)
    assert (decision.bury is not None) == (decision.status is Status.FAILED)
    assert decision.status is not Status.FAILED or decision.error is not None


@given(claims(), outcomes, rolls, limits)
def test_only_failed_timed_out_and_lost_spend_an_attempt(
    task: Claimed, outcome: Outcome, roll: float, losses_max: int
) -> None:
    decision = judged(task, outcome, roll, losses_max)
    spent = decision.execution is not ExecutionStatus.RELEASED
    assert decision.attempt == (task.attempt if spent else task.attempt - 1)


@given(claims(), outcomes, rolls, limits)
def test_what_goes_on_has_an_attempt_left(
    task: Claimed, outcome: Outcome, roll: float, losses_max: int
) -> None:
    decision = judged(task, outcome, roll, losses_max)
    if decision.status in {Status.QUEUED, Status.RETRYING}:
        assert decision.attempt < task.max_attempts
        assert decision.losses < max(losses_max, task.losses + 1)
        assert decision.snoozes <= SNOOZES_MAX


@given(claims(), outcomes, limits)
def test_poison_outranks_exhausted(task: Claimed, outcome: Outcome, losses_max: int) -> None:
    decision = judged(task, outcome, losses_max=losses_max)
    died = decision.losses > task.losses
    assert (decision.bury == "poison") == (died and decision.losses >= losses_max)


@given(claims(), outcomes)
def test_losses_are_counted_in_a_row(task: Claimed, outcome: Outcome) -> None:
    decision = judged(task, outcome)
    match outcome:
        case Lost() | Failed(died=True):
            assert decision.losses == task.losses + 1
        case Released(begun=True) if task.max_attempts == 1:
            assert decision.losses == task.losses + 1
        case Released() | Snoozed() if decision.status is not Status.FAILED:
            assert decision.losses == task.losses
        case _:
            assert decision.losses == 0


@given(claims(), outcomes, rolls)
def test_the_same_question_has_the_same_answer(task: Claimed, outcome: Outcome, roll: float) -> None:
    assert judged(task, outcome, roll) == judged(task, outcome, roll)


@given(st.integers(1, 12), st.integers(1, 5), st.lists(outcomes, min_size=1, max_size=60))
def test_no_life_spends_more_attempts_than_it_has(
    max_attempts: int, losses_max: int, ends: list[Outcome]
) -> None:
    """A life told from its first claim: each end is decided, and the next claim goes on from the row."""
    attempt = losses = snoozes = spent = starts = 0
    for end in ends:
        task = make_claimed(
            attempt=attempt + 1, max_attempts=max_attempts, losses=losses, snoozes=snoozes, number=starts + 1
        )
        starts += not (isinstance(end, Released) and not end.begun)
        decision = judged(task, end, losses_max=losses_max)
        spent += decision.execution in SPENDING
        attempt, losses, snoozes = decision.attempt, decision.losses, decision.snoozes
        assert task.attempt <= max_attempts
        if decision.status not in {Status.QUEUED, Status.RETRYING}:
            break
        assert spent == attempt
        assert max_attempts > 1 or starts == 0 or isinstance(end, Snoozed)
        if max_attempts == 1 and isinstance(end, Snoozed):
            break
    assert spent <= max_attempts


@given(claims())
def test_a_cancelled_attempt_only_closes_itself(task: Claimed) -> None:
    decision = judged(task, Cancelled())
    assert (decision.status, decision.execution) == (Status.CANCELLED, ExecutionStatus.CANCELLED)


@given(policies, st.integers(1, 100), rolls)
def test_a_delay_has_bounds(policy: RetryPolicy, attempt: int, roll: float) -> None:
    delay = retry_delay(policy, attempt, roll)
    extra = policy.jitter_seconds if policy.jitter == "added" else 0
    assert 0 <= delay <= policy.max_seconds + extra
    assert NOW + timedelta(seconds=delay) >= NOW


@given(policies, st.integers(1, 99))
def test_a_later_attempt_never_waits_less(policy: RetryPolicy, attempt: int) -> None:
    assert retry_delay(policy, attempt, 0.5) <= retry_delay(policy, attempt + 1, 0.5)
