"""What readers of the system see beside tasks: why one does not run, the figures, queues, workers, types.

Made by `engine.read`, encoded by the api as they stand: the names of the fields are the contract's.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from taskflow.domain.task import LaneName, Time, WaitingFor

WorkerStatus = Literal["live", "draining", "gone"]
BlockerCode = Literal[
    "due_time",
    "retry_delay",
    "queue_paused",
    "type_paused",
    "worker_for_queue",
    "worker_for_type",
    "free_slot",
    "bus_away",
    "doorbell_lost",
    "push_host",
    "expires",
    "starting",
    "running",
    "attempts_spent",
    "finished",
]
"""In the order in which they must go; the last four say that nothing blocks, or that nothing can run any more."""


class Blocker(Struct, frozen=True):
    """One reason why a task does not start now: what to do about it, and in `numbers` what that was judged by."""

    code: BlockerCode
    detail: str
    numbers: dict[str, Any] = {}


class Explanation(Struct, frozen=True):
    """Why a task does not run now: `reasons` in the order in which they must go, `starting` if nothing blocks."""

    id: str
    status: str
    waiting_for: WaitingFor | None
    reasons: list[Blocker]
    as_of: Time


class DayCount(Struct, frozen=True):
    """What happened on one day (UTC, `YYYY-MM-DD`)."""

    date: str
    submitted: int
    completed: int
    failed: int


class Stats(Struct, frozen=True):
    """The figures of the system.

    `by_queue` and `by_type` count per status. `success_rate` is completed / (completed + failed) of the last
    7 days, null if there were none; `history` are these days, oldest first. `uptime_seconds` is the answering
    api's.
    """

    as_of: Time
    by_status: dict[str, int]
    by_queue: dict[str, dict[str, int]]
    by_type: dict[str, dict[str, int]]
    success_rate: float | None
    history: list[DayCount]
    workers_live: int
    uptime_seconds: float


class QueueInfo(Struct, frozen=True):
    """A queue: what waits in it and who serves it."""

    name: str
    paused: bool
    waiting: dict[LaneName, int]
    running: int
    oldest_waiting_seconds: float | None
    workers: int
    slots: int
    slots_free: int


class WorkerInfo(Struct, frozen=True):
    """A worker process; `status` is `gone` once its lease is over."""

    id: str
    host: str
    pid: int
    version: str
    queues: list[str]
    types: list[str]
    slots: int
    running: int
    status: WorkerStatus
    seen_at: Time


class TypeInfo(Struct, frozen=True):
    """A declared type: the JSON Schema of its payload as the worker started last has it, and its defaults."""

    name: str
    schema: Any
    timeout_seconds: float | None
    max_attempts: int | None
    workers: int
    paused: bool
    paused_by: str | None
    paused_reason: str | None
