"""What goes wrong, each as often as the scope says."""

from __future__ import annotations

from collections.abc import Iterator

from tests.property.protocol import bus
from tests.property.protocol.rules import Scope
from tests.property.protocol.scheduler import crashed
from tests.property.protocol.statements import claim_task, record_outcomes
from tests.property.protocol.steps import FAIR, FAULT, MAY, Step, stands_for
from tests.property.protocol.worker import THERE, WORKING, killed, owner_of, untouched
from tests.property.protocol.world import GRACE, NONE, Holder, Late, Lease, Process, Worker, World


def _victims(scope: Scope, world: World, *processes: str) -> Iterator[tuple[int, Worker]]:
    for number, worker in enumerate(world.workers):
        if worker.process in processes and not (number and untouched(scope, world)):
            yield number, worker


@stands_for("taskflow.cli.dev.supervisor")
def worker_crashes(scope: Scope, world: World) -> Iterator[Step]:
    """SIGKILL."""
    if "crash" in world.faults:
        for number, _ in _victims(scope, world, *THERE):
            yield Step(f"w{number} CRASHES", FAULT, killed(world.without_fault("crash"), number))


@stands_for("taskflow.engine.beat.Heart.lease_live")
def worker_is_paused(scope: Scope, world: World) -> Iterator[Step]:
    """SIGSTOP, and SIGCONT some time later, perhaps past the lease."""
    if "pause" in world.faults:
        for number, _ in _victims(scope, world, Process.UP):
            paused = world.without_fault("pause").with_worker(number, process=Process.PAUSED)
            yield Step(f"w{number} is STOPPED", FAULT, paused)
    for number, worker in enumerate(world.workers):
        if worker.process == Process.PAUSED:
            yield Step(f"w{number} goes on", FAIR, world.with_worker(number, process=Process.UP))


@stands_for("taskflow.engine.watchdog.Watchdog")
def loop_is_blocked(scope: Scope, world: World) -> Iterator[Step]:
    """A coroutine does not give the event loop back; the heart's thread goes on."""
    if "block" in world.faults:
        for number, worker in _victims(scope, world, Process.UP):
            if worker.running:
                blocked = world.without_fault("block").with_worker(number, process=Process.BLOCKED)
                yield Step(f"the loop of w{number} is BLOCKED", FAULT, blocked)


@stands_for("taskflow.engine.crew.Crew.drain")
def worker_is_told_to_stop(scope: Scope, world: World) -> Iterator[Step]:
    """SIGTERM."""
    if "drain" in world.faults:
        for number, _ in _victims(scope, world, Process.UP):
            draining = world.without_fault("drain").with_worker(number, process=Process.DRAINING)
            yield Step(f"w{number} is told to stop", FAULT, draining)


@stands_for("taskflow.engine.beat.Heart")
def heart_is_cut_off(scope: Scope, world: World) -> Iterator[Step]:
    """The heart's connection is cut, the others are not; some time later it is back."""
    if "mute" in world.faults:
        for number, _ in _victims(scope, world, Process.UP):
            mute = world.without_fault("mute").with_worker(number, mute=True)
            yield Step(f"the heart of w{number} is CUT OFF", FAULT, mute)
    for number, worker in enumerate(world.workers):
        if worker.mute:
            yield Step(f"the heart of w{number} is heard again", FAIR, world.with_worker(number, mute=False))


@stands_for("taskflow.store.workers.BEAT")
def lease_runs_out(scope: Scope, world: World) -> Iterator[Step]:
    """Nobody has renewed a lease in time."""
    for number, worker in enumerate(world.workers):
        silent = worker.mute or worker.process in (Process.PAUSED, Process.DEAD)
        if worker.lease == Lease.LIVE and silent:
            yield Step(f"the lease of w{number} runs out", FAIR, world.with_worker(number, lease=Lease.OVER))


@stands_for("taskflow.store.connect.Line.run", "taskflow.store.errors.AnswerLost")
def claim_answer_is_lost(scope: Scope, world: World) -> Iterator[Step]:
    """The connection dies under a claim: carried out, or to be carried out later, or never. It is given back."""
    if "claim answer lost" not in world.faults:
        return
    for number, worker in enumerate(world.workers):
        if worker.claim is None or worker.process not in WORKING:
            continue
        lost = bus.hold(world.without_fault("claim answer lost"), worker.claim.bell, Holder.WAITING)
        if not worker.claim.answered:
            late = Late(claim=(worker.claim.task, owner_of(world, number)))
            lost = lost._replace(late=lost.late | {late})
        if not worker.claim.answered or worker.claim.won:
            yield Step(
                f"the ANSWER to the claim of w{number} is LOST", FAULT, lost.with_worker(number, claim=None)
            )


@stands_for("taskflow.store.errors.verdict", "taskflow.kit.batcher.Batcher")
def record_answer_is_lost(scope: Scope, world: World) -> Iterator[Step]:
    """The connection dies under a record; the batch is repeated."""
    if "record answer lost" not in world.faults:
        return
    for number, worker in enumerate(world.workers):
        if worker.record and worker.process in WORKING:
            unheard = world.without_fault("record answer lost")
            applied, moved = record_outcomes(scope, unheard, worker.record)
            if moved:
                yield Step(
                    f"the ANSWER to the record of w{number} is LOST, which was carried out", FAULT, applied
                )
            late = unheard._replace(late=unheard.late | {Late(ends=worker.record)})
            yield Step(f"the ANSWER to the record of w{number} is LOST", FAULT, late)


