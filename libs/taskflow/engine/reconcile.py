"""What a beat teaches: claims nobody holds go back, handlers of tasks that are no longer ours stop, pauses take hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from taskflow.domain.attempt import Released
from taskflow.domain.errors import Unavailable
from taskflow.domain.task import Claimed
from taskflow.engine.claim import Claimer
from taskflow.engine.execute import Executor
from taskflow.engine.intake import Intake
from taskflow.engine.record import Recorder
from taskflow.engine.slots import Identity
from taskflow.kit.ids import new_id
from taskflow.kit.logging import get_logger
from taskflow.store.connect import Database
from taskflow.store.tending import read_claims
from taskflow.store.workers import Beat

log = get_logger(__name__)


class Reconciler:
    """Compares a beat's answer with memory, both ways. `learn` runs on the event loop, once a beat."""

    def __init__(
        self,
        database: Database,
        identity: Identity,
        executor: Executor,
        claimer: Claimer,
        recorder: Recorder,
        intake: Intake,
        *,
        register: Callable[[str], Awaitable[None]],
    ) -> None:
        self._database = database
        self._identity = identity
        self._executor = executor
        self._claimer = claimer
        self._recorder = recorder
        self._intake = intake
        self._register = register
        self._suspects: set[tuple[str, int]] = set()
        self.paused_types: set[str] = set()
        self.draining = False

    async def learn(self, held_before: dict[tuple[str, int], Claimed], beat: Beat) -> None:
        """Act on the answer to a beat that was sent while `held_before` was held."""
        if beat.worker_id != self._identity.id:
            return  # told to a name that was given up meanwhile
        if not beat.lease_live:
            await self._start_over()
            return
        self._stop_strangers(held_before, beat)
        await self._hand_back_unknown(held_before, beat)
        self.paused_types = set(beat.paused_types)
        self.draining = beat.drain
        await self._intake.pause(set(beat.paused_queues))

    async def _start_over(self) -> None:
        """The lease was lost: what runs here may run elsewhere already. Stop it, and become another worker."""
        log.error("lease.lost", worker_id=self._identity.id)
        await self._intake.open(False)
        self._executor.release_all("the worker's lease was lost")
        worker_id = new_id()
        await self._register(worker_id)
        self._identity.become(worker_id)  # not before it is known: a beat would be told that it is dead

    def _stop_strangers(self, held_before: dict[tuple[str, int], Claimed], beat: Beat) -> None:
        for task in held_before.values():
            mine = task.worker_id == self._identity.id and (task.id, task.version) in beat.running
            if not mine and self._executor.cancel(task.id, task.version):
                log.info("handler.stopped", task_id=task.id)

    async def _hand_back_unknown(self, held_before: dict[tuple[str, int], Claimed], beat: Beat) -> None:
        """A claim is unknown if two beats in a row saw it, nobody holds it, and its answer is not awaited any more."""
        known = held_before.keys() | self._executor.held.keys()
        unknown = {pair for pair in beat.running - known if pair[0] not in self._claimer.claiming}
        pairs = unknown & self._suspects
        lost = sorted(task_id for task_id, _ in pairs)
        self._suspects = unknown
        if not lost:
            return
        log.warning("claims.handed_back", count=len(lost), task_ids=lost[:5])
        try:
            async with self._database.connection() as conn:
                tasks = await read_claims(conn, self._identity.id, lost)
        except Unavailable:
            return
        for task in tasks:
            if (task.id, task.version) not in pairs:
                continue  # beats of a while ago: it has been claimed anew since
            await self._recorder.finish(task, Released("the answer to the claim was lost", begun=False))
