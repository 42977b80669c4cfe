"""record: what an attempt came to, decided and written with all that it entails, many attempts a statement.

Guarded by (version, worker): a late result changes nothing and is counted. What follows the commit (doorbells, notices,
news) is handed to the dispatcher.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

from taskflow.bus.publisher import Doorbell
from taskflow.domain.attempt import ErrorInfo, Failed, Outcome, Succeeded
from taskflow.domain.dead_letter import Notice
from taskflow.domain.decide import Decision, decide
from taskflow.domain.task import Claimed
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.meters import FENCED, BatchMeter, count_attempts, count_given_up
from taskflow.kit.batcher import Batcher
from taskflow.kit.clock import now
from taskflow.kit.ids import new_id
from taskflow.kit.logging import get_logger, logs_debug
from taskflow.kit.trace_context import trace_id
from taskflow.store import moves
from taskflow.store.connect import Line
from taskflow.store.errors import Unstorable, verdict
from taskflow.store.moves import Record, Recorded, its_move

log = get_logger(__name__)

RECORDS_MAX = 500
OnRecorded = Callable[[Sequence[Claimed]], None]
OnFailed = Callable[[Exception], None]


def judge(task: Claimed, outcome: Outcome, *, poison_losses_max: int) -> Record:
    """Decide what an outcome means now, with this moment's dice. A success needs neither."""
    moment, roll = (task.started_at, 0.0) if type(outcome) is Succeeded else (now(), random.random())  # nosec B311  # dice, not a secret
    decision = decide(task, outcome, moment, roll=roll, poison_losses_max=poison_losses_max)
    return Record(task, decision, new_id() if decision.bury else None)


class Recorder:
    """Writes the ends of attempts in batches; a batch that PostgreSQL cannot take now is repeated until it can."""

    def __init__(
        self, line: Line, dispatcher: Dispatcher, *, poison_losses_max: int, pending_max: int
    ) -> None:
        self._line = line
        self._dispatcher = dispatcher
        self._poison_losses_max = poison_losses_max
        self._on_recorded: OnRecorded = _unheard
        self._on_failed: OnFailed = _unheard
        self._batcher: Batcher[Record, Recorded | None] = Batcher(
            self._write,
            verdict=verdict,
            items_max=RECORDS_MAX,
            pending_max=pending_max,
            size=_size,
            on_refused=self._refused,
            on_trip=BatchMeter("record"),
        )
        self.fenced = 0

    async def __aenter__(self) -> Self:
        await self._batcher.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._batcher.__aexit__(*_)

    def watch(self, on_recorded: OnRecorded, on_failed: OnFailed) -> None:
        """Tell these of tasks whose records are done with, many at once, and of an error that nothing can mend."""
        self._on_recorded, self._on_failed = on_recorded, on_failed

    def add(self, task: Claimed, outcome: Outcome) -> None:
        """Record how an attempt of this worker ended, without anybody waiting for it but who watches."""
        self._batcher.add_one(self._judged(task, outcome))

    async def finish(self, task: Claimed, outcome: Outcome) -> None:
        """Record how an attempt ended, and wait until it is. What cannot be stored fails the task and no other."""
        try:
            await self._batcher.put(self._judged(task, outcome))
        except Unstorable as error:
            await self._batcher.put(self._unstorable(task, error))

    def _refused(self, record: Record, error: Exception) -> None:
        if isinstance(error, Unstorable):
            self._batcher.add_one(self._unstorable(record.task, error))
        else:
            self._on_failed(error)

    def _judged(self, task: Claimed, outcome: Outcome) -> Record:
        return judge(task, outcome, poison_losses_max=self._poison_losses_max)

    def _unstorable(self, task: Claimed, error: Exception) -> Record:
        log.warning("outcome.refused", task_id=task.id, error=str(error))
        info = ErrorInfo("UnstorableResult", "PostgreSQL refuses what the handler left")
        return self._judged(task, Failed(info, permanent=True))

    async def _write(self, records: list[Record]) -> Sequence[Recorded | None]:
        live = [record for record in records if record.decision.status != "cancelled"]
        recorded = await self._line.run(lambda conn: moves.record_outcomes(conn, live)) if live else {}
        moves_made = [its_move(recorded, record) for record in records]
        stale = [record for record, made in zip(records, moves_made, strict=True) if made is None]
        if stale:
            await self._close(stale)
        follow(self._dispatcher, recorded, records)
        self._on_recorded([record.task for record in records])
        return moves_made

    async def _close(self, stale: list[Record]) -> None:
        closed = await self._line.run(lambda conn: moves.close_executions(conn, stale))
        fenced = [record.task.id for record in stale if (record.task.id, record.task.number) not in closed]
        count_attempts(
            (record.task.queue, record.task.type, "cancelled")
            for record in stale
            if (record.task.id, record.task.number) in closed
        )
        self.fenced += len(fenced)
        FENCED.inc(len(fenced))
        if fenced:
            log.info("results.fenced", count=len(fenced), task_ids=fenced[:5])


def follow(dispatcher: Dispatcher, recorded: dict[str, Recorded], records: Sequence[Record]) -> None:
    """Count what a commit of records moved, and send what it entails."""
    all_moved = len(recorded) == len(records)
    made = records if all_moved else [record for record in records if its_move(recorded, record)]
    count_attempts((record.task.queue, record.task.type, record.decision.execution) for record in made)
    count_given_up(
        (record.task.queue, record.task.type, record.decision.bury) for record in made if record.decision.bury
    )
    if logs_debug():
        for record in made:
            _say(record)
    dispatcher.tell([item.moved for item in recorded.values()])
    if any(record.task.told_events for record in made):
        dispatcher.deliver()
    bells = [
        Doorbell(item.moved.id, item.moved.lane, item.moved.queue, item.rung_at, item.moved.version)
        for item in recorded.values()
        if item.rung_at is not None
    ]
    dispatcher.ring(bells)
    dispatcher.notice(list(_notices(made)))


def _notices(made: Iterable[Record]) -> Iterator[Notice]:
    for record in made:
        task, letter_id, reason = record.task, record.letter_id, record.decision.bury
        if letter_id and reason:
            trace = trace_id(task.trace)
            yield Notice(letter_id, task.id, task.life, task.type, task.queue, reason, trace)


def _say(record: Record) -> None:
    task, decision = record.task, record.decision
    facts: dict[str, Any] = {
        "task_id": task.id,
        "type": task.type,
        "queue": task.queue,
        "life": task.life,
        "attempt": task.attempt,
        "number": task.number,
        "worker_id": task.worker_id,
        "outcome": decision.execution,
        "status": decision.status,
    }
    if task.trace is not None:
        facts["trace_id"] = trace_id(task.trace)
    error = decision.error
    if error is not None:
        facts |= {"error": f"{error.type}: {error.message}", "exception": error.traceback}
    log.debug("attempt.ended", **facts)


def _unheard(_: object) -> None:
    """Nobody watches."""


def _size(record: Record) -> int:
    decision: Decision = record.decision
    error = decision.error
    return (
        200 + len(decision.result or "") + (len(error.message) + len(error.traceback or "") if error else 0)
    )
