"""Is this api fit to serve: it asks PostgreSQL, and reports NATS, without which submits are still accepted."""

from __future__ import annotations

import time
from typing import Any

from taskflow.bus.connect import Bus
from taskflow.domain.errors import Unavailable
from taskflow.kit.clock import now
from taskflow.store.connect import Database
from taskflow.store.probe import probe

CLOCK_SKEW_SECONDS_MAX = 5.0


class Health:
    """Readiness of an api. Ids are made by its clock, so that one far from PostgreSQL's is not ready."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus

    async def report(self) -> dict[str, Any]:
        """What was found, `ready` first."""
        began = time.monotonic()
        try:
            async with self._database.connection() as conn:
                there = await probe(conn)
        except Unavailable as error:
            return {
                "ready": False,
                "postgres": error.detail,
                "nats": self._nats(),
                "clock_skew_seconds": None,
            }
        round_trip = time.monotonic() - began
        skew = (now() - there.now).total_seconds() - round_trip / 2
        ready = abs(skew) <= CLOCK_SKEW_SECONDS_MAX + round_trip and there.migrated
        return {
            "ready": ready,
            "postgres": "ok" if there.migrated else "the schema is missing; run `taskflow migrate`",
            "nats": self._nats(),
            "clock_skew_seconds": round(skew, 3),
        }

    def _nats(self) -> str:
        return self._bus.trouble or "ok"
