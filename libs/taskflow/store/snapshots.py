"""A task as a move left it: the row that a webhook delivery bears, read as callers read tasks."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Raw, Struct, field

from taskflow.domain.callback import Callback, Target, shown_callback, shown_target
from taskflow.domain.retry import RetryPolicy
from taskflow.domain.task import LANE_NAMES, Task
from taskflow.kit.clock import rfc3339

_NULL = Raw(b"null")


class _Row(Struct):
    """What PostgreSQL's `to_json` makes of a row of `tasks`; JSON columns stand in it byte for byte."""

    id: str
    owner_id: str
    created_at: datetime
    status: str
    type: str
    queue: str
    lane: int
    version: int
    life: int
    attempt: int
    max_attempts: int
    timeout_seconds: float
    retry: RetryPolicy
    payload: Raw
    tags: list[str]
    name: str | None = None
    worker_id: str | None = None
    run_at: datetime | None = None
    due_at: datetime | None = None
    expires_at: datetime | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: Raw = field(default_factory=lambda: _NULL)
    error: Raw = field(default_factory=lambda: _NULL)
    progress: Raw = field(default_factory=lambda: _NULL)
    metadata: Raw = field(default_factory=lambda: _NULL)
    callback: Callback | None = None
    target: Target | None = None


_decoder = msgspec.json.Decoder(_Row)


def snapshot_task(text: str) -> Task:
    """The task of a delivery's content."""
    row = _decoder.decode(text)
    return Task(
        id=row.id,
        type=row.type,
        name=row.name,
        queue=row.queue,
        priority=LANE_NAMES[row.lane],
        status=row.status,
        waiting_for="due_time" if row.status in {"scheduled", "retrying"} else None,
        version=row.version,
        life=row.life,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        payload=row.payload,
        result=row.result,
        error=row.error,
        progress=row.progress,
        tags=row.tags,
        metadata=Raw(b"{}") if row.metadata == _NULL else row.metadata,
        timeout_seconds=row.timeout_seconds,
        retry=row.retry,
        run_at=_text(row.run_at),
        next_attempt_at=_text(row.due_at) if row.status in {"scheduled", "retrying"} else None,
        expires_at=_text(row.expires_at),
        created_at=rfc3339(row.created_at),
        queued_at=_text(row.queued_at),
        started_at=_text(row.started_at),
        finished_at=_text(row.finished_at),
        worker_id=row.worker_id,
        owner_id=row.owner_id,
        callback=shown_callback(row.callback) if row.callback is not None else None,
        target=shown_target(row.target) if row.target is not None else None,
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
