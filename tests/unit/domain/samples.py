"""Claimed tasks for the tests of policy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from taskflow.domain.attempt import ErrorInfo
from taskflow.domain.retry import RetryPolicy
from taskflow.domain.task import Claimed

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ERROR = ErrorInfo("ValueError", "no")
FIXED = RetryPolicy(strategy="fixed", base_seconds=2, max_seconds=60, jitter="none")


def make_claimed(**fields: Any) -> Claimed:
    """A first attempt of five, unless said otherwise."""
    first: dict[str, Any] = {
        "id": "019ab000-0000-7000-8000-000000000001", "version": 2, "number": 1, "life": 1, "attempt": 1,
        "max_attempts": 5, "losses": 0, "snoozes": 0, "type": "demo", "queue": "default", "lane": 2,
        "payload": "{}", "timeout_seconds": 30.0, "retry": FIXED, "started_at": NOW,
        "worker_id": "019ab000-0000-7000-8000-00000000000a",
    }  # fmt: skip
    return Claimed(**(first | fields))
