"""The heart of a worker: it beats, learns what PostgreSQL believes, and ends a process whose loop is blocked."""

from __future__ import annotations

from collections.abc import Iterator

from tests.property.protocol.rules import Scope
from tests.property.protocol.statements import read_claims, record_outcomes, renew_lease, running_of
from tests.property.protocol.steps import FAIR, MAY, Step, stands_for
from tests.property.protocol.worker import WORKING, finish, killed, noticed, owner_of, send_record
from tests.property.protocol.world import NONE, Beat, Ends, Key, Lease, Process, Worker, World

BEATS_WAITING_MAX = 2
BEATING = (Process.UP, Process.BLOCKED, Process.DRAINING)


@stands_for("taskflow.engine.beat.Heart._beat_once", "taskflow.store.workers.BEAT")
def beats(scope: Scope, world: World) -> Iterator[Step]:
    """One beat, from the heart's own thread; its answer waits for the loop.

    A beat that finds nothing to renew, to compare or to forget changes nothing, and is left out.
    """
    for number, worker in enumerate(world.workers):
        if worker.process not in BEATING or worker.mute:
            continue
        if len(worker.beats) >= _beats_waiting_max(scope, worker):
            continue
        owner = owner_of(world, number)
        renewed, lives = renew_lease(scope, world, owner)
        answer = Beat(owner, lives, running_of(world, owner), worker.held)
        if worker.lease == Lease.LIVE and _tells_nothing(worker, answer):
            continue
        renewed = renewed.with_worker(number, beats=(*worker.beats, answer))
        label = f"w{number} beats" + ("" if lives else ", whose lease is lost,")
        if (
            worker.process in WORKING
            and not worker.beats
            and not scope.slow_loops
            and not _busy_learning(worker)
        ):
            did, learnt = _learnt(scope, renewed, number)
            yield Step(f"{label} and {did}", FAIR, learnt)
        else:
            yield Step(label, FAIR, renewed)


def _beats_waiting_max(scope: Scope, worker: Worker) -> int:
    """How many answers may wait: one that is learnt at once; more if the loop does not turn, or is slow."""
    if worker.process == Process.BLOCKED or (worker.registering and not scope.rules.beats_by_identity):
        return BEATS_WAITING_MAX
    return 0 if _busy_learning(worker) and not scope.slow_loops else 1


def _tells_nothing(worker: Worker, beat: Beat) -> bool:
    mine = {tried.key for tried in worker.held if tried.owner == beat.owner}
    strangers = any(tried.owner != beat.owner for tried in worker.running)
    return mine == beat.running and not strangers and not worker.suspects


@stands_for("taskflow.engine.reconcile.Reconciler.learn")
def learns(scope: Scope, world: World) -> Iterator[Step]:
    """The loop acts on the answer to a beat, one at a time."""
    for number, worker in enumerate(world.workers):
        if worker.process not in WORKING or not worker.beats or _busy_learning(worker):
            continue
        did, learnt = _learnt(scope, world, number)
        yield Step(f"w{number} {did}", FAIR, learnt)


def _learnt(scope: Scope, world: World, number: int) -> tuple[str, World]:
    worker = world.workers[number]
    beat, told = worker.beats[0], world.with_worker(number, beats=worker.beats[1:])
    if scope.rules.beats_by_identity and beat.owner != owner_of(world, number):
        return "does not listen to what was told to an older name", told
    if not beat.lease_live:
        return "starts over", _started_over(scope, told, number)
    if scope.rules.two_way_comparison:
        return "compares", _compared(scope, told, number, beat)
    return "compares nothing", told


def _busy_learning(worker: Worker) -> bool:
    """Registering, or handing back: `learn` waits for both."""
    handing = any(outcome == "unbegun" for _, outcome in worker.ended | worker.record)
    return worker.registering or bool(worker.unknown) or handing


def _started_over(scope: Scope, world: World, number: int) -> World:
    """`Reconciler._start_over`: stop everything, become another worker."""
    worker = world.workers[number]
    if worker.lease == Lease.LIVE or scope.nobody_dies:
        world = world.broken("a worker that lives starts over")
    for tried in sorted(worker.running):
        if tried in worker.held:
            world = finish(scope, world, number, tried, "released")
    if scope.rules.beats_by_identity:
        return world.with_worker(number, registering=True, suspects=NONE)
    return world.with_worker(
        number, registering=True, suspects=NONE, generation=worker.generation + 1, lease=Lease.GONE
    )