@stands_for("taskflow.store.moves.CLAIM_TASKS", "taskflow.store.moves.RECORD_OUTCOMES")
def late_statement(scope: Scope, world: World) -> Iterator[Step]:
    """What was sent over a connection that is gone is carried out after all, or never."""
    for late in sorted(world.late, key=repr):
        rest = world._replace(late=world.late - {late})
        yield Step("a statement of a lost connection is never carried out", FAIR, rest)
        if late.claim is not None:
            claimed, won = claim_task(scope, rest, *late.claim)
            if won:
                yield Step(f"a late claim of w{late.claim[1][0]} wins version {won.version}", MAY, claimed)
        else:
            recorded, moved = record_outcomes(scope, rest, late.ends)
            if moved:
                yield Step("a late record is carried out", MAY, recorded)


@stands_for("taskflow.bus.streams.ensure_streams", "taskflow.engine.intake.Intake._puller")
def stream_is_deleted(scope: Scope, world: World) -> Iterator[Step]:
    """JetStream loses all it has, and the streams are made anew. Deliveries in hand belong to the old ones."""
    if "wipe" not in world.faults:
        return
    wiped = world.without_fault("wipe")._replace(bells=(), notices=NONE)
    for number, worker in enumerate(wiped.workers):
        stale = {
            name: call._replace(bell=bus.STALE)
            for name, call in (("claim", worker.claim), ("parking", worker.parking))
            if call
        }
        wiped = wiped.with_worker(number, **stale)
    yield Step("the bus LOSES everything", FAULT, wiped)


@stands_for("taskflow.bus.streams.read_watermark")
def message_is_stranded(scope: Scope, world: World) -> Iterator[Step]:
    """A message stays in the stream and is never delivered again (nats-server #7680)."""
    if "strand" in world.faults:
        for bell in world.bells:
            if bell.holder == Holder.WAITING:
                stranded = bus.hold(world.without_fault("strand"), bell.number, Holder.STRANDED)
                yield Step(f"the doorbell of task {bell.task} is STRANDED", FAULT, stranded)


@stands_for("taskflow.engine.rescue.Rescuer._may_rescue", "taskflow.store.connect.Line.opened")
def postgres_is_away(scope: Scope, world: World) -> Iterator[Step]:
    """PostgreSQL is away for longer than a lease: no lease could be renewed, every connection is new."""
    if "outage" in world.faults:
        away = _nothing_written(world.without_fault("outage"), holds_off=scope.rules.holds_off)
        yield Step("PostgreSQL is AWAY for longer than a lease", FAULT, away)


@stands_for(
    "taskflow.engine.rescue.Rescuer._written", "taskflow.store.workers.TOUCH", "taskflow.store.workers.touch"
)
def writes_are_refused(scope: Scope, world: World) -> Iterator[Step]:
    """PostgreSQL reads and refuses to write for longer than a lease (a full disk): connections stay."""
    if "writes refused" in world.faults:
        learns = scope.rules.holds_off and scope.rules.writes_before_rescue
        refused = _nothing_written(world.without_fault("writes refused"), holds_off=learns)
        yield Step("PostgreSQL REFUSES writes for longer than a lease", FAULT, refused)


def _nothing_written(world: World, *, holds_off: bool) -> World:
    """Leases ran out, claims were given back, a rescue under way could not go on."""
    for number, worker in enumerate(world.workers):
        changes: dict[str, object] = {"lease": Lease.OVER if worker.lease == Lease.LIVE else worker.lease}
        if worker.claim:
            world = bus.hold(world, worker.claim.bell, Holder.WAITING)
            changes["claim"] = None
        world = world.with_worker(number, **changes)
    for number, scheduler in enumerate(world.schedulers):
        world = world.with_scheduler(number, found=NONE, holds_off=holds_off or scheduler.holds_off)
    return world


@stands_for("taskflow.engine.rescue.Rescuer")
def scheduler_crashes(scope: Scope, world: World) -> Iterator[Step]:
    """SIGKILL, and a new one at once. (Between a commit and its doorbells: see `bus.ring`.)"""
    if "scheduler crash" in world.faults:
        for number, scheduler in enumerate(world.schedulers):
            if scheduler.found or scheduler.watermark is not None or scheduler.unsent:
                again = crashed(number, world.without_fault("scheduler crash"))
                yield Step(f"scheduler {number} CRASHES", FAULT, again)


@stands_for("taskflow.engine.heal.GRACE")
def time_passes(scope: Scope, world: World) -> Iterator[Step]:
    """The clock: an epoch is a grace. A doorbell is published within one, unless its sender is slow."""
    if not scope.clock:
        return
    waiting = [stamp for _, stamp in world.unsent]
    waiting += [stamp for one in world.schedulers for _, stamp in one.unsent]
    if any(world.now - stamp >= GRACE for stamp in waiting):
        if "slow publish" in world.faults:
            slow = world.without_fault("slow publish")
            yield Step("time passes, and a publish is SLOW", FAULT, slow._replace(now=world.now + 1))
        return
    yield Step("time passes", FAIR, world._replace(now=world.now + 1))
    if "api crash" in world.faults and world.unsent:
        yield Step("the api CRASHES", FAULT, world.without_fault("api crash")._replace(unsent=NONE))
