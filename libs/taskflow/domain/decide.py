"""decide(task, outcome, now) -> Decision: all retry, loss, poison and dead-letter policy. No I/O, no clock, no dice.

Called by `record` for what a worker saw, and by `rescue` for what nobody saw.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from taskflow.domain.attempt import (
    Cancelled,
    Deferred,
    ErrorInfo,
    ExecutionStatus,
    Failed,
    Lost,
    Outcome,
    Released,
    Snoozed,
    Succeeded,
    TimedOut,
)
from taskflow.domain.dead_letter import Reason
from taskflow.domain.retry import retry_delay
from taskflow.domain.task import Claimed
from taskflow.domain.transitions import Status

SNOOZES_MAX = 1_000
"""Snoozes a life; one more fails the task for good."""


class Decision(Struct, frozen=True, gc=False):
    """What a task and its execution become.

    `due_at` is set for `retrying`. `attempt`, `losses` and `snoozes` are the row's new counters. `bury` is the
    reason of the dead letter to write, if any.
    """

    status: Status
    execution: ExecutionStatus
    attempt: int
    losses: int = 0
    snoozes: int = 0
    result: str | None = None
    error: ErrorInfo | None = None
    due_at: datetime | None = None
    bury: Reason | None = None


def decide(
    task: Claimed, outcome: Outcome, now: datetime, *, roll: float, poison_losses_max: int
) -> Decision:
    """Judge how an attempt of `task` ended. `roll` is uniform in [0, 1), for the jitter."""
    match outcome:
        case Succeeded():
            return Decision(
                Status.COMPLETED, ExecutionStatus.SUCCEEDED, task.attempt, 0, task.snoozes, outcome.result
            )
        case Cancelled(error):
            return Decision(Status.CANCELLED, ExecutionStatus.CANCELLED, task.attempt, error=error)
        case Snoozed(delay_seconds, message):
            return _snoozed(task, delay_seconds, message, now)
        case Deferred(delay_seconds, reason):
            return _deferred(task, delay_seconds, reason, now)
        case Released(reason, begun):
            return _released(task, reason, begun, now, roll, poison_losses_max)
        case Lost(error):
            return _died(task, error, ExecutionStatus.LOST, now, roll, poison_losses_max)
        case Failed(error, died=True):
            return _died(task, error, ExecutionStatus.FAILED, now, roll, poison_losses_max)
        case Failed(error, permanent=True):
            return _given_up(task, ExecutionStatus.FAILED, error, "permanent")
        case Failed(error, delay_seconds=delay):
            return _failed(task, ExecutionStatus.FAILED, error, now, roll, delay)
        case TimedOut(error):
            return _failed(task, ExecutionStatus.TIMED_OUT, error, now, roll)


def _failed(
    task: Claimed,
    execution: ExecutionStatus,
    error: ErrorInfo,
    now: datetime,
    roll: float,
    delay_seconds: float | None = None,
    losses: int = 0,
) -> Decision:
    if task.attempt >= task.max_attempts:
        return _given_up(task, execution, error, "attempts_exhausted", losses)
    delay = retry_delay(task.retry, task.attempt, roll) if delay_seconds is None else delay_seconds
    return Decision(
        Status.RETRYING,
        execution,
        task.attempt,
        losses=losses,
        snoozes=task.snoozes,
        error=error,
        due_at=now + timedelta(seconds=delay),
    )


def _died(
    task: Claimed,
    error: ErrorInfo,
    execution: ExecutionStatus,
    now: datetime,
    roll: float,
    poison_losses_max: int,
) -> Decision:
    """A death counts. The first loss in a row goes back at once, the next waits a backoff, the last is poison."""
    losses = task.losses + 1
    if losses >= poison_losses_max:
        return _given_up(task, execution, error, "poison", losses)
    if execution is ExecutionStatus.LOST and losses == 1 and task.attempt < task.max_attempts:
        return Decision(
            Status.QUEUED, execution, task.attempt, losses=losses, snoozes=task.snoozes, error=error
        )
    return _failed(task, execution, error, now, roll, losses=losses)


def _given_up(
    task: Claimed, execution: ExecutionStatus, error: ErrorInfo, reason: Reason, losses: int = 0
) -> Decision:
    return Decision(
        Status.FAILED, execution, task.attempt, losses=losses, snoozes=task.snoozes, error=error, bury=reason
    )


def _snoozed(task: Claimed, delay_seconds: float, message: str, now: datetime) -> Decision:
    if task.snoozes >= SNOOZES_MAX:
        error = ErrorInfo("TooManySnoozes", f"snoozed {SNOOZES_MAX} times in one life")
        return _given_up(task, ExecutionStatus.FAILED, error, "permanent")
    return Decision(
        Status.RETRYING,
        ExecutionStatus.RELEASED,
        task.attempt - 1,
        losses=task.losses,
        snoozes=task.snoozes + 1,
        error=ErrorInfo("Snooze", message) if message else None,
        due_at=now + timedelta(seconds=delay_seconds),
    )


def _deferred(task: Claimed, delay_seconds: float, reason: str, now: datetime) -> Decision:
    return Decision(
        Status.RETRYING,
        ExecutionStatus.RELEASED,
        task.attempt - 1,
        losses=task.losses,
        snoozes=task.snoozes,
        error=ErrorInfo("Deferred", reason),
        due_at=now + timedelta(seconds=delay_seconds),
    )


def _released(
    task: Claimed, reason: str, begun: bool, now: datetime, roll: float, poison_losses_max: int
) -> Decision:
    """A hand-back in order spends nothing, but a task with one attempt must never start twice."""
    error = ErrorInfo("Released", reason)
    if begun and task.max_attempts == 1:
        return _died(task, error, ExecutionStatus.LOST, now, roll, poison_losses_max)
    return Decision(
        Status.QUEUED,
        ExecutionStatus.RELEASED,
        task.attempt - 1,
        losses=task.losses,
        snoozes=task.snoozes,
        error=error,
    )
