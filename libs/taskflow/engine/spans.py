"""Spans of attempts: each is a child of what submitted the task, and a try is linked to the one before it.

A span's id is made of the task's id and the try's number, so that the next worker can link to it without asking anybody.
Names and attributes follow OpenTelemetry's conventions for messaging
(https://opentelemetry.io/docs/specs/semconv/messaging/), which are still in development; `taskflow.*` are ours.
"""

from __future__ import annotations

from taskflow.bus.topology import Topology
from taskflow.domain.attempt import (
    Cancelled,
    ErrorInfo,
    Failed,
    Lost,
    Outcome,
    Released,
    Snoozed,
    Succeeded,
    TimedOut,
)
from taskflow.domain.task import LANE_NAMES, Claimed
from taskflow.kit.trace_context import Span, is_sampled, is_traceparent, span_id_of
from taskflow.kit.tracing import tracer

_OUTCOMES: dict[type, str] = {
    Succeeded: "succeeded",
    Failed: "failed",
    TimedOut: "timed_out",
    Lost: "lost",
    Snoozed: "released",
    Released: "released",
    Cancelled: "cancelled",
}


class AttemptSpans:
    """The spans of the attempts under way in this worker."""

    def __init__(self) -> None:
        self._spans: dict[tuple[str, int], Span] = {}

    def begin(self, task: Claimed) -> None:
        """Of a task that is traced, this attempt is now under way; its handler goes on from there."""
        if task.trace is None or (made_by := tracer()) is None or not is_sampled(task.trace):
            return
        span = made_by.begin(
            f"process {task.type}",
            "consumer",
            task.trace,
            {
                "messaging.system": "nats",
                "messaging.operation.type": "process",
                "messaging.operation.name": "process",
                "messaging.destination.name": destination(task),
                "messaging.message.conversation_id": task.id,
                "taskflow.task.id": task.id,
                "taskflow.task.type": task.type,
                "taskflow.task.priority": LANE_NAMES[task.lane],
                "taskflow.life": task.life,
                "taskflow.attempt": task.attempt,
                "taskflow.execution": task.number,
                "taskflow.waited_seconds": task.waited_seconds,
                "taskflow.worker.id": task.worker_id,
            },
            span_id=span_id_of(task.id, task.number),
            link=span_id_of(task.id, task.number - 1) if task.number > 1 else None,
        )
        self._spans[task.id, task.version] = span
        if is_traceparent(span.traceparent):  # OTEL_SDK_DISABLED makes spans without ids
            task.trace = span.traceparent

    def end(self, task: Claimed, outcome: Outcome | BaseException) -> None:
        """How it ended."""
        if self._spans and (span := self._spans.pop((task.id, task.version), None)) is not None:
            span.end(_error(outcome), taskflow__outcome=_OUTCOMES.get(type(outcome), "broken"))


def destination(task: Claimed) -> str:
    """The subject on which the task was announced."""
    return Topology().task_subject(task.lane, task.queue)


def _error(outcome: Outcome | BaseException) -> tuple[str, str, str | None] | None:
    if isinstance(outcome, BaseException):
        return type(outcome).__name__, str(outcome), None
    error: ErrorInfo | None = getattr(outcome, "error", None)
    return (error.type, error.message, error.traceback) if error is not None else None
