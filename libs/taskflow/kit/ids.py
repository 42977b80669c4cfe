"""Identifiers: UUIDv7 (RFC 9562, section 5.7), so that the order of ids is the order of making."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import uuid_utils


def new_id() -> str:
    """A new UUIDv7 as canonical text; later calls of one process give greater ids."""
    return str(uuid_utils.uuid7())


def id_time(value: str) -> datetime:
    """When the UUIDv7 `value` was made, to the millisecond."""
    return datetime.fromtimestamp((UUID(value).int >> 80) / 1000, UTC)


def first_id_at(moment: datetime) -> str:
    """The smallest UUID that a UUIDv7 made at `moment` or later can have: a bound for ranges of ids."""
    milliseconds = round(moment.timestamp() * 1000)
    return str(UUID(int=milliseconds << 80))


def is_id(value: str) -> bool:
    """Whether `value` is a UUID in canonical text form."""
    try:
        return str(UUID(value)) == value.lower()
    except ValueError:
        return False
