"""What programs do: each deed is a call of the real engine or store, and what the small model says must come of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.property.stateful import small_model as model
from tests.property.stateful.values import End, State
from tests.property.stateful.world import LEASE_SECONDS, QUEUE, Act, Deed, Effect, World, claim_of, together
from tests.support.engines import POISON_LOSSES_MAX

from taskflow.domain.account import By
from taskflow.domain.attempt import (
    DIED,
    Cancelled,
    ErrorInfo,
    Failed,
    Outcome,
    Released,
    Snoozed,
    Succeeded,
    TimedOut,
)  # fmt: skip
from taskflow.domain.errors import AlreadyReplayed, NotFound, TaskFinished, TaskNotRetryable
from taskflow.domain.task import Claimed
from taskflow.engine.record import judge
from taskflow.store import commands, doorbells, history, moves, workers

_ERROR = ErrorInfo("ValueError", "no")
BY = By("test")
_LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
KEEP_SECONDS = 60.0
_PAGE = 1_000
OUTCOMES: dict[End, Outcome] = {
    End.SUCCEEDED: Succeeded('{"ok": true}'),
    End.FAILED: Failed(_ERROR),
    End.PERMANENT: Failed(_ERROR, permanent=True),
    End.UNSTORABLE: Succeeded('{"cut off":'),
    End.TIMED_OUT: TimedOut(_ERROR),
    End.DIED: Failed(ErrorInfo(DIED, "signal 9"), died=True),
    End.LATER: Failed(_ERROR, delay_seconds=60),
    End.SNOOZED: Snoozed(60, "not yet"),
    End.RELEASED: Released("drain"),
    End.UNBEGUN: Released("drain", begun=False),
    End.STOPPED: Cancelled(_ERROR),
}
"""What a worker can tell; that a worker is lost, rescue tells."""


def claim(world: World, who: int, ids: Sequence[str], *, told: bool = True) -> Deed:
    """A worker wants these, whatever they are by now. Not `told`: the answer does not reach it."""
    hands, worker = world.hands[who], world.hands[who].id
    line = world.engines.ground.claimers[who]
    wanted = frozenset(ids)

    async def act() -> None:
        won, moved = await line.run(lambda conn: moves.claim_tasks(conn, worker, sorted(wanted), hands.types))
        assert {(one.id, one.version) for one in moved} == {(one.id, one.version) for one in won}
        for task in won:
            world.won(who, task, told=told)

    def on(task_id: str, task: State) -> State:
        may = task_id in wanted and world.fleet.get(worker) == "live"
        return model.claimed(task, worker, set(hands.types)) if may else task

    return Deed(act, (Effect(on, may_miss=world.fleet.get(worker) != "live"),))


def finish(world: World, who: int, ends: Sequence[tuple[Claimed, End]]) -> Deed:
    """A worker records these ends together, whether or not the tasks are still its own."""
    recorder = world.engines.recorders[who]

    async def act() -> None:
        late, before = sum(_too_late(world, task, end) for task, end in ends), recorder.fenced
        for task, _ in ends:
            world.hands[who].held.pop((task.id, task.version), None)
        await together(*(recorder.finish(task, OUTCOMES[end]) for task, end in ends))
        assert world.racing or recorder.fenced == before + late, "late results are not counted"

    return Deed(act, (_finished(ends),))


def finish_unanswered(world: World, who: int, ends: Sequence[tuple[Claimed, End]]) -> Deed:
    """The record is applied, its answer is lost, and it is sent again."""
    line = world.engines.ground.recorders[who]
    storable = [(task, End.FAILED if end is End.UNSTORABLE else end) for task, end in ends]
    live = [(task, end) for task, end in storable if end is not End.STOPPED]

    async def act() -> None:
        records = [judge(task, OUTCOMES[end], poison_losses_max=POISON_LOSSES_MAX) for task, end in live]
        for task, _ in ends:
            world.hands[who].held.pop((task.id, task.version), None)
        await line.run(lambda conn: moves.record_outcomes(conn, records))
        assert await line.run(lambda conn: moves.record_outcomes(conn, records)) == {}
        await line.run(lambda conn: moves.close_executions(conn, records))

    return Deed(act, (_finished(live),))


def _too_late(world: World, task: Claimed, end: End) -> bool:
    """Whether this end can change nothing any more."""
    now = world.tasks[task.id]
    return model.finished(now, claim_of(task), end) == now


def _finished(ends: Sequence[tuple[Claimed, End]]) -> Effect:
    def on(task_id: str, task: State) -> State:
        for claimed, end in ends:
            task = model.finished(task, claim_of(claimed), end) if claimed.id == task_id else task
        return task

    return Effect(on)


def write_lines(world: World, tasks: Sequence[Claimed]) -> Deed:
    """Handlers log two lines each."""
    at = datetime.now(UTC)
    lines = [history.Line(t.id, t.number, t.worker_id, at, "info", "said") for t in tasks for _ in range(2)]

    def on(task_id: str, task: State) -> State:
        for claimed in tasks:
            task = model.logged(task, claim_of(claimed), 2) if claimed.id == task_id else task
        return task

    return Deed(on_a_connection(world, lambda conn: history.append_lines(conn, lines)), (Effect(on),))


def renew(world: World, who: int) -> Deed:
    """A worker beats while others are at work: it is either renewed or dead, and knows which."""
    worker = world.hands[who].id

    async def act() -> None:
        line = world.engines.ground.claimers[who]
        answer = await line.run(lambda conn: workers.beat(conn, worker, LEASE_SECONDS, 0))
        world.beats[worker] = answer.lease_live

    return Deed(act)


def cancel(world: World, ids: Sequence[str]) -> Deed:
    """Several at once, as a bulk command does."""
    return Deed(
        on_a_connection(world, lambda conn: commands.cancel_tasks(conn, list(ids), BY)),
        (only(ids, model.cancelled),),
    )


def cancel_one(world: World, task_id: str) -> Deed:
    """A caller's cancel."""
    return _command(world, task_id, model.cancelled, lambda: world.engines.commands.cancel(task_id, BY))


