"""burial: watch how fast letters come in. Alike ones too fast: told. Of one type too fast: the type is paused.

After a bad deploy a type's whole backlog would be buried within minutes; paused, it waits for the fix instead.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta

import msgspec
from msgspec import Struct

from taskflow.bus.announce import publish_control
from taskflow.bus.connect import Bus
from taskflow.domain.account import By
from taskflow.domain.dead_letter import DeadLetter
from taskflow.domain.errors import Unavailable
from taskflow.domain.task import LOCAL_OWNER
from taskflow.domain.webhook import PAUSED_EVENT, SURGE_EVENT
from taskflow.engine.meters import count_surge, count_type_paused
from taskflow.kit.clock import now
from taskflow.kit.egress import ANYWHERE
from taskflow.kit.ids import first_id_at
from taskflow.kit.logging import get_logger
from taskflow.store import audit_log, burials, catalog, webhooks
from taskflow.store.connect import Conn, Line

log = get_logger(__name__)

ACTOR = "burial_limit"
_CLOCKS_DIFFER = timedelta(minutes=5)
"""Letters get their ids from their workers' clocks; the windows are PostgreSQL's."""


class Limits(Struct, frozen=True, kw_only=True):
    """So many letters within so many seconds; 0: no limit. `by_type` goes before `burial`."""

    surge: int = 100
    surge_seconds: float = 60.0
    burial: int = 0
    burial_seconds: float = 60.0
    by_type: Mapping[str, int] = {}
    alert_url: str | None = None
    """Who is told of both, by a webhook in the name of the built-in owner."""

    def of_type(self, name: str) -> int:
        """How many letters of a type pause it; 0: none."""
        return self.by_type.get(name, self.burial)


class Watch:
    """Judges the letters that were just stamped together with those before."""

    def __init__(self, line: Line, bus: Bus, limits: Limits) -> None:
        self._line = line
        self._bus = bus
        self._limits = limits
        self._told: dict[str, float] = {}

    async def look(self, stamped: Mapping[str, DeadLetter]) -> None:
        """Called with letters that are new, one of each fingerprint."""
        if self._limits.surge and stamped:
            for fingerprint, count in (
                await self._line.run(lambda conn: self._surges(conn, stamped))
            ).items():
                letter = stamped[fingerprint]
                count_surge(letter.type)
                log.error(
                    "dead_letters.surge",
                    fingerprint=fingerprint,
                    type=letter.type,
                    count=count,
                    seconds=self._limits.surge_seconds,
                    example_id=letter.id,
                )
        limits = {t: n for t in {one.type for one in stamped.values()} if (n := self._limits.of_type(t))}
        if limits:
            for name in await self._line.run(lambda conn: self._pauses(conn, limits)):
                await self._paused(name)

    async def _surges(self, conn: Conn, stamped: Mapping[str, DeadLetter]) -> dict[str, int]:
        limits = self._limits
        moment = time.monotonic()
        # In a flood most are told of already: these need not be counted again and again.
        self._told = {one: at for one, at in self._told.items() if moment - at < limits.surge_seconds}
        counts = await burials.count_alike(
            conn,
            [one for one in stamped if one not in self._told],
            first_id=_first_id(limits.surge_seconds),
            seconds=limits.surge_seconds,
            most=limits.surge,
        )
        surging = {one: count for one, count in counts.items() if count >= limits.surge}
        noted = {
            fingerprint: count
            for fingerprint, count in surging.items()
            if await self._noted(conn, fingerprint, count, stamped[fingerprint])
        }
        self._told |= dict.fromkeys(surging, moment)  # only now: what could not be noted is tried again
        return noted

    async def _noted(self, conn: Conn, fingerprint: str, count: int, letter: DeadLetter) -> bool:
        data = {
            "type": letter.type,
            "count": count,
            "seconds": self._limits.surge_seconds,
            "example_id": letter.id,
        }
        async with conn.transaction():
            noted = await audit_log.write_once(
                conn,
                By("dlq-consumer"),
                "dead_letters.surge",
                fingerprint,
                data,
                seconds=self._limits.surge_seconds,
            )
            if noted:
                await self._alert(conn, SURGE_EVENT, {"fingerprint": fingerprint, **data})
            return noted

    async def _pauses(self, conn: Conn, limits: Mapping[str, int]) -> list[str]:
        seconds = self._limits.burial_seconds
        counts = await burials.count_types(conn, limits, first_id=_first_id(seconds), seconds=seconds)
        return [
            name
            for name, count in counts.items()
            if count >= limits[name] and await self._pause(conn, name, count)
        ]

    async def _pause(self, conn: Conn, name: str, count: int) -> bool:
        reason = f"{count} dead letters within {self._limits.burial_seconds:g} s"
        async with conn.transaction():
            if not await catalog.pause_type(conn, name, ACTOR, reason):
                return False
            await audit_log.write_audit(conn, By(ACTOR, reason), "type.paused", name)
            await self._alert(conn, PAUSED_EVENT, {"type": name, "reason": reason})
        log.error("type.paused", type=name, by=ACTOR, reason=reason)
        return True

    async def _alert(self, conn: Conn, event: str, told: Mapping[str, object]) -> None:
        """The webhook is written with what it tells of; the notifier delivers it."""
        if (url := self._limits.alert_url) is not None:
            host = ANYWHERE.check(url).origin
            content = msgspec.json.encode(told).decode()
            await webhooks.alert(conn, LOCAL_OWNER, event, url, host, None, content)

    async def _paused(self, name: str) -> None:
        count_type_paused(name)
        try:
            await publish_control(self._bus, "pause", {"type": name, "paused": True})
        except Unavailable as error:
            log.warning("command.deferred", command="pause", error=str(error))  # the next beats tell it


def _first_id(seconds: float) -> str:
    return first_id_at(now() - timedelta(seconds=seconds) - _CLOCKS_DIFFER)
