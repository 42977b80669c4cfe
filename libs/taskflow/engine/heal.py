"""heal: ring lost doorbells again, each once, in time proportional to what was lost.

Per subject the bus tells the stamp of its oldest doorbell, the watermark. Queued rows that were rung before it, less a
grace, have no doorbell any more: they are stamped anew, committed, and rung. JetStream's clock is never compared with
PostgreSQL's: both stamps are PostgreSQL's.
"""

from __future__ import annotations

from datetime import timedelta

from taskflow.bus.connect import Bus
from taskflow.bus.errors import BusAway, StreamMissing
from taskflow.bus.publisher import Doorbell
from taskflow.bus.streams import ensure_streams, read_watermark
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.meters import RUNG_AGAIN
from taskflow.kit.logging import get_logger
from taskflow.store import catalog, doorbells, workers
from taskflow.store.connect import Line
from taskflow.store.doorbells import Head, Rung

log = get_logger(__name__)

GRACE = timedelta(seconds=5)
HEAL_SECONDS = 5.0
"""How often it looks."""
PAGE = 5_000


class Healer:
    """Looks for doorbells that are gone, and for parked tasks that a live worker would run."""

    def __init__(self, line: Line, bus: Bus, dispatcher: Dispatcher, *, grace: timedelta = GRACE) -> None:
        self._line = line
        self._bus = bus
        self._dispatcher = dispatcher
        self._grace = grace
        self.rung_again = 0

    async def run_once(self) -> bool:
        """Returns whether there is more to do."""
        heads = await self._line.run(doorbells.read_heads)
        more = False
        if any(head.parked for head in heads):
            more = await self._unpark()
        for head in heads:
            if head.rung_at < head.now - self._grace:
                more = await self._heal(head) or more
        return more

    async def _heal(self, head: Head) -> bool:
        try:
            watermark = await read_watermark(self._bus, head.lane, head.queue)
        except StreamMissing:
            await ensure_streams(self._bus)
            return False
        except BusAway:
            return False  # nothing can be rung now either
        before = (watermark.stamp or head.now) - self._grace
        if head.rung_at >= before:
            return False
        rung = await self._line.run(
            lambda conn: doorbells.ring_again(conn, head.queue, head.lane, before, PAGE)
        )
        self._ring(rung)
        if rung:
            log.warning("doorbells.rung_again", queue=head.queue, lane=head.lane, count=len(rung))
        return len(rung) >= PAGE

    async def _unpark(self) -> bool:
        rows = await self._line.run(workers.read_workers)
        paused_queues, paused_types = await self._line.run(catalog.read_pauses)
        served = [
            (queue, name)
            for queue, name in sorted(workers.served(rows))
            if queue not in paused_queues and name not in paused_types
        ]
        return await unpark(self._line, self._dispatcher, served) >= PAGE

    def _ring(self, rung: list[Rung]) -> None:
        self.rung_again += len(rung)
        RUNG_AGAIN.inc(len(rung))
        self._dispatcher.ring([Doorbell(r.id, r.lane, r.queue, r.rung_at) for r in rung])


async def unpark(line: Line, dispatcher: Dispatcher, served: list[tuple[str, str]]) -> int:
    """Ring a page of tasks that waited for a worker of these (queue, type) pairs; returns how many."""
    rung = await line.run(lambda conn: doorbells.unpark(conn, served, PAGE))
    dispatcher.ring([Doorbell(r.id, r.lane, r.queue, r.rung_at) for r in rung])
    return len(rung)
