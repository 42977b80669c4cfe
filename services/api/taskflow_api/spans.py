"""The span of a submit, where a trace begins or goes on.

A caller's `traceparent` is kept with the tasks, whether traces are on or not. While they are, a caller who samples is
followed; of what no caller has decided of, each task is drawn for itself. There is a span if any of the tasks is traced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from taskflow.domain.errors import TaskflowError
from taskflow.kit.trace_context import is_sampled, is_traceparent
from taskflow.kit.tracing import drawn, tracer

if TYPE_CHECKING:
    from taskflow.domain.task import NewTask
    from taskflow_api.operation import Call


@contextmanager
def traced(call: Call, tasks: Sequence[NewTask]) -> Iterator[None]:
    """What is submitted inside belongs to the caller's trace, or to one of its own."""
    parent = _parent(call)
    if parent is not None:
        for task in tasks:
            task.trace = parent
    made_by = tracer()
    if made_by is None or (parent is not None and not is_sampled(parent)):
        yield
        return
    chosen = [task for task in tasks if parent is not None or drawn()]
    if not chosen:
        yield
        return
    method, route = call.operation.method, call.operation.path
    attributes: dict[str, str | int | float | bool] = {
        "http.request.method": method,
        "http.route": route,
        "taskflow.request.id": str(call.scope["state"]["request_id"]),
        "taskflow.tasks": len(tasks),
    }
    if len(tasks) == 1:
        attributes |= {"taskflow.task.id": tasks[0].id, "taskflow.task.type": tasks[0].type}
    span = made_by.begin(f"{method} {route}", "server", parent, attributes)
    for task in chosen if is_traceparent(span.traceparent) else ():
        task.trace = span.traceparent
    error = None
    try:
        yield
    except Exception as fault:
        kind = fault.code if isinstance(fault, TaskflowError) else type(fault).__name__
        error = (kind, str(fault), None)
        raise
    finally:
        span.end(error)


def _parent(call: Call) -> str | None:
    """The caller's trace context. One that cannot be read is ignored, as the standard asks."""
    given = [value for name, value in call.scope["headers"] if name == b"traceparent"]
    text = given[0].decode("latin-1") if len(given) == 1 else ""
    return text if is_traceparent(text) else None
