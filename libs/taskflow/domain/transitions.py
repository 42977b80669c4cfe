"""The states of a task and the moves between them: the picture of the contract's section 2 as a table."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a task stands in its life."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.EXPIRED})
LIVE = frozenset(Status) - TERMINAL
REPLAYABLE = frozenset({Status.FAILED, Status.CANCELLED, Status.EXPIRED})

MOVES: dict[Status, frozenset[Status]] = {
    Status.SCHEDULED: frozenset({Status.QUEUED, Status.CANCELLED, Status.EXPIRED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED, Status.EXPIRED}),
    Status.RUNNING: frozenset(
        {Status.COMPLETED, Status.RETRYING, Status.FAILED, Status.QUEUED, Status.CANCELLED}
    ),
    Status.RETRYING: frozenset({Status.QUEUED, Status.CANCELLED, Status.EXPIRED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.CANCELLED: frozenset({Status.QUEUED}),
    Status.EXPIRED: frozenset({Status.QUEUED}),
}
"""From a status, the statuses a task may move to. From a terminal one only a replay leads out."""


def may_move(origin: Status, target: Status) -> bool:
    """Whether `origin -> target` is an arrow of the picture."""
    return target in MOVES[origin]
