"""What PostgreSQL does: each function is one statement of the store, applied at once or not at all."""

from __future__ import annotations

from tests.property.protocol.policy import REPLAYABLES, allowed, judged
from tests.property.protocol.rules import Scope
from tests.property.protocol.world import (
    CANCELLED,
    COMPLETED,
    EXPIRED,
    FAILED,
    NEVER,
    NONE,
    PARKED,
    QUEUED,
    RUNNING,
    STEP,
    Ends,
    Key,
    Lease,
    Letter,
    Owner,
    Try,
    World,
)


def clock(scope: Scope, world: World) -> int:
    """`clock_timestamp()`. Without a clock, any time may have passed since whatever is remembered."""
    return world.now if scope.clock else world.newest() + STEP


def _moved(world: World, task: int, target: str, **changes: object) -> World:
    row = world.rows[task]
    if not allowed(row.status or "", target):
        world = world.broken(f"a task moves from {row.status} to {target}")
    moved = {"status": target, "version": row.version + 1, "rung_at": NEVER, **changes}
    return world.with_row(task, **moved)


def _queued(scope: Scope, world: World, task: int, **changes: object) -> World:
    return _moved(world, task, QUEUED, rung_at=clock(scope, world), **changes)


def insert_task(scope: Scope, world: World, task: int) -> World:
    """`store.inserts`: a new row, queued and stamped."""
    return world.with_row(task, status=QUEUED, version=1, rung_at=clock(scope, world))


def claim_task(scope: Scope, world: World, task: int, owner: Owner) -> tuple[World, Try | None]:
    """`CLAIM_TASKS`: of a queued row, by a live lease, of a declared type, in time."""
    row, rules = world.rows[task], scope.rules
    if row.status != QUEUED and (rules.claims_only_queued or row.status is None):
        return world, None
    if row.kind not in scope.declared[owner[0]] or row.lapsed:
        return world, None
    if rules.claims_by_live_lease and not world.lease_lives(owner):
        return world, None
    won = Try(task, row.version + 1, owner, row.life, row.attempt + 1, row.losses)
    world = _moved(world, task, RUNNING, attempt=won.attempt, owner=owner)
    if not world.lease_lives(owner):
        world = world.broken("a worker without a live lease wins a task")
    if won.attempt > scope.max_attempts:
        world = world.broken(f"attempt {won.attempt} of {scope.max_attempts}")
    return world, won


def record_outcomes(scope: Scope, world: World, ends: Ends) -> tuple[World, frozenset[Try]]:
    """`RECORD_OUTCOMES`, then `CLOSE_EXECUTIONS` for what it did not move. Returns what it moved."""
    moved: set[Try] = set()
    for end, outcome in sorted(ends):
        if outcome == "cancelled" or not _is_theirs(scope, world, end):
            continue
        row = world.rows[end.task]
        key = row.version if scope.rules.executions_by_number else row.attempt
        if key in row.recorded:
            return world, NONE  # a duplicate key: PostgreSQL refuses all of it
        world = _recorded(scope, world, end, outcome, key)
        moved.add(end)
    stale = [end for end, _ in sorted(ends) if not _was_moved(scope, end, moved)]
    for end in stale:
        world = _closed(world, end)
    return world, frozenset(moved)


def _is_theirs(scope: Scope, world: World, end: Try) -> bool:
    row = world.rows[end.task]
    if not scope.rules.records_by_version:
        return row.status == RUNNING
    return row.version == end.version and row.owner == end.owner


def _was_moved(scope: Scope, end: Try, moved: set[Try]) -> bool:
    return end in moved if scope.rules.stale_by_version else end.task in {other.task for other in moved}


def _recorded(scope: Scope, world: World, end: Try, outcome: str, key: int) -> World:
    verdict, row = judged(end.attempt, end.losses, scope.max_attempts, outcome), world.rows[end.task]
    if (row.version, row.owner) != (end.version, end.owner):
        world = world.broken("a late result changes a task")
    if not 0 <= verdict.attempt <= scope.max_attempts:
        world = world.broken(f"attempt {verdict.attempt} is recorded")
    changes: dict[str, object] = {
        "attempt": verdict.attempt, "losses": verdict.losses, "recorded": row.recorded | {key}, "owner": None,
    }  # fmt: skip
    if verdict.status == COMPLETED:
        changes["successes"] = row.successes + 1
        if row.successes:
            world = world.broken("two successes in one life")
    if verdict.status == QUEUED:
        return _queued(scope, world, end.task, **changes)
    world = _moved(world, end.task, verdict.status, **changes)
    if verdict.buried and scope.rules.letter_with_failure:
        world = insert_letter(world, end.task, end.life)
    return world


