"""Dead letters, groups and operations in the shapes of the API, for stand-ins of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

LETTER_ID = "01a20109-fe3d-7161-a15e-9afe496e891b"
TASK_ID = "01a20109-0000-7161-a15e-9afe496e891b"
OPERATION_ID = "01a20109-ffff-7161-a15e-9afe496e891b"


def ago(**span: float) -> str:
    """An RFC 3339 time so long ago."""
    return (datetime.now(UTC) - timedelta(**span)).isoformat().replace("+00:00", "Z")


def letter(**members: Any) -> dict[str, Any]:
    """A dead letter as lists have it."""
    return {
        "id": LETTER_ID, "task_id": TASK_ID, "life": 1, "type": "send_mail", "queue": "post", "tags": ["eu"],
        "reason": "attempts_exhausted", "status": "pending",
        "error": {"type": "SMTPError", "message": "421 try later"}, "attempts": 5, "fingerprint": "f00d",
        "worker_id": "w-1", "worker_version": "1.4.0", "previous_id": None, "created_at": ago(hours=3, seconds=5),
        "handled_at": None, "resolved_at": None, "resolved_by": None, "resolved_reason": None, "operation_id": None,
        **members,
    }  # fmt: skip


def execution(number: int, **members: Any) -> dict[str, Any]:
    """A try of the task, as a letter has it."""
    return {
        "number": number, "attempt": number, "status": "failed", "worker_id": "w-1", "worker_version": "1.4.0",
        "host": "box", "started_at": ago(hours=4), "finished_at": ago(hours=4), "duration_seconds": 0.25,
        "error": {"type": "SMTPError", "message": f"421 try {number}"}, **members,
    }  # fmt: skip


def operation(**members: Any) -> dict[str, Any]:
    """An operation as it was accepted."""
    return {
        "id": OPERATION_ID, "action": "replay", "filter": {"type": ["send_mail"]}, "limit": None,
        "rate_per_second": 100, "status": "running", "status_reason": None, "matched": 10, "done": 0, "skipped": 0,
        "failed": 0, "canary": None, "created_by": "ada", "reason": None, "created_at": ago(minutes=2),
        "finished_at": None, **members,
    }  # fmt: skip
