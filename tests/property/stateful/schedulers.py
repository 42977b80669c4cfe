"""What schedulers do: each deed is a call of the real engine or store, and what the small model says must come of it."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.property.stateful import small_model as model
from tests.property.stateful.deeds import on_a_connection
from tests.property.stateful.values import State
from tests.property.stateful.world import QUEUE, Act, Deed, Effect, World
from tests.support.engines import heal

from taskflow.store import doorbells, stats, tending
from taskflow.store.connect import Conn

_LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
KEEP_SECONDS = 60.0
_PAGE = 1_000


def rescue(world: World, scheduler: int) -> Deed:
    """A scheduler takes tasks from the dead. Who had some and did not renew in time is dead for good."""
    rescuer = world.engines.schedulers[scheduler].rescuer
    silent = {worker for worker, state in world.fleet.items() if state == "out"}

    async def act() -> None:
        await rescuer.run_once()
        for task in world.tasks.values():
            if task.status == "running" and world.fleet.get(task.worker or "") == "out":
                world.fleet[task.worker or ""] = "dead"

    return Deed(
        act,
        (
            Effect(lambda _, task: model.lost(task, world.dead()), may_miss=True),
            # Open tries are closed by the lease alone, also of a worker that renews a moment later.
            Effect(lambda _, task: model.orphan_closed(task, world.dead() | silent), may_miss=True),
        ),
    )


def turn(world: World, scheduler: int) -> Deed:
    """A scheduler queues what is due and expires what is late."""
    turner = world.engines.schedulers[scheduler].turner

    async def act() -> None:
        await turner.run_once()

    return Deed(act, (Effect(lambda _, task: model.turned(task), may_miss=True),))


def ring_again(world: World, lane: int) -> Deed:
    """A healer takes the doorbells of a lane for lost: nothing but stamps may change."""
    before = datetime(2999, 1, 1, tzinfo=UTC)
    return Deed(on_a_connection(world, lambda conn: doorbells.ring_again(conn, QUEUE, lane, before, _PAGE)))


def heal_all(world: World) -> Deed:
    """A whole healer's tick: whatever is parked and has a live worker is rung."""

    async def act() -> None:
        await heal(world.engines.ground)

    def on(_: str, task: State) -> State:
        served = {
            name for hands in world.hands if world.fleet.get(hands.id) == "live" for name in hands.types
        }
        return model.unparked(task, served)

    return Deed(act, (Effect(on),))


def prune(world: World, limit: int) -> Deed:
    """A scheduler deletes a page of what ended long ago, the oldest first."""
    gone = [task_id for task_id, task in world.tasks.items() if model.pruned(task) != task]
    page = frozenset(sorted(gone)[:limit])
    return Deed(_pruning(world, limit), (Effect(lambda i, task: model.pruned(task) if i in page else task),))


def prune_any(world: World) -> Deed:
    """The same while others are at work."""
    return Deed(_pruning(world, _PAGE), (Effect(lambda _, task: model.pruned(task), may_miss=True),))


def _pruning(world: World, limit: int) -> Act:
    async def prune_page(conn: Conn) -> None:
        await tending.prune_tasks(conn, before_id=_LAST_ID, keep_seconds=KEEP_SECONDS, limit=limit)

    return on_a_connection(world, prune_page)


def prune_rest(world: World) -> Deed:
    """A scheduler deletes resolved letters of long ago, and workers long gone."""

    async def pruned(conn: Conn) -> None:
        await tending.prune_letters(conn, keep_seconds=KEEP_SECONDS, limit=1_000)
        await tending.prune_rest(conn, keep_letters_seconds=KEEP_SECONDS)

    delete = on_a_connection(world, pruned)

    async def act() -> None:
        await delete()
        world.letters_pruned = True
        for worker in world.ancient:
            world.fleet.pop(worker, None)
        world.ancient.clear()

    return Deed(act, (Effect(lambda _, task: model.letters_pruned(task)),))


def fold(world: World) -> Deed:
    """A scheduler folds the figures."""
    return Deed(on_a_connection(world, stats.fold))
