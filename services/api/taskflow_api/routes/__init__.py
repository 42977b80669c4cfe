"""Every operation of the api: one table for routing, document and methods."""

from __future__ import annotations

from taskflow_api.operation import Operation
from taskflow_api.routes import dead_letters, fleet, health, operations, stream, submit, tasks

OPERATIONS: tuple[Operation, ...] = (
    *submit.OPERATIONS,
    *tasks.OPERATIONS,
    *stream.OPERATIONS,
    *dead_letters.OPERATIONS,
    *operations.OPERATIONS,
    *fleet.OPERATIONS,
    *health.OPERATIONS,
)