def retry_one(world: World, task_id: str) -> Deed:
    """A caller's retry."""
    return _command(world, task_id, model.retried, lambda: world.engines.commands.retry(task_id, BY))


def replay(world: World, letter: tuple[str, int]) -> Deed:
    """An operator's replay of a dead letter."""
    task_id, life = letter
    letter_id = world.books.letter_id(task_id, life)
    return _command(
        world, task_id, lambda task: model.replayed(task, life),
        lambda: world.engines.commands.replay_letter(letter_id, None, BY),
    )  # fmt: skip


def discard(world: World, letter: tuple[str, int]) -> Deed:
    """An operator's discard of a dead letter."""
    task_id, life = letter
    letter_id = world.books.letter_id(task_id, life)
    return _command(
        world, task_id, lambda task: model.discarded(task, life),
        lambda: world.engines.commands.discard_letter(letter_id, BY),
    )  # fmt: skip


def _command(
    world: World, task_id: str, on: Callable[[State], State], call: Callable[[], Awaitable[Any]]
) -> Deed:
    """What changes nothing is refused, and nothing else is."""

    async def act() -> None:
        refused = False
        try:
            await call()
        except (AlreadyReplayed, NotFound, TaskFinished, TaskNotRetryable):
            refused = True
        assert world.racing or refused == (on(world.tasks[task_id]) == world.tasks[task_id])

    return Deed(act, (only([task_id], on),))


def park(world: World, ids: Sequence[str]) -> Deed:
    """A worker that does not know their types lets them wait."""
    return Deed(on_a_connection(world, lambda conn: doorbells.park(conn, ids)), (only(ids, model.parked),))


def unpark(world: World, who: int) -> Deed:
    """A worker starts that knows their types."""
    types = world.hands[who].types
    pairs = [(QUEUE, name) for name in types]
    return Deed(
        on_a_connection(world, lambda conn: doorbells.unpark(conn, pairs, _PAGE)),
        (Effect(lambda _, task: model.unparked(task, set(types)), may_miss=True),),
    )


def only(ids: Sequence[str], on: Callable[[State], State]) -> Effect:
    """An effect on these tasks alone."""
    wanted = frozenset(ids)
    return Effect(lambda task_id, task: on(task) if task_id in wanted else task)


def on_a_connection(world: World, call: Callable[[Any], Awaitable[Any]]) -> Act:
    """A call of the store on a connection of its own."""

    async def act() -> None:
        async with world.engines.ground.database.connection() as conn:
            await call(conn)

    return act
