"""Operations: what is done to many dead letters or tasks, durably and at a rate. And the audit log."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from taskflow.domain.account import By
from taskflow.domain.task import Time

Action = Literal["replay", "discard", "cancel", "retry"]
OperationStatus = Literal["running", "paused", "stopped", "done"]
CanaryState = Literal["replaying", "waiting", "passed", "failed"]

ACTIONS: tuple[Action, ...] = ("replay", "discard", "cancel", "retry")
OPERATION_STATUSES: tuple[OperationStatus, ...] = ("running", "paused", "stopped", "done")
OPEN: tuple[OperationStatus, ...] = ("running", "paused")


class CanaryPlan(Struct, frozen=True):
    """The first `first` items go alone. Once all of them are terminal, or after `wait_seconds`, the others follow only
    if at most `stop_if_failed` of them failed for good in their new life. If none has completed by then, it is paused.
    """

    first: int
    stop_if_failed: int = 0
    wait_seconds: float = 300.0


class Plan(Struct, frozen=True):
    """How an operation is to be carried out. `filter` is what the caller said, as JSON text."""

    action: Action
    filter: str
    limit: int | None
    rate_per_second: float
    canary: CanaryPlan | None
    by: By


class Canary(Struct, frozen=True):
    """How the canary of an operation stands."""

    first: int
    stop_if_failed: int
    wait_seconds: float
    state: CanaryState
    replayed: int
    succeeded: int
    failed: int


class Operation(Struct, frozen=True, kw_only=True):
    """An operation as callers read it.

    Of the `matched` items `done` were acted on, `skipped` were no longer such that they could be, `failed` could not be
    written. `status_reason` says why it is paused or stopped.
    """

    id: str
    action: Action
    filter: Any
    limit: int | None
    rate_per_second: float
    status: OperationStatus
    status_reason: str | None
    matched: int
    done: int
    skipped: int
    failed: int
    canary: Canary | None
    created_by: str
    reason: str | None
    created_at: Time
    finished_at: Time | None


class AuditEvent(Struct, frozen=True):
    """Who did what to which thing, and why. `action` is `<kind of thing>.<what was done>`; `data` are its numbers.

    `user_id` is the account that did it, `key_id` the API key it came with; `address` and `request_id` are the call's.
    What a program did by itself has none of these.
    """

    id: str
    at: Time
    actor: str
    action: str
    target: str | None
    reason: str | None
    data: Any
    user_id: str | None
    key_id: str | None
    address: str | None
    request_id: str | None


class OperationDetail(Operation, frozen=True, kw_only=True):
    """An operation with what happened to it, oldest first."""

    events: list[AuditEvent]


class Preview(Struct, frozen=True):
    """What an operation would act on: how many, of which types, and the newest of them."""

    matched: int
    by_type: dict[str, int]
    sample: list[Any]


def verdict(
    canary: CanaryPlan, *, replayed: int, over: int, succeeded: int, failed: int, waited_seconds: float
) -> Literal["passed", "failed", "unsure"] | None:
    """Whether the others may follow, by how many of the canary are terminal (`over`), completed and failed.

    None: not known yet. Unsure: the wait is over, and nothing has completed that would speak for going on.
    """
    if failed > canary.stop_if_failed:
        return "failed"
    if over >= replayed:
        return "passed"
    if waited_seconds < canary.wait_seconds:
        return None
    return "passed" if succeeded else "unsure"
