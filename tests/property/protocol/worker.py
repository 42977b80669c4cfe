"""A worker's process: it starts, runs handlers, records how they ended, drains, and is gone."""

from __future__ import annotations

from collections.abc import Iterator

from tests.property.protocol import bus
from tests.property.protocol.bus import ring
from tests.property.protocol.rules import Scope
from tests.property.protocol.statements import record_outcomes, ring_again
from tests.property.protocol.steps import FAIR, FAULT, MAY, WILL, Step, stands_for
from tests.property.protocol.world import NONE, PARKED, QUEUED, Late, Lease, Process, Try, Worker, World

WORKING = (Process.UP, Process.DRAINING)
THERE = (Process.UP, Process.DRAINING, Process.PAUSED, Process.BLOCKED)


def owner_of(world: World, number: int) -> tuple[int, int]:
    """The present identity of a worker."""
    return number, world.workers[number].generation


def untouched(scope: Scope, world: World) -> bool:
    """No worker has done anything yet, and the first is as good as any other."""
    alike = len(set(scope.declared)) == 1
    return (
        alike
        and all(worker == _FRESH for worker in world.workers)
        and all(r.version <= 1 for r in world.rows)
    )


_FRESH = Worker()


@stands_for("taskflow.engine.execute.Executor._ended", "taskflow.handlers.runner.Runner.start")
def handler_ends(scope: Scope, world: World) -> Iterator[Step]:
    """A handler returns or raises, of its own will."""
    for number, worker in enumerate(world.workers):
        if worker.process not in WORKING:
            continue
        for tried in sorted(worker.running):
            for outcome in scope.outcomes:
                label = (
                    f"the handler of task {tried.task}, version {tried.version}, ends on w{number}: {outcome}"
                )
                yield Step(label, WILL, finish(scope, world, number, tried, outcome))
            if "record dropped" in world.faults:
                dropped = world.without_fault("record dropped").with_worker(
                    number, running=worker.running - {tried}, held=worker.held - {tried}
                )
                yield Step(f"w{number} drops the result of task {tried.task}", FAULT, dropped)


def finish(scope: Scope, world: World, number: int, tried: Try, outcome: str) -> World:
    """`Recorder.finish`: a result waits for the statement under way, or is sent at once."""
    worker = world.workers[number]
    ended = worker.ended | {(tried, outcome)}
    world = world.with_worker(number, running=worker.running - {tried}, ended=ended)
    return world if scope.gathers else send_record(world, number)


def send_record(world: World, number: int) -> World:
    """The batch that has gathered goes, if none is under way."""
    worker = world.workers[number]
    if worker.record or not worker.ended:
        return world
    return world.with_worker(number, record=worker.ended, ended=NONE)


@stands_for("taskflow.kit.batcher.Batcher")
def sends_record(scope: Scope, world: World) -> Iterator[Step]:
    """Where results gather: the batch goes."""
    for number, worker in enumerate(world.workers):
        if worker.process in WORKING and worker.ended and not worker.record:
            yield Step(f"w{number} sends what has ended", FAIR, send_record(world, number))


@stands_for(
    "taskflow.store.moves.RECORD_OUTCOMES",
    "taskflow.store.moves.RECORD_SUCCESSES",
    "taskflow.store.moves.RECORD_TOLD_SUCCESSES",
    "taskflow.store.moves.CLOSE_EXECUTIONS",
    "taskflow.engine.record.Recorder._write",
    "taskflow.engine.record.follow",
)
def record_is_applied(scope: Scope, world: World) -> Iterator[Step]:
    """PostgreSQL records how tries ended, and says so; what went back to `queued` is rung, what failed is noticed."""
    for number, worker in enumerate(world.workers):
        if not worker.record or worker.process not in THERE:
            continue
        applied, moved = record_outcomes(scope, world, worker.record)
        what = ", ".join(
            f"task {end.task} v{end.version} {outcome}" for end, outcome in sorted(worker.record)
        )
        if worker.process in (Process.PAUSED, Process.BLOCKED):
            if moved:
                yield Step(f"w{number} does not hear that this is recorded: {what}", MAY, applied)
            continue
        batch = frozenset(end for end, _ in worker.record)
        applied = applied.with_worker(number, record=NONE, held=worker.held - (batch - worker.running))
        if not scope.gathers:
            applied = send_record(applied, number)
        applied = noticed(world, applied)
        changed = sorted({end.task for end in moved})
        step = Step(f"w{number} records: {what}" + ("" if moved else " (changes nothing)"), FAIR, applied)
        yield from ring(scope, world, applied, changed, step, unsent=_unsent)


