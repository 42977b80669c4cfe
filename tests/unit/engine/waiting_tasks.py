"""Tasks that wait, and the workers that might run them, as values."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import msgspec

from taskflow.domain.retry import RetryPolicy
from taskflow.domain.task import Task
from taskflow.engine.directory import Directory, free_by_kind
from taskflow.kit.clock import rfc3339
from taskflow.store.connect import Database
from taskflow.store.workers import WorkerRow

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def make_task(status: str = "queued", **fields: Any) -> Task:
    kept: dict[str, Any] = {
        "id": "t", "type": "demo", "name": None, "queue": "default", "priority": "normal",
        "waiting_for": None, "version": 1, "life": 1, "attempt": 0, "max_attempts": 5,
        "payload": msgspec.Raw(b"{}"), "result": None, "error": None, "progress": None, "tags": [],
        "metadata": msgspec.Raw(b"{}"), "timeout_seconds": 30.0, "retry": RetryPolicy(), "run_at": None,
        "next_attempt_at": None, "expires_at": None, "created_at": rfc3339(NOW), "queued_at": None,
        "started_at": None, "finished_at": None, "worker_id": None, "owner_id": None, "callback": None,
        "target": None,
    }  # fmt: skip
    return Task(status=status, **(kept | fields))


def worker(name: str, *, queues: list[str], types: list[str], **fields: Any) -> WorkerRow:
    kept: dict[str, Any] = {
        "host": "h", "pid": 1, "version": "0", "slots": 4, "running": 0, "drain": False, "live": True,
        "seen_at": NOW, "started_at": NOW, "lease_until": NOW, "memory_bytes": None,
    }  # fmt: skip
    return WorkerRow(id=name, queues=queues, types=types, **(kept | fields))


def directory(
    *workers: WorkerRow, queues: set[str] | None = None, types: set[str] | None = None
) -> Directory:
    """A directory that has just read this; it does not ask its database again."""
    known = Directory(Database("postgresql://nowhere", application="test"))
    known.workers = list(workers)
    known.paused_queues, known.paused_types = queues or set(), types or set()
    known._free = free_by_kind(known.live())
    known._read_at = time.monotonic()
    return known


DEMO = worker("a", queues=["default"], types=["demo"])
FULL = worker("a", queues=["default"], types=["demo"], running=4)
