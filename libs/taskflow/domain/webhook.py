"""Webhook deliveries and what they are signed with, as callers read them; and what receivers are sent."""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Raw, Struct

from taskflow.domain.task import Task, Time

Sendable = Literal[
    "task.succeeded",
    "task.failed",
    "task.cancelled",
    "task.expired",
    "task.started",
    "task.retrying",
    "task.test",
]
SENDABLE: tuple[Sendable, ...] = get_args(Sendable)
TEST_EVENT: Sendable = "task.test"
"""Sent on demand for a task of which there is nothing to tell yet."""
SURGE_EVENT, PAUSED_EVENT = "dead_letters.surge", "type.paused"
"""Sent to operators: alike dead letters came in too fast; so many of a type that it was paused."""

DeliveryStatus = Literal["pending", "delivered", "failed"]
DELIVERY_STATUSES: tuple[DeliveryStatus, ...] = get_args(DeliveryStatus)
SLOWED_AFTER_FAILURES = 100
"""An endpoint that failed so often in a row gets one try in ten minutes."""
EndpointState = Literal["active", "slowed"]
SecretStatus = Literal["live", "ending"]


class DeliveryAttempt(Struct, frozen=True):
    """One try of a webhook delivery. `error`: what kept it from being delivered; `answer`: its first KiB."""

    number: int
    started_at: Time
    duration_seconds: float
    status_code: int | None
    error: str | None
    answer: str | None


class Delivery(Struct, frozen=True):
    """A webhook delivery as callers read it. `attempts`: the newest of them, oldest first."""

    id: str
    task_id: str | None
    event: str
    url: str
    status: DeliveryStatus
    attempt: int
    max_attempts: int | None
    created_at: Time
    next_attempt_at: Time | None
    finished_at: Time | None
    endpoint: EndpointState
    attempts: list[DeliveryAttempt]


class Endpoint(Struct, frozen=True):
    """An owner's URL as webhooks found it. `failures`: in a row, up to now."""

    url: str
    state: EndpointState
    failures: int
    failing_since: Time | None
    delivered_at: Time | None
    next_attempt_at: Time | None
    error: str | None
    owner_id: str


class SigningSecret(Struct, frozen=True):
    """What is known of a signing secret; the secret itself is shown once. `ending`: replaced, still signs beside."""

    id: str
    status: SecretStatus
    created_at: Time
    expires_at: Time | None


class WebhookBody(Struct, frozen=True):
    """What a receiver of a task's event is sent."""

    event: str
    sent_at: Time
    delivery_id: str
    attempt: int
    task: Task


class AlertBody(Struct, frozen=True):
    """What operators are sent."""

    event: str
    sent_at: Time
    delivery_id: str
    attempt: int
    alert: Raw


class PushBody(Struct, frozen=True):
    """What a target is sent."""

    task_id: str
    type: str
    queue: str
    payload: Raw
    attempt: int
    max_attempts: int
    life: int
    deadline: Time
