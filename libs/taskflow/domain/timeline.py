"""A task's history told from its parts: executions say most of it, marks say what they cannot.

Every number from 1 to `tasks.seq` is one event. Numbers that no part explains are moves to `queued` when a task came
due, which write no row of their own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from taskflow.domain.task import LogLine, TaskEvent
from taskflow.domain.transitions import Status


class LiveAttempt(Struct, frozen=True):
    """How the task stands now."""

    status: str
    created_at: datetime
    queued_at: datetime | None


class Try(Struct, frozen=True):
    """An execution with its numbers in the history; `moved_to` is the status its end led to."""

    number: int
    attempt: int
    life: int
    status: str
    moved_to: str | None
    queued_at: datetime | None
    started_at: datetime
    finished_at: datetime | None
    started_seq: int
    finished_seq: int | None
    worker_id: str | None


class Mark(Struct, frozen=True):
    """A row of history: a command, an expiry, a progress report."""

    seq: int
    at: datetime
    kind: Literal["task", "progress"]
    status: str | None
    data: Any


class Timeline(Struct, frozen=True):
    """The parts of a history up to number `horizon`."""

    live: LiveAttempt
    horizon: int
    tries: list[Try]
    marks: list[Mark]
    logs: list[LogLine]

    def events(self, after: int) -> list[TaskEvent]:
        """The events numbered after `after`, in order, without a gap."""
        told = {log.seq: _logged(log) for log in self.logs}
        told |= {mark.seq: _marked(mark) for mark in self.marks}
        for one in self.tries:
            told |= _tried(one)
        for seq in range(self.horizon, max(after, 1), -1):
            if seq not in told:
                told[seq] = self._came_due(seq, told.get(seq + 1))
        if after < 1:
            told[1] = self._submitted(told.get(2))
        return [told[seq] for seq in sorted(told) if after < seq <= self.horizon]

    def _came_due(self, seq: int, then: TaskEvent | None) -> TaskEvent:
        """When it was is told by what it led to, or by the row, unless a later queueing has overwritten that."""
        following = next((one for one in self.tries if one.started_seq > seq), None)
        at = _text(
            ((following.queued_at or following.started_at) if following else self.live.queued_at)
            or self.live.created_at
        )
        return TaskEvent(seq, min(at, then.at) if then else at, "task", Status.QUEUED, {})

    def _submitted(self, second: TaskEvent | None) -> TaskEvent:
        """A task whose second event is that it came due was scheduled; else it was queued, unless that event says so."""
        status: str = self.live.status if second is None else Status.QUEUED
        if second is not None and second.event == "task":
            if second.status == Status.QUEUED and not second.data:
                status = Status.SCHEDULED
            elif isinstance(second.data, msgspec.Raw):
                status = msgspec.json.decode(second.data).get("from", status)
        return TaskEvent(1, _text(self.live.created_at), "task", status, {})


def _tried(one: Try) -> dict[int, TaskEvent]:
    about = {"number": one.number, "life": one.life, "attempt": one.attempt, "worker_id": one.worker_id}
    told = {one.started_seq: TaskEvent(one.started_seq, _text(one.started_at), "task", Status.RUNNING, about)}
    if one.finished_seq is not None and one.finished_at is not None:
        ended = about | {"execution": one.status}
        told[one.finished_seq] = TaskEvent(
            one.finished_seq, _text(one.finished_at), "task", one.moved_to, ended
        )
    return told


def _marked(mark: Mark) -> TaskEvent:
    return TaskEvent(mark.seq, _text(mark.at), mark.kind, mark.status, mark.data)


def _logged(log: LogLine) -> TaskEvent:
    data = {"number": log.number, "level": log.level, "message": log.message}
    return TaskEvent(log.seq, log.at, "log", None, data)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"
