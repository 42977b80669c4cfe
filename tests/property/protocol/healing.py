"""Lost doorbells are rung again, each once; parked tasks are rung when somebody can run them."""

from __future__ import annotations

from collections.abc import Iterator

from tests.property.protocol import bus
from tests.property.protocol.rules import Scope
from tests.property.protocol.scheduler import ring_for
from tests.property.protocol.statements import ring_again
from tests.property.protocol.steps import FAIR, Step, stands_for
from tests.property.protocol.worker import unparked
from tests.property.protocol.world import GRACE, PARKED, QUEUED, Lease, World


@stands_for(
    "taskflow.engine.heal.Healer._heal",
    "taskflow.bus.streams.read_watermark",
    "taskflow.store.doorbells.READ_HEADS",
    "taskflow.store.doorbells.RING_AGAIN",
)
def heals(scope: Scope, world: World) -> Iterator[Step]:
    """Queued rows that were rung before the oldest doorbell, less the grace, are rung again."""
    for number in range(len(world.schedulers)):
        if scope.clock:
            yield from _heals_by_the_clock(scope, world, number)
            continue
        lost = _lost(world, bus.watermark(scope, world, bus.FOREVER))
        if lost:
            yield from _rings_again(scope, world, number, lost)


def _heals_by_the_clock(scope: Scope, world: World, number: int) -> Iterator[Step]:
    """The look at the bus and the statement are two steps; between them time may pass."""
    scheduler = world.schedulers[number]
    if scheduler.watermark is None:
        if any(row.status == QUEUED for row in world.rows) and not scheduler.unsent:
            mark = bus.watermark(scope, world, world.now)
            yield Step(
                f"scheduler {number} reads the watermark", FAIR, world.with_scheduler(number, watermark=mark)
            )
        return
    looked = world.with_scheduler(number, watermark=None)
    lost = _lost(world, scheduler.watermark)
    if not lost:
        yield Step(f"scheduler {number} finds every doorbell in its place", FAIR, looked)
        return
    yield from _rings_again(scope, looked, number, lost)


def _lost(world: World, watermark: int) -> list[int]:
    """Whose doorbell is lost. What has lapsed expires before the grace is over: `turn` looks every 0.75 s."""
    return [
        task
        for task, row in enumerate(world.rows)
        if row.status == QUEUED and row.rung_at < watermark - GRACE and not row.lapsed
    ]


def _rings_again(scope: Scope, world: World, number: int, lost: list[int]) -> Iterator[Step]:
    rung = world
    for task in lost:
        if scope.rules.heals_by != "queued_at":
            rung = ring_again(scope, rung, task)
    if "slow publish" not in scope.faults and any(bus.has_doorbell(world, task) for task in lost):
        rung = rung.broken("a task is rung again that still has its doorbell")
    step = Step(f"scheduler {number} rings again: tasks {lost}", FAIR, rung, again=True)
    yield from ring_for(scope, world, rung, lost, step, number)


@stands_for(
    "taskflow.engine.heal.Healer._unpark", "taskflow.store.doorbells.UNPARK", "taskflow.store.workers.served"
)
def healer_unparks(scope: Scope, world: World) -> Iterator[Step]:
    """Parked tasks that a live worker would run are rung."""
    if not scope.rules.healer_unparks:
        return
    served = "".join(
        kinds
        for kinds, worker in zip(scope.declared, world.workers, strict=True)
        if worker.lease == Lease.LIVE
    )
    if any(row.status == QUEUED and row.rung_at == PARKED and row.kind in served for row in world.rows):
        yield Step("scheduler 0 unparks what is served", FAIR, unparked(scope, world, served))