@stands_for("taskflow.engine.reconcile.Reconciler._start_over", "taskflow.store.workers.REGISTER")
def registers(scope: Scope, world: World) -> Iterator[Step]:
    """The new identity gets its first lease."""
    for number, worker in enumerate(world.workers):
        if worker.process in WORKING and worker.registering and not worker.mute:
            generation = worker.generation + scope.rules.beats_by_identity
            known = world.with_worker(number, registering=False, generation=generation, lease=Lease.LIVE)
            yield Step(f"w{number} is registered under a new name", FAIR, known)


def _compared(scope: Scope, world: World, number: int, beat: Beat) -> World:
    """`Reconciler._stop_strangers` and `Reconciler._hand_back_unknown`, but for its statement."""
    owner = owner_of(world, number)
    for tried in sorted(beat.held):
        mine = tried.owner == owner and tried.key in beat.running
        if not mine and tried in world.workers[number].running and tried in world.workers[number].held:
            world = finish(scope, world, number, tried, "cancelled")
    worker = world.workers[number]
    known = {tried.key for tried in beat.held | worker.held}
    claiming = worker.claim.task if worker.claim else None
    unknown = frozenset(key for key in beat.running - known if key[0] != claiming)
    return world.with_worker(number, suspects=unknown, unknown=unknown & worker.suspects)


@stands_for("taskflow.engine.reconcile.Reconciler._hand_back_unknown", "taskflow.store.tending.READ_CLAIMS")
def hands_back(scope: Scope, world: World) -> Iterator[Step]:
    """Claims that nobody here holds, as two beats in a row saw, are read and released."""
    for number, worker in enumerate(world.workers):
        if worker.process not in WORKING or not worker.unknown:
            continue
        tries = read_claims(scope, world, owner_of(world, number), worker.unknown)
        back = world.with_worker(number, unknown=NONE)
        if tries & worker.held:
            back = back.broken("a worker hands back a claim that it holds")
        back = back.with_worker(number, ended=worker.ended | {(tried, "unbegun") for tried in tries})
        yield Step(f"w{number} hands back {_named(worker.unknown)}", FAIR, send_record(back, number))


def _named(keys: frozenset[Key]) -> str:
    return ", ".join(f"task {task}, version {version}" for task, version in sorted(keys))


@stands_for("taskflow.engine.watchdog.Watchdog._judge_blocked", "taskflow.engine.watchdog.Watchdog._verdict")
def watchdog_judges(scope: Scope, world: World) -> Iterator[Step]:
    """The loop is blocked and a handler overdue: one is to blame, the others are to be handed back."""
    for number, worker in enumerate(world.workers):
        if worker.process != Process.BLOCKED or worker.verdict is not None or not scope.rules.watchdog:
            continue
        held = sorted(worker.held)
        blamed = next((tried for tried in held if tried in worker.running), None)
        ends = frozenset((tried, "timeout" if tried == blamed else "released") for tried in held)
        yield Step(f"the watchdog of w{number} judges", FAIR, world.with_worker(number, verdict=ends))


@stands_for(
    "taskflow.engine.give_up.give_up",
    "taskflow.engine.watchdog.Watchdog._end_at_once",
    "taskflow.store.workers.END",
)
def watchdog_ends(scope: Scope, world: World) -> Iterator[Step]:
    """It records that over its own connection, releases what else runs under this name, and ends the process."""
    for number, worker in enumerate(world.workers):
        if worker.verdict is None or worker.process not in BEATING:
            continue
        ended = killed(_given_up(scope, world, number, worker.verdict), number)
        yield Step(f"the watchdog of w{number} records, and ends the process", FAIR, ended)
        if worker.mute:
            yield Step(
                f"the watchdog of w{number} cannot record, and ends the process", MAY, killed(world, number)
            )


def _given_up(scope: Scope, world: World, number: int, ends: Ends) -> World:
    owner = owner_of(world, number)
    known = {tried.key for tried, _ in ends}
    others = read_claims(scope, world, owner, running_of(world, owner) - known)
    recorded, _ = record_outcomes(scope, world, ends | {(tried, "unbegun") for tried in others})
    recorded = noticed(world, recorded)
    return (
        recorded.with_worker(number, lease=Lease.ENDED)
        if recorded.workers[number].lease in (Lease.LIVE, Lease.OVER)
        else recorded
    )


@stands_for("taskflow.engine.watchdog.Watchdog._heard")
def loop_turns_again(scope: Scope, world: World) -> Iterator[Step]:
    """What blocked the loop may end, at any moment."""
    for number, worker in enumerate(world.workers):
        if worker.process == Process.BLOCKED:
            yield Step(
                f"the loop of w{number} turns again", MAY, world.with_worker(number, process=Process.UP)
            )
