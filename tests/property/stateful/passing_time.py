"""What time does: deeds of nobody, made by bringing times of rows into the past."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.property.stateful.deeds import only
from tests.property.stateful.values import ENDED, State
from tests.property.stateful.world import Deed, World
from tests.support.engines import move_times

_PAST = "now() - interval '1 hour'"


def lease_out(world: World, who: int, *, long_ago: bool) -> Deed:
    """A worker falls silent, for a moment or for hours."""
    worker = world.hands[who].id

    async def act() -> None:
        past = "2 hours" if long_ago else "1 ms"
        statement = f"UPDATE workers SET lease_until = now() - interval '{past}' WHERE id = $1"
        await move_times(world.engines.ground, statement, worker)
        if world.fleet.get(worker) == "live":
            world.fleet[worker] = "out"
        if worker in world.fleet:
            (world.ancient.add if long_ago else world.ancient.discard)(worker)

    return Deed(act)


def come_due(world: World, ids: Sequence[str]) -> Deed:
    """The time of these has come."""
    statement = f"UPDATE tasks SET due_at = {_PAST} WHERE id = ANY($1::uuid[]) AND due_at IS NOT NULL"
    return _time(world, ids, statement, lambda task: replace(task, due="past") if task.due else task)


def grow_late(world: World, ids: Sequence[str]) -> Deed:
    """These should have started by now."""
    statement = f"UPDATE tasks SET expires_at = {_PAST} WHERE id = ANY($1::uuid[]) AND expires_at IS NOT NULL"
    return _time(world, ids, statement, lambda task: replace(task, expiry="past") if task.expiry else task)


def overrun(world: World, ids: Sequence[str]) -> Deed:
    """These run past their timeout and every margin, or have a try that is open for so long."""

    async def act() -> None:
        for statement in (
            f"UPDATE tasks SET started_at = {_PAST} WHERE id = ANY($1::uuid[]) AND status = 'running'",
            f"UPDATE executions SET started_at = {_PAST} WHERE task_id = ANY($1::uuid[]) AND status = 'started'",
        ):
            await move_times(world.engines.ground, statement, list(ids))

    def on(task: State) -> State:
        tries = tuple(replace(one, overdue=one.status == "started") for one in task.tries)
        return replace(task, overdue=task.status == "running", tries=tries)

    return Deed(act, (only(ids, on),))


def grow_old(world: World) -> Deed:
    """All that has ended, and all letters that are resolved, ended long ago."""
    ids = list(world.tasks)

    async def act() -> None:
        for statement in (
            f"UPDATE tasks SET finished_at = {_PAST} WHERE finished_at IS NOT NULL",
            f"UPDATE dead_letters SET resolved_at = {_PAST} WHERE resolved_at IS NOT NULL",
            f"UPDATE dead_letters SET created_at = {_PAST}",
        ):
            await move_times(world.engines.ground, statement)

    def on(task: State) -> State:
        letters = tuple(replace(one, old=one.status != "pending") for one in task.letters)
        return replace(task, old=task.status in ENDED, letters=letters)

    return Deed(act, (only(ids, on),))


def _time(world: World, ids: Sequence[str], statement: str, on: Callable[[State], State]) -> Deed:
    async def act() -> None:
        await move_times(world.engines.ground, statement, list(ids))

    return Deed(act, (only(ids, on),))
