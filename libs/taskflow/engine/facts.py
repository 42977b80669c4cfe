"""What is known of a task that does not run, and of what it may be waiting for: by this alone it is judged."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from taskflow.domain.attempt import ErrorInfo
from taskflow.domain.task import Task
from taskflow.engine.directory import served_as, serving
from taskflow.engine.outlook import Line
from taskflow.store.obstacles import Pause, Standing
from taskflow.store.workers import WorkerRow

MESSAGE_CHARS_MAX = 200


class Heard(Struct, frozen=True):
    """What the bus says of the doorbells of a task's lane: the stamp of the oldest that is not answered, if any.

    `away`: why it says nothing.
    """

    oldest: datetime | None = None
    stream_missing: bool = False
    away: str | None = None


class Facts(Struct, frozen=True):
    """What a task is judged by. `workers` are all that take tasks; `line` is given for a queued task that may start,
    `heard` for a queued one, unless that could not be learnt. Of what is not his an owner is told numbers, no names.
    """

    task: Task
    standing: Standing
    pauses: Sequence[Pause] = ()
    workers: Sequence[WorkerRow] = ()
    line: Line | None = None
    heard: Heard | None = None
    sees_all: bool = True


def may_start(task: Task, pauses: Sequence[Pause], workers: Sequence[WorkerRow]) -> bool:
    """Whether a queued task waits for nothing but its turn: a live worker runs its type, and nothing is paused."""
    return task.status == "queued" and not pauses and bool(serving(workers, task.queue, served_as(task)))


def attempts(facts: Facts) -> dict[str, Any]:
    """Which attempt of how many was the last, and its error in short."""
    task, error = facts.task, facts.standing.error
    return {
        "attempt": task.attempt,
        "max_attempts": task.max_attempts,
        "last_error": None if error is None else {"type": error.type, "message": _short(error)},
    }


def because(error: ErrorInfo | None) -> str:
    """An error in brackets, if there is one."""
    return f" ({error.type}: {_short(error)})" if error is not None else ""


def _short(error: ErrorInfo) -> str:
    text = error.message
    return text if len(text) <= MESSAGE_CHARS_MAX else text[:MESSAGE_CHARS_MAX] + "..."
