"""What JetStream does: it keeps doorbells in order until they are acked, and delivers again what was not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tests.property.protocol.rules import Scope
from tests.property.protocol.statements import clock
from tests.property.protocol.steps import FAIR, FAULT, Step, stands_for
from tests.property.protocol.world import PARKED, QUEUED, Bell, Holder, Process, World

STALE = -1
"""The number of a message of a stream that was deleted: its ack names a message of the new one, or none."""
FOREVER = PARKED
"""A watermark above every stamp."""

DOORBELLS_MAX = 3
"""Doorbells of one task that are told apart. Only endless ringing gets so far."""

NATS = ("taskflow.bus.topology.ACK_WAIT_SECONDS", "taskflow.bus.puller.Delivery")


def publish(scope: Scope, world: World, task: int, stamp: int) -> World:
    """`bus.publisher.ring`: a message at the end of the stream."""
    if scope.rules.heals_by == "time of the bus":
        stamp = clock(scope, world) + scope.skew
    if sum(bell.task == task and bell.holder != Holder.STRANDED for bell in world.bells) >= DOORBELLS_MAX:
        return world
    taken = {bell.number for bell in world.bells}
    for worker in world.workers:
        taken.update(call.bell for call in (worker.claim, worker.parking) if call)
    number = next(number for number in range(len(taken) + 1) if number not in taken)
    return world._replace(bells=(*world.bells, Bell(number, task, stamp)))


def hold(world: World, number: int, holder: int) -> World:
    """A message changes hands."""
    if number == STALE:
        return world
    bells = tuple(bell._replace(holder=holder) if bell.number == number else bell for bell in world.bells)
    return world._replace(bells=bells)


def ack(world: World, number: int) -> World:
    """The message goes, whoever has it by now: an ack of an older delivery counts too."""
    if number == STALE:
        return world
    return world._replace(bells=tuple(bell for bell in world.bells if bell.number != number))


def let_go(world: World, worker: int) -> World:
    """What this worker had in its hands comes again after `ack_wait`."""
    bells = tuple(
        bell._replace(holder=Holder.UNACKED) if bell.holder == worker else bell for bell in world.bells
    )
    return world._replace(bells=bells)


def watermark(scope: Scope, world: World, none: int) -> int:
    """`bus.streams.read_watermark`: the stamp of the first message above the ack floor; `none` if there is none."""
    for bell in world.bells:
        if bell.holder != Holder.STRANDED or not scope.rules.above_ack_floor:
            return bell.stamp
    return none


def has_doorbell(world: World, task: int) -> bool:
    """Whether a queued task still has a doorbell that will be heard, or is being published."""
    unsent = {of for of, _ in world.unsent} | {of for one in world.schedulers for of, _ in one.unsent}
    return task in unsent or any(bell.task == task and bell.holder != Holder.STRANDED for bell in world.bells)


def ring(
    scope: Scope, before: World, world: World, tasks: Iterable[int], step: Step, *,
    unsent: Callable[[World, frozenset[tuple[int, int]]], World],
    dies: tuple[str, Callable[[World], World]] | None = None,
) -> Iterator[Step]:  # fmt: skip
    """A commit, and the doorbells that follow it: at once; with a clock some time later; never, if its sender `dies`.

    `before` is the world before the commit, `step` its label and kind.
    """
    rows = world.rows
    bells = frozenset((task, rows[task].rung_at) for task in tasks if rows[task].status == QUEUED)
    if scope.clock:
        yield step._replace(world=unsent(world, bells))
        return
    rung = world
    for task, stamp in sorted(bells):
        rung = publish(scope, rung, task, stamp)
    yield step._replace(world=rung)
    if not bells:
        return
    if dies is not None and dies[0] in world.faults:
        silent = dies[1](world.without_fault(dies[0]))
        yield Step(f"{step.label}, and dies before it rings", FAULT, silent)
    if "published twice" in world.faults:
        twice = rung.without_fault("published twice")
        for task, stamp in sorted(bells):
            twice = publish(scope, twice, task, stamp)
        yield Step(f"{step.label}; rung twice", FAULT, twice)


@stands_for(*NATS)
def redelivers(scope: Scope, world: World) -> Iterator[Step]:
    """`ack_wait` is over for a message that nobody has acked; its holder may be a process that is stopped."""
    for bell in world.bells:
        stopped = bell.holder >= 0 and world.workers[bell.holder].process == Process.PAUSED
        if bell.holder == Holder.UNACKED or stopped:
            label = f"the bus redelivers the doorbell of task {bell.task}"
            yield Step(label, FAIR, hold(world, bell.number, Holder.WAITING))


@stands_for("taskflow.engine.dispatch.Dispatcher.ring", "taskflow.bus.publisher.ring")
def publishes(scope: Scope, world: World) -> Iterator[Step]:
    """With a clock: a doorbell that was stamped is published."""
    for task, stamp in sorted(world.unsent):
        sent = publish(scope, world._replace(unsent=world.unsent - {(task, stamp)}), task, stamp)
        yield Step(f"the doorbell of task {task} is published", FAIR, sent)
    for number, scheduler in enumerate(world.schedulers):
        for bell in sorted(scheduler.unsent):
            sent = publish(scope, world.with_scheduler(number, unsent=scheduler.unsent - {bell}), *bell)
            yield Step(f"scheduler {number} publishes the doorbell of task {bell[0]}", FAIR, sent)
