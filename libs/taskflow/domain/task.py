"""The task: what a caller asked for, what a worker holds, what a reader sees."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Raw, Struct

from taskflow.domain.callback import Callback, ShownCallback, ShownTarget, Target
from taskflow.domain.retry import RetryPolicy

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""RFC 3339, UTC, six digits of a second, `Z`."""

LaneName = Literal["critical", "high", "normal", "low"]
DEFAULT_QUEUE = "default"
LOCAL_OWNER = str(UUID(int=0))
"""Whom tasks belong to while nobody signs in."""

WaitingFor = Literal[
    "worker_for_type", "worker_for_queue", "queue_paused", "type_paused", "due_time", "free_slot"
]


class Lane(IntEnum):
    """Class of urgency; the smaller number goes first."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3

    @property
    def label(self) -> LaneName:
        """The lane's name in the API and on the bus."""
        return LANE_NAMES[self]

    @classmethod
    def named(cls, name: str) -> Lane:
        """The lane of that name; KeyError if there is none."""
        return cls[name.upper()]

    @classmethod
    def of_number(cls, number: float) -> Lane:
        """The lane of a numeric priority 0..100: from 90 critical, from 65 high, from 35 normal."""
        if number >= 90:
            return cls.CRITICAL
        if number >= 65:
            return cls.HIGH
        return cls.NORMAL if number >= 35 else cls.LOW


LANE_NAMES: tuple[LaneName, ...] = ("critical", "high", "normal", "low")


class NewTask(Struct):
    """A task as accepted from a caller. JSON members are texts, kept byte for byte; None means the default."""

    id: str
    type: str
    payload: str = "{}"
    lane: int = Lane.NORMAL
    queue: str = DEFAULT_QUEUE
    name: str | None = None
    tags: list[str] = []
    metadata: str = "{}"
    run_at: datetime | None = None
    delay_seconds: float | None = None
    expires_at: datetime | None = None
    max_attempts: int | None = None
    timeout_seconds: float | None = None
    retry: RetryPolicy | None = None
    owner_id: str = LOCAL_OWNER
    idempotency_key: str | None = None
    request_hash: bytes = b""
    trace: str | None = None
    """The traceparent that its attempts go on with."""
    callback: Callback | None = None
    target: Target | None = None


class Accepted(Struct):
    """The answer to one submitted task. `replayed`: an earlier request with the same key had made it."""

    id: str
    status: str
    replayed: bool = False


class Submitted(Struct):
    """The answer to a single submit. `task` is the task as it was written; None if an earlier request had made it."""

    id: str
    replayed: bool = False
    task: Task | None = None


class Claimed(Struct, gc=False):
    """A task in a worker's hands: everything needed to run one attempt and to judge its end."""

    id: str
    version: int
    number: int
    life: int
    attempt: int
    max_attempts: int
    losses: int
    snoozes: int
    type: str
    queue: str
    lane: int
    payload: str
    timeout_seconds: float
    retry: RetryPolicy
    started_at: datetime
    worker_id: str
    tags: list[str] = []
    metadata: str = "{}"
    trace: str | None = None
    """The traceparent it was submitted with; while it runs, if it is traced, that of this attempt."""
    waited_seconds: float = 0.0
    """How long it was queued, by PostgreSQL's clock."""
    begun_at: float = 0.0
    """When its worker began, by its own clock (`time.monotonic`)."""
    target: str | None = None
    """`Target` as JSON: it is not run by a handler here, but pushed."""
    owner_id: str = LOCAL_OWNER
    told_events: int | None = None
    """Of which of its events a webhook delivery is written."""

    @property
    def owner(self) -> str | None:
        """Whose it is, as news tell it: None for the built-in one."""
        return told_owner(self.owner_id)


def told_owner(owner_id: str) -> str | None:
    """Whose a task is, as news tell it."""
    return None if owner_id == LOCAL_OWNER else owner_id


class Said(Struct, frozen=True, array_like=True, gc=False):
    """What a handler said: a log line (`level`), or how far it is (`fraction`). `number` is its execution's."""

    event: Literal["log", "progress"]
    number: int
    level: str | None
    message: str | None
    fraction: float | None


class Moved(Struct, frozen=True, array_like=True, gc=False):
    """One move that was made, or what was `said`: what live views and waiters are told, on the bus as an array."""

    id: str
    seq: int
    version: int
    status: str
    type: str
    queue: str
    lane: int = Lane.NORMAL
    owner: str | None = None
    """None: the built-in one."""
    said: Said | None = None


class Task(Struct):
    """A task as callers read it; what does not apply is null, never absent."""

    id: str
    type: str
    name: str | None
    queue: str
    priority: LaneName
    status: str
    waiting_for: WaitingFor | None
    version: int
    life: int
    attempt: int
    max_attempts: int
    payload: Raw
    result: Raw | None
    error: Any
    progress: Any
    tags: list[str]
    metadata: Raw
    timeout_seconds: float
    retry: RetryPolicy
    run_at: Time | None
    next_attempt_at: Time | None
    expires_at: Time | None
    created_at: Time
    queued_at: Time | None
    started_at: Time | None
    finished_at: Time | None
    worker_id: str | None
    owner_id: str | None
    callback: ShownCallback | None
    target: ShownTarget | None


def is_late(task: Task, now: datetime) -> bool:
    """Whether a task that has not started by then may not start any more, and only waits to be ended."""
    return task.expires_at is not None and datetime.fromisoformat(task.expires_at) <= now


class Execution(Struct):
    """One try, as callers read it."""

    number: int
    life: int
    attempt: int
    status: str
    worker_id: str | None
    started_at: Time
    finished_at: Time | None
    duration_seconds: float | None
    error: Any


class LogLine(Struct):
    """A line a handler wrote."""

    seq: int
    at: Time
    number: int
    level: str
    message: str


class TaskEvent(Struct):
    """A thing that happened to a task; `seq` orders them without a gap."""

    seq: int
    at: Time
    event: Literal["task", "log", "progress"]
    status: str | None
    data: Any