def insert_letter(world: World, task: int, life: int) -> World:
    """The dead letter of a life."""
    return world._replace(letters=tuple(sorted({*world.letters, Letter(task, life)})))


def _closed(world: World, end: Try) -> World:
    opened = world.rows[end.task].opened - {(end.version, end.owner)}
    return world.with_row(end.task, opened=opened)


def read_claims(scope: Scope, world: World, owner: Owner, keys: frozenset[Key]) -> frozenset[Try]:
    """`READ_CLAIMS`: the tries of these tasks that run under this name, as they are now."""
    tries = set()
    for task, version in keys:
        row = world.rows[task]
        if row.status != RUNNING or row.owner != owner:
            continue
        if row.version == version or not scope.rules.lost_claims_by_version:
            tries.add(Try(task, row.version, owner, row.life, row.attempt, row.losses))
    return frozenset(tries)


def running_of(world: World, owner: Owner) -> frozenset[Key]:
    """The part of `BEAT` that tells what PostgreSQL believes to run under this name."""
    return frozenset(
        (task, row.version)
        for task, row in enumerate(world.rows)
        if row.status == RUNNING and row.owner == owner
    )


def pronounce_dead(world: World, owners: set[Owner]) -> tuple[World, set[Owner]]:
    """`PRONOUNCE_DEAD`: those whose lease is over cannot renew it from now on. Unknown ones are dead."""
    dead = {owner for owner in owners if not world.lease_lives(owner)}
    for number, generation in dead:
        worker = world.workers[number]
        if worker.generation == generation and worker.lease == Lease.OVER:
            world = world.with_worker(number, lease=Lease.ENDED)
    return world, dead


def renew_lease(scope: Scope, world: World, owner: Owner) -> tuple[World, bool]:
    """The part of `BEAT` that renews: late too, until somebody has pronounced the worker dead."""
    worker = world.workers[owner[0]]
    if worker.generation != owner[1] or worker.lease not in (
        (Lease.LIVE, Lease.OVER) if scope.rules.renews_late else (Lease.LIVE,)
    ):
        return world, False
    return world.with_worker(owner[0], lease=Lease.LIVE), True


def park(world: World, task: int) -> World:
    """`PARK`: a queued row waits without a doorbell."""
    return world.with_row(task, rung_at=PARKED) if world.rows[task].status == QUEUED else world


def ring_again(scope: Scope, world: World, task: int) -> World:
    """`RING_AGAIN` and `UNPARK`: a new stamp."""
    return world.with_row(task, rung_at=clock(scope, world))


def turn_task(scope: Scope, world: World, task: int) -> World:
    """`TURN_TASKS`: what has lapsed expires, what is due is queued."""
    row = world.rows[task]
    return _moved(world, task, EXPIRED) if row.lapsed else _queued(scope, world, task)


def cancel_task(world: World, task: int) -> World:
    """`CANCEL_TASKS`: by status; the try of a running task stays open."""
    row = world.rows[task]
    opened = row.opened | {(row.version, row.owner)} if row.status == RUNNING else row.opened
    return _moved(world, task, CANCELLED, owner=None, opened=opened)


def retry_task(scope: Scope, world: World, task: int) -> World:
    """`RETRY_TASKS`: the next life of a task that is over; its pending letter is replayed."""
    row = world.rows[task]
    letters = tuple(
        letter._replace(status="replayed") if letter.task == task and letter.status == "pending" else letter
        for letter in world.letters
    )
    world = _queued(
        scope, world, task, life=row.life + 1, attempt=0, losses=0, lapsed=False, successes=0, starts=NONE
    )
    return world._replace(letters=letters)


def replayable(world: World, task: int) -> bool:
    """Whether a replay of this task is answered with 202."""
    return world.rows[task].status in REPLAYABLES


def is_failed(world: World, letter: Letter) -> bool:
    """Whether the life of this letter is the task's present one, and failed."""
    row = world.rows[letter.task]
    return row.status == FAILED and row.life == letter.life
