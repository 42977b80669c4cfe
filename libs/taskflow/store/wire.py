"""Rows to structs and back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import asyncpg
import msgspec

from taskflow.domain.attempt import ErrorInfo
from taskflow.domain.callback import Callback, Target, shown_callback, shown_target
from taskflow.domain.retry import RetryPolicy
from taskflow.domain.task import LANE_NAMES, Claimed, Moved, Task
from taskflow.kit.clock import rfc3339

Row = asyncpg.Record

_encoder = msgspec.json.Encoder()
_retry_decoder = msgspec.json.Decoder(RetryPolicy)
_callback_decoder = msgspec.json.Decoder(Callback)
_target_decoder = msgspec.json.Decoder(Target)


def to_json(value: Any) -> str:
    """JSON text of a value of our own."""
    return _encoder.encode(value).decode()


@lru_cache(maxsize=1024)
def retry_policy(text: str) -> RetryPolicy:
    """The policy a row holds; rows share few."""
    return _retry_decoder.decode(text)


def error_text(error: ErrorInfo | None) -> str | None:
    """An error as it is stored."""
    return None if error is None else to_json(error)


def time_text(moment: datetime | None) -> str | None:
    """A time as callers read it; PostgreSQL's infinity is no time."""
    return None if moment is None or moment.year == datetime.max.year else rfc3339(moment)


def json_value(text: str | None) -> Any:
    """JSON of our own making, for a reader."""
    return None if text is None else msgspec.Raw(text.encode())


CLAIM_COLUMNS = 17
OWNER = "CASE WHEN owner_id <> '00000000-0000-0000-0000-000000000000' THEN owner_id END AS owner"
"""Whose it is, of a row of tasks; nothing for the built-in one, whom nearly all rows of most systems have."""


def uuids(ids: Sequence[str]) -> str:
    """A uuid[] for a statement that says `$1::text::uuid[]`.

    asyncpg asks of each element of a list whether it is a list itself, which costs more than PostgreSQL's reading of this.
    """
    return "{" + ",".join(ids) + "}"


def integers(values: Sequence[int]) -> str:
    """An integer[] for a statement that says `$1::text::integer[]`."""
    return "{" + ",".join(map(str, values)) + "}"


def claimed(row: Row, worker_id: str) -> Claimed:
    """A won claim; the row begins with the columns of `Claimed`, in that order, but for the worker's id."""
    task_id, *counters, retry, started_at, tags, metadata = row[:CLAIM_COLUMNS]
    its = [str(task_id), *counters, retry_policy(retry), started_at, worker_id, tags, metadata or "{}"]
    return Claimed(*its)


def moved(row: Row) -> Moved:
    """A move that was made; `owner` is as `OWNER` gives it."""
    owner = row["owner"]
    return Moved(
        str(row["id"]), row["seq"], row["version"], row["status"], row["type"], row["queue"], row["lane"],
        str(owner) if owner else None,
    )  # fmt: skip


def task(row: Row) -> Task:
    """A task as callers read it; `waiting_for` is judged by the engine."""
    status = row["status"]
    return Task(
        id=str(row["id"]),
        type=row["type"],
        name=row["name"],
        queue=row["queue"],
        priority=LANE_NAMES[row["lane"]],
        status=status,
        waiting_for=None,
        version=row["version"],
        life=row["life"],
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        payload=json_value(row["payload"]),
        result=json_value(row["result"]),
        error=json_value(row["error"]),
        progress=json_value(row["progress"]),
        tags=row["tags"],
        metadata=json_value(row["metadata"] or "{}"),
        timeout_seconds=row["timeout_seconds"],
        retry=retry_policy(row["retry"]),
        run_at=time_text(row["run_at"]),
        next_attempt_at=time_text(row["due_at"]) if status in {"scheduled", "retrying"} else None,
        expires_at=time_text(row["expires_at"]),
        created_at=rfc3339(row["created_at"]),
        queued_at=time_text(row["queued_at"]),
        started_at=time_text(row["started_at"]),
        finished_at=time_text(row["finished_at"]),
        worker_id=str(row["worker_id"]) if row["worker_id"] else None,
        owner_id=str(row["owner_id"]),
        callback=shown_callback(_callback_decoder.decode(row["callback"])) if row["callback"] else None,
        target=shown_target(_target_decoder.decode(row["target"])) if row["target"] else None,
    )
