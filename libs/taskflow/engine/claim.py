"""claim: win queued tasks for this worker, as many as there are free slots, in one statement.

The delivery is acked once the claim is committed: from then on PostgreSQL promises that the task will be finished. An id
that was not won gets a second look, which decides between ack (someone else has it), nak (not now) and park.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Protocol

from taskflow.domain.callback import PUSH_TYPE
from taskflow.domain.errors import Unavailable
from taskflow.domain.task import Claimed
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.heaps import Entry
from taskflow.engine.intake import Intake
from taskflow.engine.meters import BatchMeter, measure_waits
from taskflow.engine.slots import Identity, Slots
from taskflow.engine.timings import Timings
from taskflow.kit.logging import get_logger
from taskflow.store import doorbells, moves, workers
from taskflow.store.connect import Line
from taskflow.store.moves import Remainder

log = get_logger(__name__)

CLAIMS_MAX = 500
FOREIGN_DELAY_SECONDS = 0.1
FOREIGN_TRIES_MAX = 8
AWAY_DELAY_SECONDS = 1.0


class Executor(Protocol):
    """Where won tasks go."""

    def start(self, task: Claimed) -> None: ...


class Claimer:
    """One claim statement at a time; while it is under way the next batch gathers in the intake."""

    def __init__(
        self,
        line: Line,
        identity: Identity,
        slots: Slots,
        dispatcher: Dispatcher,
        executor: Executor,
        timings: Timings,
        *,
        types: Callable[[], list[str]],
        paused_types: Callable[[], set[str]],
    ) -> None:
        """`types()`: what may be started now; tasks with a target may if `PUSH_TYPE` is among them."""
        self._line = line
        self._identity = identity
        self._slots = slots
        self._dispatcher = dispatcher
        self._executor = executor
        self._timings = timings
        self._types = types
        self._paused_types = paused_types
        self._woken = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._meter = BatchMeter("claim")
        self.claiming: frozenset[str] = frozenset()

    def wake(self) -> None:
        """Something arrived, or a slot is free."""
        self._woken.set()

    async def settled(self) -> None:
        """Until no claim is in flight."""
        await self._settled.wait()

    async def run(self, intake: Intake) -> None:
        """Claim whatever lies in the intake while slots are free; for ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            if doubtful := intake.doubtful():
                await self._sort_out(intake, doubtful)
            while (free := self._slots.free) > 0 and (entries := intake.take(min(free, CLAIMS_MAX))):
                await self._claim(intake, entries)
            await intake.shed()

    async def _sort_out(self, intake: Intake, doubtful: list[Entry]) -> None:
        """Of messages that came again, let the ids wait that are still queued; the others are done with."""
        ids = sorted({entry.id for entry in doubtful})
        try:
            rows = await self._line.run(lambda conn: moves.read_remainder(conn, self._identity.id, ids))
        except Unavailable as error:
            log.warning("claim.deferred", count=len(ids), error=str(error))
            await intake.give_back(doubtful, AWAY_DELAY_SECONDS)
            return
        waiting = {task_id for task_id, row in rows.items() if self._waits(row)}
        intake.admit([entry for entry in doubtful if entry.id in waiting])
        for entry in doubtful:
            if entry.id not in waiting:
                await intake.settle(entry)

    async def _claim(self, intake: Intake, entries: list[Entry]) -> None:
        ids = sorted({entry.id for entry in entries})
        worker_id = self._identity.id
        self._settled.clear()
        self.claiming = frozenset(ids)
        try:
            began = time.monotonic()
            won, moved = await self._line.run(
                lambda conn: moves.claim_tasks(conn, worker_id, ids, self._types(), self._unpushed())
            )
            self._meter(len(ids), time.monotonic() - began)
            measure_waits(won)
            self._timings.waited(won)
            for task in won:
                self._executor.start(task)
            self._dispatcher.tell(moved)
            if any(task.told_events for task in won):
                self._dispatcher.deliver()
            winners = {task.id for task in won}
            lost = [entry for entry in entries if entry.id not in winners]
            done = [entry for entry in entries if entry.id in winners]
            if lost:
                done += await self._judge(intake, worker_id, lost)
        except Unavailable as error:
            # Its outcome may be unknown: the beat finds what was won, the bus brings back what was not.
            log.warning("claim.failed", count=len(ids), error=str(error))
            await intake.give_back(entries, AWAY_DELAY_SECONDS)
            return
        finally:
            self.claiming = frozenset()
            self._settled.set()
        for entry in done:
            await intake.settle(entry)

    async def _judge(self, intake: Intake, worker_id: str, lost: list[Entry]) -> list[Entry]:
        """Give back, park, or let go what a claim did not win. Returns what is done with."""
        ids = sorted({entry.id for entry in lost})
        rows = await self._line.run(lambda conn: moves.read_remainder(conn, worker_id, ids))
        foreign = {i for i, row in rows.items() if self._waits(row) and not self._takes(row)}
        served = await self._served() if foreign else set()
        back: list[Entry] = []
        later: list[Entry] = []
        parked: list[Entry] = []
        done: list[Entry] = []
        for entry in lost:
            row = rows.get(entry.id)
            if row is None or not self._waits(row):
                done.append(entry)
            elif entry.id not in foreign:
                back.append(entry)  # no live lease of ours, or the row was locked: not now
            elif self._serves(served, row) and entry.delivery.deliveries <= FOREIGN_TRIES_MAX:
                later.append(entry)
            else:
                parked.append(entry)
        await intake.give_back(back, AWAY_DELAY_SECONDS)
        for entry in later:
            await intake.give_back([entry], _foreign_delay(entry.delivery.deliveries))
        if parked:
            await self._line.run(lambda conn: doorbells.park(conn, [entry.id for entry in parked]))
        return done + parked

    def _unpushed(self) -> list[str] | None:
        """Types of which no task is pushed now; None: none is at all."""
        return sorted(self._paused_types()) if PUSH_TYPE in self._types() else None

    def _serves(self, served: set[tuple[str, str]], row: Remainder) -> bool:
        """Whether another live worker runs it."""
        if not row.pushed:
            return (row.queue, row.type) in served
        return (row.queue, PUSH_TYPE) in served and row.type not in self._paused_types()

    def _takes(self, row: Remainder) -> bool:
        if not row.pushed:
            return row.type in self._types()
        unpushed = self._unpushed()
        return unpushed is not None and row.type not in unpushed

    async def _served(self) -> set[tuple[str, str]]:
        """What other live workers run: pairs of queue and type that are not paused."""
        rows = await self._line.run(workers.read_workers)
        paused = self._paused_types()
        return {pair for pair in workers.served(rows) if pair[1] not in paused}

    @staticmethod
    def _waits(row: Remainder) -> bool:
        return row.status == "queued" and not row.expired


def _foreign_delay(deliveries: int) -> float:
    """Longer each time, and never twice the same: in step with the pulls of the workers, a message could come back for ever
    to the one that cannot run it.
    """
    return float(min(FOREIGN_DELAY_SECONDS * 2 ** (deliveries - 1), 1.0) * (0.5 + random.random()))  # nosec B311  # dice, not a secret
