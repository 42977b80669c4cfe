"""What `taskflow dlq show` prints for people."""

from __future__ import annotations

from typing import Any

import msgspec

from taskflow.cli.client.output import age, error_line, heading, moment, pairs, table, text


def show_letter(letter: dict[str, Any]) -> None:
    """All of a dead letter: what failed, the error, the attempts, the payload."""
    pairs(_facts(letter))
    heading("Error")
    _show_error(letter.get("error"))
    heading("Attempts")
    _show_attempts(letter.get("executions"))
    heading("Payload")
    payload = letter.get("payload")
    text("not told" if payload is None else msgspec.json.format(payload, indent=2).decode())


def _facts(letter: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("dead letter", letter.get("id")),
        ("task", f"{letter.get('task_id')} (life {letter.get('life')})"),
        ("type", letter.get("type")),
        ("queue", letter.get("queue")),
        ("tags", letter.get("tags") or None),
        ("reason", f"{letter.get('reason')} after attempt {letter.get('attempts')}"),
        ("worker", _worker(letter)),
        ("created", moment(letter.get("created_at"))),
        ("fingerprint", letter.get("fingerprint")),
        ("earlier letter", letter.get("previous_id")),
        ("status", letter.get("status")),
        *_resolution(letter),
    ]


def _resolution(letter: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("resolved", moment(letter.get("resolved_at"))),
        ("by", letter.get("resolved_by")),
        ("because", letter.get("resolved_reason")),
        ("operation", letter.get("operation_id")),
    ]


def _worker(of: dict[str, Any]) -> str | None:
    worker, version = of.get("worker_id"), of.get("worker_version")
    return f"{worker} (version {version})" if worker and version else worker


def _show_error(error: Any) -> None:
    if error is None:
        text("none was told")
        return
    traceback = error.get("traceback") if isinstance(error, dict) else None
    text(error_line(error) or "-")
    if traceback:
        text("\n" + traceback.rstrip("\n"))


def _show_attempts(executions: list[dict[str, Any]] | None) -> None:
    if executions is None:
        text("not kept (yet): the dlq-consumer gathers them")
        return
    rows = [
        (
            execution.get("number"),
            execution.get("status"),
            execution.get("worker_id"),
            execution.get("worker_version"),
            age(execution.get("started_at")),
            _seconds(execution.get("duration_seconds")),
            error_line(execution.get("error")),
        )
        for execution in executions
    ]
    table(("number", "status", "worker", "version", "started", "duration", "error"), rows, cut="error")


def _seconds(duration: float | None) -> str | None:
    return None if duration is None else f"{duration:.3f} s"
