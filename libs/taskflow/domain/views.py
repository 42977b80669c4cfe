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
    """A worker process; `status` is `gone` once its lease is over.

    `memory_bytes` is what it and its handler children held in memory at its last beat; null if it does not tell.
    """

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
    started_at: Time
    lease_expires_at: Time
    memory_bytes: int | None


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


class DoctorCheck(Struct, frozen=True):
    """A check of the doctor: what it means, how many it found, and some of them. `checked`: it could be made."""

    name: str
    means: str
    checked: bool
    found: int
    examples: list[str]


class DoctorReport(Struct, frozen=True):
    """The checks that were made. `gap`: accepted tasks less live, terminal and pruned ones; 0 if none is lost."""

    as_of: Time
    clean: bool
    gap: int
    checks: list[DoctorCheck]


class PostgresFacts(Struct, frozen=True):
    """PostgreSQL as it is now; null is what could not be read, and `error` why. `ranges_end`: until when new tasks have
    a partition to go to.
    """

    version: str | None = None
    migration: int | None = None
    database: str | None = None
    size_bytes: int | None = None
    connections: int | None = None
    connections_max: int | None = None
    oldest_transaction_seconds: float | None = None
    ranges_end: Time | None = None
    error: str | None = None


class StreamFacts(Struct, frozen=True):
    """A stream; `bytes_max` 0: no limit. `messages` null: it is missing."""

    name: str
    messages: int | None
    bytes: int = 0
    bytes_max: int = 0
    replicas: int = 0


class ConsumerFacts(Struct, frozen=True):
    """What waits for the workers of one lane of one queue, in messages, which may carry several ids each.

    `delivered`: in workers' hands, not acked yet. `redelivered`: of these, for another time. `pulls`: asked for by workers
    who wait.
    """

    queue: str
    priority: str
    waiting: int
    delivered: int
    redelivered: int
    pulls: int


class NatsFacts(Struct, frozen=True):
    """NATS as it is now; what could not be read is left empty, and `error` says why."""

    connected: bool
    version: str | None = None
    streams: list[StreamFacts] = []
    consumers: list[ConsumerFacts] = []
    error: str | None = None


class SystemFacts(Struct, frozen=True):
    """What the system stands on, as this api sees it. `migration_known`: the newest migration it knows.

    `settings` are this api's, without secrets.
    """

    as_of: Time
    version: str
    python: str
    uptime_seconds: float
    migration_known: int
    postgres: PostgresFacts
    nats: NatsFacts
    settings: dict[str, Any]
