"""rescue: return the running tasks whose worker has no live lease, or whose time is over.

Asked from the tasks' side, so that a claim that was applied after its worker's end is found too. After PostgreSQL was
away, after it refused a write, and after its own start, it rescues nothing for one lease: the workers could not renew
theirs meanwhile. So it writes before it takes anything from anybody, and at every tick at which something runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from taskflow.domain.attempt import ErrorInfo, Lost, TimedOut
from taskflow.domain.errors import Unavailable
from taskflow.domain.task import Claimed
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.meters import RESCUED
from taskflow.engine.record import follow, judge
from taskflow.kit.logging import get_logger
from taskflow.store import moves, tending, workers
from taskflow.store.connect import Line
from taskflow.store.moves import Record

log = get_logger(__name__)

PAGE = 1_000
DEADLINE_MARGIN_SECONDS = 10.0
_NEVER = float("-inf")
_GONE = ErrorInfo("WorkerLost", "the worker's lease ran out while it ran this task")
_LATE = ErrorInfo("TimeoutError", "the task was still running past its timeout and margin")


class Rescuer:
    """Finds what nobody tends, decides it as a loss or a timeout, and records that.

    `none_run`: whether it is known that nothing runs, so that there is nothing to look for.
    """

    def __init__(
        self,
        line: Line,
        dispatcher: Dispatcher,
        *,
        lease_seconds: float,
        handler_grace: float,
        poison_losses_max: int,
        none_run: Callable[[], bool] = lambda: False,
    ) -> None:
        self._line = line
        self._dispatcher = dispatcher
        self._lease_seconds = lease_seconds
        self._margin_seconds = handler_grace + DEADLINE_MARGIN_SECONDS
        self._poison_losses_max = poison_losses_max
        self._none_run = none_run
        self._openings = -1
        self._well_since = _NEVER
        self._not_before = 0.0
        self._rested = False

    async def run_once(self) -> bool:
        """Returns whether there is more to do."""
        await self._line.opened()
        if self._none_run():
            self._rested = True
            self._may_rescue(time.monotonic())
            return False
        if not self._may_rescue(await self._written()):
            return False
        found = await self._line.run(lambda conn: tending.find_untended(conn, PAGE, self._margin_seconds))
        if not self._may_rescue(self._well_since):
            return False  # the answer was long in coming: the beats of the workers were, too
        await self._line.run(lambda conn: tending.close_orphaned(conn, _GONE, self._margin_seconds))
        if found:
            await self._rescue(found)
        return len(found) >= PAGE

    async def _written(self) -> float:
        """Write as a beat does; returns when that was begun. While PostgreSQL only reads, no lease is renewed.

        While nothing runs nothing is written here, so that nobody knows whether it could be. What runs after that was
        claimed by a live lease, perhaps in its last moment: two thirds of a lease are time for the next beat, and less
        than what a lease lasts that was fresh.
        """
        began = time.monotonic()
        try:
            await self._line.run(workers.touch)
        except Unavailable:
            self._well_since = _NEVER
            raise
        if self._rested:
            self._rested = False
            self._hold_still(self._lease_seconds * 2 / 3)
        return began

    def _may_rescue(self, well_since: float) -> bool:
        """Not within a lease of a new connection, of a write that failed, or of a pause in which leases may have run out.

        All is well since `well_since`: when a write was begun that succeeded, or a look at which nothing ran.
        """
        late = time.monotonic() - self._well_since > self._lease_seconds * 2 / 3
        self._well_since = well_since
        if late or self._line.openings != self._openings:
            self._openings = self._line.openings
            self._hold_still(self._lease_seconds)
        return time.monotonic() >= self._not_before

    def _hold_still(self, seconds: float) -> None:
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    async def _rescue(self, found: list[tuple[Claimed, bool]]) -> None:
        taken = await take_back(
            self._line, self._dispatcher, found, _GONE, _LATE, poison_losses_max=self._poison_losses_max
        )
        for record in taken:
            RESCUED.labels(record.decision.execution).inc()
        if taken:
            log.warning("tasks.rescued", count=len(taken), task_ids=[record.task.id for record in taken[:5]])


async def take_back(
    line: Line,
    dispatcher: Dispatcher,
    found: list[tuple[Claimed, bool]],
    gone: ErrorInfo,
    late: ErrorInfo,
    *,
    poison_losses_max: int,
) -> list[Record]:
    """Record what became of untended tasks: `gone` says why one was lost, `late` (its worker lives) why it timed out.

    Before tasks are taken from workers, these are pronounced dead: one that renewed meanwhile keeps its own.
    """
    suspects = {task.worker_id for task, live in found if not live}
    dead = await line.run(lambda conn: workers.pronounce_dead(conn, list(suspects)))
    records = [
        judge(task, TimedOut(late) if live else Lost(gone), poison_losses_max=poison_losses_max)
        for task, live in found
        if live or task.worker_id in dead
    ]
    recorded = await line.run(lambda conn: moves.record_outcomes(conn, records))
    follow(dispatcher, recorded, records)
    return [record for record in records if moves.its_move(recorded, record)]
