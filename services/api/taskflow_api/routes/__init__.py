"""Every operation of the api: one table for routing, document and methods."""

from __future__ import annotations

from taskflow_api.operation import Operation
from taskflow_api.routes import (
    api_keys,
    auth,
    checkup,
    dead_letters,
    feed,
    fleet,
    health,
    operations,
    series,
    stream,
    stream_tickets,
    submit,
    tasks,
    users,
    webhooks,
)

ACCOUNT_BODIES = (*auth.BODIES, *api_keys.BODIES, *users.BODIES, *webhooks.BODIES)
"""What calls about accounts and webhooks may bear."""
OPERATIONS: tuple[Operation, ...] = (
    *submit.OPERATIONS,
    *tasks.OPERATIONS,
    *stream.OPERATIONS,
    *feed.OPERATIONS,
    *stream_tickets.OPERATIONS,
    *dead_letters.OPERATIONS,
    *operations.OPERATIONS,
    *fleet.OPERATIONS,
    *series.OPERATIONS,
    *checkup.OPERATIONS,
    *auth.OPERATIONS,
    *api_keys.OPERATIONS,
    *users.OPERATIONS,
    *webhooks.OPERATIONS,
    *health.OPERATIONS,
)
