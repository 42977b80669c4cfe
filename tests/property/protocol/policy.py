"""The real policy in the model's words: `domain.decide` judges every end, `domain.transitions` every move."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

from taskflow.domain.attempt import Cancelled, ErrorInfo, Failed, Lost, Outcome, Released, Succeeded, TimedOut
from taskflow.domain.decide import decide
from taskflow.domain.retry import RetryPolicy
from taskflow.domain.task import Claimed
from taskflow.domain.transitions import REPLAYABLE, TERMINAL, Status, may_move

POISON_LOSSES_MAX = 3
_ERROR = ErrorInfo("Error", "an error")
_NOW = datetime(2026, 1, 1, tzinfo=UTC)

OUTCOMES: dict[str, Outcome] = {
    "ok": Succeeded("null"),
    "fail": Failed(_ERROR),
    "timeout": TimedOut(_ERROR),
    "lost": Lost(_ERROR),
    "released": Released("it had begun", begun=True),
    "unbegun": Released("it had not begun", begun=False),
    "cancelled": Cancelled(),
}
TERMINALS = frozenset(status.value for status in TERMINAL)
REPLAYABLES = frozenset(status.value for status in REPLAYABLE)


class Verdict(NamedTuple):
    """What of a `Decision` the model knows."""

    status: str
    execution: str
    attempt: int
    losses: int
    buried: bool


@cache
def judged(attempt: int, losses: int, max_attempts: int, outcome: str) -> Verdict:
    """Ask `decide` how a try ends."""
    claimed = Claimed(
        id="", version=1, number=1, life=1, attempt=attempt, max_attempts=max_attempts, losses=losses, snoozes=0,
        type="", queue="", lane=0, payload="", timeout_seconds=1, retry=RetryPolicy(), started_at=_NOW, worker_id="",
    )  # fmt: skip
    made = decide(claimed, OUTCOMES[outcome], _NOW, roll=0.5, poison_losses_max=POISON_LOSSES_MAX)
    return Verdict(made.status.value, made.execution.value, made.attempt, made.losses, made.bury is not None)


@cache
def allowed(origin: str, target: str) -> bool:
    """Ask `may_move` whether the picture of states has this arrow."""
    return may_move(Status(origin), Status(target))
