"""Why a task does not wait any more: it runs, or it has ended; what its end was, and how it may be run again."""

from __future__ import annotations

from typing import Any

from taskflow.domain.task import Task
from taskflow.domain.views import Blocker
from taskflow.engine.facts import Facts, attempts, because


def running(task: Task) -> Blocker:
    """It does run."""
    numbers = {
        "started_at": task.started_at,
        "worker_id": task.worker_id,
        "attempt": task.attempt,
        "max_attempts": task.max_attempts,
        "timeout_seconds": task.timeout_seconds,
    }
    return Blocker("running", f"attempt {task.attempt} of {task.max_attempts} is running", numbers)


def ended(facts: Facts) -> Blocker:
    """It will not run: its attempts are spent, or it has ended otherwise."""
    return _spent(facts) if _is_spent(facts) else _finished(facts)


def _is_spent(facts: Facts) -> bool:
    letter = facts.standing.letter
    return facts.task.status == "failed" and letter is not None and letter.reason == "attempts_exhausted"


def _spent(facts: Facts) -> Blocker:
    task = facts.task
    detail = (
        f"all {task.max_attempts} attempts are spent{because(facts.standing.error)}; once the cause is mended, "
        f"POST /api/v1/tasks/{task.id}/retry gives it a new life"
    )
    return Blocker("attempts_spent", detail, attempts(facts) | _end(facts))


_ENDS = {
    "permanent": "it failed in a way that no further attempt can help",
    "poison": "its process died under it too often in a row, so that it is not tried any more",
    "expired": "it had not started by its expires_at",
    "cancelled": "it was cancelled",
    "completed": "it is completed",
}


def _finished(facts: Facts) -> Blocker:
    """Ends other than spent attempts; of a failed task the letter says why."""
    task, letter = facts.task, facts.standing.letter
    numbers = _end(facts)
    if task.status == "completed":
        return Blocker("finished", _ENDS["completed"], numbers)
    why = letter.reason if letter is not None and task.status == "failed" else task.status
    detail = _ENDS.get(why, "it has failed")
    if task.status == "failed":
        numbers |= {"reason": why, **attempts(facts)}
        detail += because(facts.standing.error)
    if task.status == "expired":
        numbers["expires_at"] = task.expires_at
    return Blocker("finished", f"{detail}; POST /api/v1/tasks/{task.id}/retry gives it a new life", numbers)


def _end(facts: Facts) -> dict[str, Any]:
    letter = facts.standing.letter
    told: dict[str, Any] = {"finished_at": facts.task.finished_at}
    if letter is not None:
        told |= {"dead_letter_id": letter.id, "dead_letter_status": letter.status}
    return told
