"""Tasks for handlers to run, and an ear for what they tell. Used by the tests of handlers and of built-in types."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from taskflow.domain.retry import RetryPolicy
from taskflow.domain.task import Claimed

SAMPLES = ["tests.unit.handlers.samples"]
GRACE_SECONDS = 0.3

Claim = Callable[..., Claimed]
_numbers = itertools.count(1)


def make_claim(kind: str, payload: Any = None, *, timeout_seconds: float = 20.0, **fields: Any) -> Claimed:
    """A claimed task; `payload` is a value, or JSON text as Raw."""
    return Claimed(
        **{
            "id": f"task-{next(_numbers)}",
            "version": 3,
            "number": 1,
            "life": 1,
            "attempt": 1,
            "max_attempts": 5,
            "losses": 0,
            "snoozes": 0,
            "type": kind,
            "queue": "default",
            "lane": 2,
            "payload": msgspec.json.encode(payload).decode(),
            "timeout_seconds": timeout_seconds,
            "retry": RetryPolicy(),
            "started_at": datetime.now(UTC),
            "worker_id": "a-worker",
            **fields,
        }
    )


class Heard:
    """What the runner told of its handlers, in order."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str, float | None]] = []

    def __call__(self, claimed: Claimed, kind: str, level: str, text: str, fraction: float | None) -> None:
        self.lines.append((kind, level, text, fraction))

    @property
    def texts(self) -> list[str]:
        """The log lines' texts."""
        return [text for kind, _, text, _ in self.lines if kind == "log"]
