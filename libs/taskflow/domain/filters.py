"""What a list is narrowed by: read from a query string by the api, turned into SQL by the store.

Members of one tuple mean OR, tags mean AND; an empty tuple or None does not narrow. `owner` is not asked for: it comes
of who asks, and None means anybody's.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from taskflow.domain.dead_letter import LetterStatus, Reason
from taskflow.domain.transitions import Status
from taskflow.domain.webhook import DeliveryStatus


class TaskFilters(Struct, frozen=True):
    """Which tasks a list shows. `lanes` are numbers of `Lane`; the times are exclusive bounds.

    `workers` are the ids of those that run them or ran them last. `name` is a part of the task's name, `error` one of its
    error's type or message, case ignored.
    """

    statuses: tuple[Status, ...] = ()
    types: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    lanes: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    owner: str | None = None
    workers: tuple[str, ...] = ()
    name: str | None = None
    error: str | None = None

    @property
    def narrows(self) -> bool:
        """Whether anything but times and the owner is asked for: what fits may be rare."""
        lists = (self.statuses, self.types, self.queues, self.lanes, self.tags, self.workers)
        return any(lists) or self.name is not None or self.error is not None


class LetterFilters(Struct, frozen=True):
    """Which dead letters a list shows. `error` is a part of the error's type or message, case ignored."""

    types: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    statuses: tuple[LetterStatus, ...] = ()
    error: str | None = None
    fingerprint: str | None = None
    tags: tuple[str, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    owner: str | None = None


OperationFilters = LetterFilters | TaskFilters
"""What an operation acts on."""


class AuditFilters(Struct, frozen=True):
    """Which events of the audit log a list shows."""

    actors: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None


class DeliveryFilters(Struct, frozen=True):
    """Which webhook deliveries a list shows; of one task if `task_id` is given."""

    statuses: tuple[DeliveryStatus, ...] = ()
    events: tuple[str, ...] = ()
    url: str | None = None
    task_id: str | None = None
    owner: str | None = None
