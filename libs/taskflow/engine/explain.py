"""explain: why a task does not run now. Everything is read at the call: the bus first, then the rows at one stroke.

In that order, since a claim is committed before its doorbell is answered: of a doorbell that is gone before the rows are
read, the row of a task that was claimed tells. The other way round it would be taken for lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from taskflow.bus.connect import Bus
from taskflow.bus.errors import BusAway, StreamMissing
from taskflow.bus.streams import Watermark, read_watermark
from taskflow.domain.histogram import merge, percentiles
from taskflow.domain.task import Task, is_late
from taskflow.domain.views import Explanation
from taskflow.engine.directory import served_as, serving
from taskflow.engine.facts import Facts, Heard, may_start
from taskflow.engine.outlook import AHEAD_MAX, RATE_MINUTES, Line
from taskflow.engine.reasons import judge
from taskflow.store import obstacles, series, tasks, workers
from taskflow.store.connect import Conn, Database
from taskflow.store.obstacles import Place
from taskflow.store.tasks import Wanted
from taskflow.store.workers import WorkerRow

BUS_SECONDS = 1.0
"""JetStream is waited for so long; a caller who asks why nothing runs must not be kept by the reason."""


class Explainer:
    """Answers the question of an operator at a task that does not run; changes nothing."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._asking: set[asyncio.Task[Watermark]] = set()

    async def explain(self, task_id: str, owner: str | None = None) -> Explanation | None:
        """Why a task does not run now; None without such a task, or if it is not the owner's."""
        async with self._database.connection() as conn:
            place = await obstacles.read_place(conn, task_id, owner)
        if place is None:
            return None
        heard = await self._heard(place) if place.status == "queued" else None
        async with (
            self._database.connection() as conn,
            conn.transaction(isolation="repeatable_read", readonly=True),
        ):
            facts = await _facts(conn, Wanted(task_id, owner), heard)
        return None if facts is None else judge(facts)

    async def _heard(self, place: Place) -> Heard | None:
        """What the bus knows of the doorbells there; None if it may not be asked."""
        if not self._bus.connected:
            return Heard(away=self._bus.trouble or "NATS is not connected")
        try:
            return Heard((await self._watermark(place)).stamp)
        except StreamMissing:
            return Heard(stream_missing=True)
        except (BusAway, TimeoutError):
            if any("$JS.API" in deed for deed in self._bus.denied):
                return None
            return Heard(away=self._bus.trouble or f"JetStream gave no answer within {BUS_SECONDS:.0f} s")

    async def _watermark(self, place: Place) -> Watermark:
        """Waits no longer than that. The question itself goes on: nats-py keeps for ever what is cancelled."""
        asking = asyncio.create_task(read_watermark(self._bus, place.lane, place.queue))
        self._asking.add(asking)
        asking.add_done_callback(self._asked)
        async with asyncio.timeout(BUS_SECONDS):
            return await asyncio.shield(asking)

    def _asked(self, asking: asyncio.Task[Watermark]) -> None:
        self._asking.discard(asking)
        if not asking.cancelled():
            asking.exception()  # looked at: nobody may be waiting any more


async def _facts(conn: Conn, wanted: Wanted, heard: Heard | None) -> Facts | None:
    task = (await tasks.read_tasks(conn, [wanted])).get(wanted)
    standing = await obstacles.read_standing(conn, wanted.id)
    if task is None or standing is None:
        return None
    pauses = await obstacles.read_pauses(conn, task.queue, sorted({task.type, served_as(task)}))
    taking = [row for row in await workers.read_workers(conn) if row.live and not row.drain]
    starts = may_start(task, pauses, taking) and not is_late(task, standing.now)
    line = await _line(conn, task, taking) if starts else None
    return Facts(
        task=task,
        standing=standing,
        pauses=pauses,
        workers=taking,
        line=line,
        heard=heard,
        sees_all=wanted.owner is None,
    )


async def _line(conn: Conn, task: Task, taking: Sequence[WorkerRow]) -> Line:
    its = serving(taking, task.queue, served_as(task))
    rate = await series.started_per_second(conn, task.queue, RATE_MINUTES)
    return Line(
        slots=sum(worker.slots for worker in its),
        busy=await obstacles.count_busy(conn, [worker.id for worker in its]),
        waiting=await obstacles.count_waiting(conn, task.queue),
        ahead=await obstacles.count_ahead(conn, task.id, AHEAD_MAX),
        starts_per_second=rate,
        run_seconds=None if rate else await _run_seconds(conn, task),
    )


async def _run_seconds(conn: Conn, task: Task) -> float | None:
    """How long half of the attempts of this type ran at most, in this queue, in the last day."""
    counts: list[int] = []
    for runs in await obstacles.read_runs(conn, task.queue, task.type):
        counts = merge(counts, runs)
    found = percentiles(counts, (50,))
    return round(found[0], 3) if found else None
