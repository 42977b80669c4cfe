"""What the scheduler does with tasks whose time has come or whose worker is gone. There may be two of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.property.protocol.bus import ring
from tests.property.protocol.rules import Scope
from tests.property.protocol.statements import pronounce_dead, record_outcomes, running_of, turn_task
from tests.property.protocol.steps import FAIR, FAULT, Step, stands_for
from tests.property.protocol.worker import noticed
from tests.property.protocol.world import (
    NONE,
    QUEUED,
    RETRYING,
    RUNNING,
    SCHEDULED,
    Lease,
    Owner,
    Process,
    Try,
    World,
)

RENEWING = (Process.UP, Process.BLOCKED, Process.DRAINING)


def crashed(number: int, world: World) -> World:
    """A scheduler starts anew: it remembers nothing, and holds off."""
    holds_off = any(row.status == RUNNING for row in world.rows)
    return world.with_scheduler(number, found=NONE, watermark=None, unsent=NONE, holds_off=holds_off)


def ring_for(
    scope: Scope, before: World, world: World, tasks: list[int], step: Step, number: int
) -> Iterator[Step]:
    def unsent(of: World, bells: frozenset[tuple[int, int]]) -> World:
        return of.with_scheduler(number, unsent=of.schedulers[number].unsent | bells)

    return ring(
        scope, before, world, tasks, step, unsent=unsent, dies=("scheduler crash", partial(crashed, number))
    )


@stands_for("taskflow.engine.turn.Turner.run_once", "taskflow.store.tending.TURN_TASKS")
def turns(scope: Scope, world: World) -> Iterator[Step]:
    """Tasks come due, or expire."""
    for task, row in enumerate(world.rows):
        due = row.status in (SCHEDULED, RETRYING)
        if due or (row.lapsed and row.status == QUEUED):
            turned = turn_task(scope, world, task)
            step = Step(f"task {task} {'expires' if row.lapsed else 'comes due'}", FAIR, turned)
            yield from ring_for(scope, world, turned, [task], step, 0)


@stands_for(
    "taskflow.engine.rescue.Rescuer.run_once",
    "taskflow.engine.rescue.Rescuer._may_rescue",
    "taskflow.store.tending.FIND_UNTENDED",
)
def finds_untended(scope: Scope, world: World) -> Iterator[Step]:
    """A rescue begins: it reads the running tasks whose worker has no live lease, or whose time is over."""
    for number, scheduler in enumerate(world.schedulers):
        if scheduler.holds_off or scheduler.found:
            continue
        found = frozenset(_untended(scope, world))
        if found and not scope.slow_loops and not any(_may_renew(world, tried.owner) for tried, _ in found):
            yield from _rescues(scope, world, number, found)
        elif found:
            named = ", ".join(f"task {tried.task} v{tried.version}" for tried, _ in sorted(found))
            yield Step(
                f"scheduler {number} finds untended: {named}", FAIR, world.with_scheduler(number, found=found)
            )


def _may_renew(world: World, owner: Owner) -> bool:
    """Whether this identity may yet say that it lives."""
    worker = world.workers[owner[0]]
    return (
        worker.generation == owner[1]
        and worker.process != Process.DEAD
        and worker.lease in (Lease.LIVE, Lease.OVER)
    )


def _untended(scope: Scope, world: World) -> Iterator[tuple[Try, bool]]:
    for task, row in enumerate(world.rows):
        if row.status != RUNNING or row.owner is None:
            continue
        live = world.lease_lives(row.owner)
        if not scope.rules.rescues_from_tasks:
            worker = world.workers[row.owner[0]]
            live = live or worker.generation != row.owner[1] or worker.lease == Lease.GONE
        if not live or (scope.rules.deadline and _is_overdue(world, task)):
            yield Try(task, row.version, row.owner, row.life, row.attempt, row.losses), live


def _is_overdue(world: World, task: int) -> bool:
    """Whether this may be past its timeout, grace and margin: a worker that is well ends its handlers before that."""
    row = world.rows[task]
    number, generation = row.owner or (0, 0)
    worker, key = world.workers[number], (task, row.version)
    if worker.process not in (Process.UP, Process.DRAINING) or worker.generation != generation:
        return True
    awaited = worker.claim and worker.claim.won and worker.claim.won.key == key
    return not awaited and all(tried.key != key for tried in worker.held)


@stands_for(
    "taskflow.engine.rescue.take_back",
    "taskflow.store.workers.PRONOUNCE_DEAD",
    "taskflow.store.workers.pronounce_dead",
    "taskflow.store.moves.record_outcomes",
)
def rescues(scope: Scope, world: World) -> Iterator[Step]:
    """The rescue goes on: who has renewed meanwhile keeps its own; what is taken is recorded as lost or timed out."""
    for number, scheduler in enumerate(world.schedulers):
        if scheduler.found:
            yield from _rescues(scope, world, number, scheduler.found)


def _rescues(scope: Scope, world: World, number: int, found: frozenset[tuple[Try, bool]]) -> Iterator[Step]:
    suspects = {tried.owner for tried, live in found if not live}
    judged, dead = pronounce_dead(world, suspects) if scope.rules.pronounces_dead else (world, suspects)
    ends = frozenset(
        (tried, "timeout" if live else "lost") for tried, live in found if live or tried.owner in dead
    )
    recorded, moved = record_outcomes(scope, judged, ends)
    lost = {tried for tried in moved if (tried, "lost") in ends}
    if scope.nobody_dies and lost:
        recorded = recorded.broken("a try is lost though no worker died")
    if any(world.lease_lives(tried.owner) for tried in lost):
        recorded = recorded.broken("a task is taken from a worker with a live lease")
    recorded = noticed(world, recorded.with_scheduler(number, found=NONE))
    tasks = sorted({tried.task for tried in moved})
    if moved and "scheduler crash" in world.faults:
        yield Step(
            f"scheduler {number} pronounces workers dead and CRASHES",
            FAULT,
            crashed(number, judged.without_fault("scheduler crash")),
        )
    step = Step(f"scheduler {number} rescues " + (f"tasks {tasks}" if tasks else "nothing"), FAIR, recorded)
    yield from ring_for(scope, world, recorded, tasks, step, number)


@stands_for("taskflow.engine.rescue.Rescuer._may_rescue")
def hold_off_ends(scope: Scope, world: World) -> Iterator[Step]:
    """A lease has passed: whoever lives has renewed."""
    renewed = all(
        worker.lease != Lease.OVER
        for worker in world.workers
        if worker.process in RENEWING and not worker.mute
    )
    for number, scheduler in enumerate(world.schedulers):
        if scheduler.holds_off and renewed:
            over = world.with_scheduler(number, holds_off=False)
            yield Step(f"scheduler {number} has held off for a lease", FAIR, over)


@stands_for("taskflow.store.tending.CLOSE_ORPHANED", "taskflow.store.tending.close_orphaned")
def closes_orphaned(scope: Scope, world: World) -> Iterator[Step]:
    """Tries of cancelled tasks whose worker is gone, or whose time is over, are closed."""
    if all(scheduler.holds_off for scheduler in world.schedulers):
        return
    for task, row in enumerate(world.rows):
        for tried in sorted(row.opened):
            if not world.lease_lives(tried[1]) or (
                scope.rules.closes_overdue_tries and _is_forgotten(world, task, tried)
            ):
                closed = world.with_row(task, opened=row.opened - {tried})
                yield Step(f"the open try of task {task}, version {tried[0]}, is closed", FAIR, closed)


def _is_forgotten(world: World, task: int, tried: tuple[int, tuple[int, int]]) -> bool:
    worker = world.workers[tried[1][0]]
    held = {one.key for one in worker.held | worker.running} | {
        one.key for one, _ in worker.ended | worker.record
    }
    return (task, tried[0]) not in held or worker.process not in (Process.UP, Process.DRAINING)


@stands_for("taskflow.store.tending.PRUNE_WORKERS")
def prunes_workers(scope: Scope, world: World) -> Iterator[Step]:
    """The row of a worker that is gone for an hour is deleted. (What ran under it has been rescued by then.)"""
    if scope.restarts:
        return  # one that starts in its place makes it as unknown
    for number, worker in enumerate(world.workers):
        idle = not running_of(world, (number, worker.generation))
        if worker.process == Process.DEAD and worker.lease not in (Lease.LIVE, Lease.GONE) and idle:
            yield Step(f"the row of w{number} is deleted", FAIR, world.with_worker(number, lease=Lease.GONE))
