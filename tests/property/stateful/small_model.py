"""What should stand in the rows: a task is one value, and each deed is a function from it to the task after the deed.

Written from the contract's section 2, not from the engine. What a deed may not touch it gives back unchanged.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from tests.property.stateful.values import (
    ENDED,
    GONE,
    LIVE,
    POISON_LOSSES,
    WAITING,
    Claim,
    End,
    Letter,
    State,
    Try,
    When,
)  # fmt: skip


def submitted(
    *, kind: str, lane: int, max_attempts: int, patient: bool, delayed: bool, expires: bool
) -> State:
    """A new task of this type."""
    status = "scheduled" if delayed else "queued"
    return State(
        kind, lane, max_attempts, patient, status, due="later" if delayed else None,
        expiry="later" if expires else None, rung=None if delayed else "rung", told=(status,),
    )  # fmt: skip


def claimed(task: State, worker: str, types: Set[str]) -> State:
    """A worker with a live lease wants it."""
    if task.status != "queued" or task.type not in types or task.expiry == "past":
        return task
    return _moved(
        task, "running", number=task.number + 1, attempt=task.attempt + 1, worker=worker,
        started_seq=task.seq + 1, overdue=False,
    )  # fmt: skip


def finished(task: State, claim: Claim, end: End) -> State:
    """A worker tells how a try ended. Too late, it can only close the try of a task that was cancelled meanwhile."""
    if end is not End.STOPPED and (task.version, task.worker) == (claim.version, claim.worker):
        return _ended(task, end)
    own = {one.number for one in task.tries if (one.number, one.worker) == (claim.number, claim.worker)}
    return _closed(task, own)


def lost(task: State, dead: Set[str]) -> State:
    """Rescue, which knows these workers dead."""
    if task.status == "running" and task.worker in dead:
        return _ended(task, End.LOST)
    return _ended(task, End.TIMED_OUT) if task.status == "running" and task.overdue else task


def orphan_closed(task: State, dead: Set[str]) -> State:
    """Rescue, for open tries of cancelled tasks that nobody will close."""
    return _closed(task, {one.number for one in task.tries if one.worker in dead or one.overdue})


def turned(task: State) -> State:
    """The scheduler looks at the clock."""
    if task.status in WAITING and task.expiry == "past":
        return _marked(_moved(task, "expired", due=None))
    if task.status in {"scheduled", "retrying"} and task.due == "past":
        return _moved(task, "queued", due=None)
    return task


def cancelled(task: State) -> State:
    """A caller wants it no more."""
    if task.status not in LIVE:
        return task
    after = _marked(_moved(task, "cancelled", due=None))
    if task.status == "running":
        opened = Try(
            task.number, task.life, task.attempt, "started", task.claim.worker, task.started_seq, None,
            "cancelled", task.overdue,
        )  # fmt: skip
        after = replace(after, tries=(*after.tries, opened))
    return after


def retried(task: State) -> State:
    """A caller wants it now: what waits for its time comes due, what ended badly begins a new life."""
    if task.status in {"scheduled", "retrying"}:
        return _marked(_moved(task, "queued", due=None))
    if task.status not in {"failed", "cancelled", "expired"}:
        return task
    letters = tuple(_resolved(letter, "replayed") for letter in task.letters)
    return _marked(
        _moved(
            task, "queued", due=None, expiry=None, worker=None, letters=letters, life=task.life + 1, attempt=0,
            losses=0, snoozes=0,
        )
    )  # fmt: skip


def replayed(task: State, life: int) -> State:
    """An operator replays the dead letter of that life."""
    letter = task.letter(life)
    fits = letter is not None and letter.status == "pending"
    return retried(task) if fits and task.status == "failed" and task.life == life else task


def discarded(task: State, life: int) -> State:
    """An operator lets the dead letter of that life be: no move, but the history tells of it."""
    letter = task.letter(life)
    if letter is None or letter.status != "pending":
        return task
    letters = tuple(_resolved(one, "discarded") if one == letter else one for one in task.letters)
    noted = replace(task, letters=letters, seq=task.seq + 1, told=(*task.told, task.status))
    return _marked(noted)


def parked(task: State) -> State:
    """A worker lets it wait without a doorbell."""
    return replace(task, rung="parked") if task.status == "queued" else task


def unparked(task: State, served: Set[str]) -> State:
    """Its type is run by somebody."""
    mine = task.status == "queued" and task.rung == "parked" and task.type in served
    return replace(task, rung="rung") if mine else task


def logged(task: State, claim: Claim, lines: int) -> State:
    """A handler writes lines: taken while its try is the newest."""
    if task.status == GONE or (task.number, task.worker) != (claim.number, claim.worker):
        return task
    added = tuple(range(task.seq + 1, task.seq + 1 + lines))
    return replace(task, seq=task.seq + lines, logs=task.logs + added, told=task.told + ("log",) * lines)


def pruned(task: State) -> State:
    """The scheduler forgets what ended long ago; a pending dead letter keeps its task."""
    pending = any(letter.status == "pending" for letter in task.letters)
    if task.status not in ENDED or not task.old or pending:
        return task
    return State(task.type, task.lane, task.max_attempts, task.patient, GONE, letters=task.letters)


def letters_pruned(task: State) -> State:
    """The scheduler forgets letters resolved long ago."""
    return replace(task, letters=tuple(one for one in task.letters if one.status == "pending" or not one.old))


def _moved(task: State, status: str, **changes: object) -> State:
    """The next status, version and event; a task that is queued is rung, one that ends is new among the ended."""
    rung = "rung" if status == "queued" else task.rung
    return replace(
        task, status=status, version=task.version + 1, seq=task.seq + 1, rung=rung, old=False,
        told=(*task.told, status), **changes,
    )  # fmt: skip


def _marked(task: State) -> State:
    """The move just made wrote a row of history."""
    return replace(task, marks=(*task.marks, (task.seq, task.status)))


def _resolved(letter: Letter, status: str) -> Letter:
    return replace(letter, status=status) if letter.status == "pending" else letter


def _closed(task: State, numbers: Set[int]) -> State:
    """Those of these tries that are open end."""
    tries = tuple(
        replace(one, status="cancelled", overdue=False)
        if one.status == "started" and one.number in numbers
        else one
        for one in task.tries
    )
    return replace(task, tries=tries)


def _ended(task: State, end: End) -> State:
    """The contract's policy: attempts, losses in a row, poison, snoozes, hand-backs."""
    if end is End.RELEASED and task.max_attempts == 1:
        end = End.LOST
    died = end in {End.DIED, End.LOST}
    losses = task.losses + 1 if died else 0
    spent, snoozes, due, reason = True, task.snoozes, None, None
    patience: When = "later" if task.patient else "past"
    if end is End.SUCCEEDED:
        status, execution = "completed", "succeeded"
    elif end in {End.SNOOZED, End.RELEASED, End.UNBEGUN}:
        spent, losses, execution = False, task.losses, "released"
        snoozed = end is End.SNOOZED
        status, due, snoozes = ("retrying", "later", snoozes + 1) if snoozed else ("queued", None, snoozes)
    else:
        execution = str(end) if end in {End.TIMED_OUT, End.LOST} else "failed"
        status = "failed"
        if died and losses >= POISON_LOSSES:
            reason = "poison"
        elif end in {End.PERMANENT, End.UNSTORABLE}:
            reason = "permanent"
        elif task.attempt >= task.max_attempts:
            reason = "attempts_exhausted"
        elif end is End.LOST and losses == 1:
            status = "queued"
        else:
            status, due = "retrying", "later" if end is End.LATER else patience
    return _recorded(task, status, execution, reason, spent=spent, losses=losses, snoozes=snoozes, due=due)


def _recorded(
    task: State, status: str, execution: str, reason: str | None, *, spent: bool, **changes: object
) -> State:
    attempt = task.attempt if spent else task.attempt - 1
    after = _moved(task, status, attempt=attempt, **changes)
    tried = Try(
        task.number,
        task.life,
        task.attempt,
        execution,
        task.claim.worker,
        task.started_seq,
        after.seq,
        status,
    )
    letters = (*task.letters, Letter(task.life, attempt, reason)) if reason else task.letters
    return replace(after, tries=(*task.tries, tried), letters=letters)
