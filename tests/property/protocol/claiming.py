"""The way of a task into a worker: take a doorbell, claim, and look again at what was not won."""

from __future__ import annotations

from collections.abc import Iterator

from tests.property.protocol import bus
from tests.property.protocol.rules import Scope
from tests.property.protocol.statements import claim_task, park
from tests.property.protocol.steps import FAIR, FAULT, MAY, Step, stands_for
from tests.property.protocol.worker import WORKING, owner_of, untouched
from tests.property.protocol.world import QUEUED, Claim, Holder, Lease, Process, Try, World


@stands_for(
    "taskflow.bus.puller.Puller", "taskflow.engine.intake.Intake", "taskflow.engine.claim.Claimer.run"
)
def takes_doorbell(scope: Scope, world: World) -> Iterator[Step]:
    """A worker with a free slot pulls a doorbell and sends its claim. One claim at a time."""
    for number, worker in enumerate(world.workers):
        if (
            worker.process != Process.UP
            or worker.claim
            or worker.parking
            or len(worker.running) >= scope.slots
        ):
            continue
        if number and untouched(scope, world):
            continue  # all workers are alike: let the first be the first
        for bell in world.bells:
            if bell.holder == Holder.WAITING:
                taken = bus.hold(world, bell.number, number)
                taken = taken.with_worker(number, claim=Claim(bell.task, bell.number))
                yield Step(f"w{number} hears of task {bell.task} and sends a claim", FAIR, taken)


@stands_for("taskflow.store.moves.CLAIM_TASKS", "taskflow.store.moves.claim_tasks")
def claim_is_applied(scope: Scope, world: World) -> Iterator[Step]:
    """PostgreSQL carries out a claim that was sent."""
    for number, worker in enumerate(world.workers):
        claim = worker.claim
        if claim is None or claim.answered:
            continue
        applied, won = claim_task(scope, world, claim.task, owner_of(world, number))
        if won is None and worker.process in WORKING and not scope.slow_loops:
            yield from _second_look(scope, applied.with_worker(number, claim=None), number, claim)
            continue
        applied = applied.with_worker(number, claim=claim._replace(answered=True, won=won))
        result = f"wins version {won.version}" if won else "wins nothing"
        yield Step(f"the claim of w{number} for task {claim.task} {result}", FAIR, applied)


@stands_for(
    "taskflow.engine.claim.Claimer._claim",
    "taskflow.engine.claim.Claimer._judge",
    "taskflow.store.moves.READ_REMAINDER",
    "taskflow.engine.execute.Executor.start",
)
def claim_is_answered(scope: Scope, world: World) -> Iterator[Step]:
    """The worker learns what it won: it starts the handler and acks, or takes a second look."""
    for number, worker in enumerate(world.workers):
        claim = worker.claim
        if worker.process not in WORKING or claim is None or not claim.answered:
            continue
        answered = world.with_worker(number, claim=None)
        if claim.won is None:
            yield from _second_look(scope, answered, number, claim)
            continue
        started = _started(scope, answered, number, claim.won)
        label = f"w{number} starts the handler of task {claim.task}, version {claim.won.version},"
        yield from _acks(world, started, claim, label)


def _started(scope: Scope, world: World, number: int, won: Try) -> World:
    """`Executor.start`, then the handler's first step."""
    worker, row = world.workers[number], world.rows[won.task]
    held = worker.held
    if not scope.rules.held_by_version:
        held = frozenset(other for other in held if other.task != won.task)
    if worker.verdict is not None and scope.rules.nothing_begins_after_verdict:
        return world.with_worker(number, held=held | {won})
    if won.version in row.starts:
        world = world.broken("a handler starts twice for one version")
    if row.starts and won.life == row.life and scope.max_attempts == 1:
        world = world.broken("a handler starts twice though it has one attempt")
    if won.life == row.life:
        world = world.with_row(won.task, starts=row.starts | {won.version})
    return world.with_worker(number, held=held | {won}, running=worker.running | {won})


def _acks(before: World, world: World, claim: Claim, label: str) -> Iterator[Step]:
    yield Step(f"{label} and acks", FAIR, bus.ack(world, claim.bell))
    if claim.bell == bus.STALE:
        for bell in world.bells:
            if bell.holder >= 0 or bell.holder == Holder.UNACKED:
                yield Step(
                    f"{label} and its stale ack takes a doorbell of task {bell.task}",
                    MAY,
                    bus.ack(world, bell.number),
                )
    elif "ack lost" in before.faults:
        lost = bus.hold(world.without_fault("ack lost"), claim.bell, Holder.UNACKED)
        yield Step(f"{label} and its ack is lost", FAULT, lost)


def _second_look(scope: Scope, world: World, number: int, claim: Claim) -> Iterator[Step]:
    """What a claim did not win: gone on, ack; not now, nak; of a foreign type, nak a few times and then park."""
    row, rules = world.rows[claim.task], scope.rules
    who = f"w{number}, which did not win task {claim.task},"
    if row.status != QUEUED or row.lapsed:
        yield from _acks(world, world, claim, who)
        return
    naked = bus.hold(world, claim.bell, Holder.WAITING)
    if row.kind in scope.declared[number]:
        yield Step(f"{who} gives it back", FAIR, naked)
        return
    if rules.foreign == "nak" or (
        rules.foreign == "park" and _served_elsewhere(scope, world, number, row.kind)
    ):
        yield Step(f"{who} does not know its type and gives it back", FAIR, naked)
    if rules.foreign == "park":
        yield Step(f"{who} is going to park it", FAIR, world.with_worker(number, parking=claim))
    if rules.foreign == "ack":
        yield Step(f"{who} does not know its type and acks", FAIR, bus.ack(world, claim.bell))


def _served_elsewhere(scope: Scope, world: World, number: int, kind: str) -> bool:
    """`store.workers.served`, as another worker sees it."""
    return any(
        other != number and worker.lease == Lease.LIVE and kind in scope.declared[other]
        for other, worker in enumerate(world.workers)
    )


@stands_for("taskflow.store.doorbells.PARK", "taskflow.store.doorbells.park")
def parks(scope: Scope, world: World) -> Iterator[Step]:
    """The statement that parks a task of a foreign type; then its doorbell is acked."""
    for number, worker in enumerate(world.workers):
        if (claim := worker.parking) is None or worker.process not in WORKING:
            continue
        parked = bus.ack(park(world, claim.task).with_worker(number, parking=None), claim.bell)
        yield Step(f"w{number} parks task {claim.task}", FAIR, parked)
