"""Handlers that tell of the trace they run in."""

from __future__ import annotations

from taskflow import Context, task


@task("tells_trace")
async def tells_trace(payload: dict, context: Context) -> None:
    """Fail, in a trace."""
    raise ValueError("told to")


@task("tells_trace_in_child")
def tells_trace_in_child(payload: dict, context: Context) -> str | None:
    """What a child process is told."""
    return context.traceparent


@task("calls_on")
async def calls_on(payload: dict, context: Context) -> str | None:
    """Make a span of one's own, as an instrumented client would."""
    from opentelemetry import trace

    with trace.get_tracer("test").start_as_current_span("inner"):
        return context.traceparent