def _unsent(world: World, bells: frozenset[tuple[int, int]]) -> World:
    return world._replace(unsent=world.unsent | bells)


def noticed(before: World, world: World) -> World:
    """`dispatch.notice`: of tasks that have failed since, as messages on `tasks.dlq`."""
    fresh = {
        (task, row.life)
        for task, row in enumerate(world.rows)
        if row.status == "failed" and row.version != before.rows[task].version
    }
    return world._replace(notices=world.notices | fresh) if fresh else world


@stands_for(
    "taskflow.engine.crew.Crew.drain", "taskflow.engine.execute.Executor.drain", "taskflow.store.workers.END"
)
def drains(scope: Scope, world: World) -> Iterator[Step]:
    """A worker that was told to stop hands back what does not end in time, records it, and gives its lease up."""
    for number, worker in enumerate(world.workers):
        if worker.process != Process.DRAINING or worker.claim or worker.parking:
            continue
        for tried in sorted(worker.running):
            label = f"w{number} hands back task {tried.task}, version {tried.version}"
            yield Step(label, FAIR, finish(scope, world, number, tried, "released"))
        if not worker.running and not worker.ended and not worker.record:
            ended = (
                world.with_worker(number, lease=Lease.ENDED)
                if worker.lease in (Lease.LIVE, Lease.OVER)
                else world
            )
            yield Step(f"w{number} gives its lease up and ends", FAIR, killed(ended, number))


def killed(world: World, number: int) -> World:
    """The process is gone. What it had sent may still be carried out."""
    worker, late = world.workers[number], set(world.late)
    if worker.claim and not worker.claim.answered:
        late.add(Late(claim=(worker.claim.task, owner_of(world, number))))
    if worker.record:
        late.add(Late(ends=worker.record))
    gone = Worker(process=Process.DEAD, generation=worker.generation, lease=worker.lease)
    world = bus.let_go(world, number)._replace(late=frozenset(late))
    return world._replace(workers=(*world.workers[:number], gone, *world.workers[number + 1 :]))


@stands_for(
    "taskflow.engine.crew.Crew.__aenter__", "taskflow.engine.heal.unpark", "taskflow.store.workers.REGISTER"
)
def process_starts(scope: Scope, world: World) -> Iterator[Step]:
    """A new process takes the place of one that is gone, under a new name, and unparks what it can run.

    It comes once the old lease is over: before that, it would be nothing but one more worker.
    """
    for number, worker in enumerate(world.workers):
        dead = worker.process == Process.DEAD and worker.lease != Lease.LIVE and scope.restarts
        if worker.process != Process.ABSENT and not dead:
            continue
        fresh = Worker(generation=worker.generation + 1)
        started = world._replace(workers=(*world.workers[:number], fresh, *world.workers[number + 1 :]))
        yield Step(f"w{number} starts", FAIR, unparked(scope, started, scope.declared[number]))


def unparked(scope: Scope, world: World, kinds: str) -> World:
    """`engine.heal.unpark`: parked tasks of these types are stamped anew and rung."""
    for task, row in enumerate(world.rows):
        if row.status == QUEUED and row.rung_at == PARKED and row.kind in kinds:
            world = ring_again(scope, world, task)
            world = bus.publish(scope, world, task, world.rows[task].rung_at)
    return world
