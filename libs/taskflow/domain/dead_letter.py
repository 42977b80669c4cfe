"""The record of a task that was given up."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from taskflow.domain.task import Time

Reason = Literal["attempts_exhausted", "permanent", "poison"]
LetterStatus = Literal["pending", "replayed", "discarded"]

REASONS: tuple[Reason, ...] = ("attempts_exhausted", "permanent", "poison")
LETTER_STATUSES: tuple[LetterStatus, ...] = ("pending", "replayed", "discarded")


class DeadLetter(Struct, frozen=True):
    """A dead letter as callers read it. `attempts` counts the tries of that life; `fingerprint` groups alike ones."""

    id: str
    task_id: str
    life: int
    type: str
    queue: str
    reason: Reason
    status: LetterStatus
    error: Any
    attempts: int
    fingerprint: str | None
    worker_id: str | None
    created_at: Time
    handled_at: Time | None
    resolved_at: Time | None


class Notice(Struct, frozen=True, omit_defaults=True):
    """What `tasks.dlq` carries: a doorbell for a dead letter that already stands.

    `trace_id` is for the log; a letter announced again is announced without.
    """

    dead_letter_id: str
    task_id: str
    life: int
    type: str
    queue: str
    reason: Reason
    trace_id: str | None = None


class LetterGroup(Struct, frozen=True):
    """Dead letters of one fingerprint."""

    fingerprint: str | None
    type: str
    count: int
    first_seen: Time
    last_seen: Time
    error: Any
    example_id: str
