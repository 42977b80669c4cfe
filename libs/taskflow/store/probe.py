"""Is PostgreSQL there, migrated, and what time does it have."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from taskflow.store.connect import Conn, one_row


class Probe(NamedTuple):
    """What PostgreSQL says of itself."""

    now: datetime
    migrated: bool


PROBE = """-- store.probe.probe
SELECT clock_timestamp() AS now, to_regclass('stat_days') IS NOT NULL AS migrated"""


async def probe(conn: Conn) -> Probe:
    """One round trip."""
    row = await one_row(conn, PROBE)
    return Probe(row["now"], row["migrated"])
