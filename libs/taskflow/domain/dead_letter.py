"""The record of a task that was given up."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from taskflow.domain.task import Time

Reason = Literal["attempts_exhausted", "permanent", "poison"]
LetterStatus = Literal["pending", "replayed", "discarded"]

REASONS: tuple[Reason, ...] = ("attempts_exhausted", "permanent", "poison")
LETTER_STATUSES: tuple[LetterStatus, ...] = ("pending", "replayed", "discarded")


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A dead letter as lists show it.

    `attempts` counts the tries of that life; `fingerprint` groups alike ones; `worker_version` is that of the worker of
    the last try. `previous_id`: the letter of an earlier life of the same task. Of `error` the message is cut at 500
    characters.
    """

    id: str
    task_id: str
    life: int
    type: str
    queue: str
    tags: list[str]
    reason: Reason
    status: LetterStatus
    error: Any
    attempts: int
    fingerprint: str | None
    worker_id: str | None
    worker_version: str | None
    previous_id: str | None
    created_at: Time
    handled_at: Time | None
    resolved_at: Time | None
    resolved_by: str | None
    resolved_reason: str | None
    operation_id: str | None


class DeadLetterDetail(DeadLetter, frozen=True, kw_only=True):
    """A dead letter with all that explains it: the error's traceback, the payload of that life, and its tries.

    `executions` is null until the dlq-consumer has handled the letter; of very many tries the newest are kept.
    """

    payload: Any
    executions: Any


class FailedTry(Struct, frozen=True):
    """One try of the life that failed, as its dead letter keeps it; `error` is without traceback."""

    number: int
    attempt: int
    status: str
    worker_id: str | None
    worker_version: str | None
    host: str | None
    started_at: Time
    finished_at: Time | None
    duration_seconds: float | None
    error: Any


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
    """Dead letters of one fingerprint; `error` and `example_id` are of the newest."""

    fingerprint: str | None
    type: str
    count: int
    pending: int
    first_seen: Time
    last_seen: Time
    error: Any
    example_id: str
