"""What callers ask of the api: submit, cancel, replay, discard; and that an expiry is told in time."""

from __future__ import annotations

from collections.abc import Iterator

from tests.property.protocol.bus import ring
from tests.property.protocol.policy import TERMINALS
from tests.property.protocol.rules import Scope
from tests.property.protocol.statements import cancel_task, insert_task, replayable, retry_task
from tests.property.protocol.steps import USER, Step, stands_for
from tests.property.protocol.world import World


def _unsent(world: World, bells: frozenset[tuple[int, int]]) -> World:
    return world._replace(unsent=world.unsent | bells)


def _dies(world: World) -> World:
    """An api remembers nothing that matters."""
    return world


@stands_for(
    "taskflow.engine.submit.Submitter",
    "taskflow.store.inserts.INSERT_TASKS",
    "taskflow.store.inserts.INSERT_ALIKE",
)
def submits(scope: Scope, world: World) -> Iterator[Step]:
    """The next task is accepted: its row is committed, then its doorbell rung."""
    task = next((task for task, row in enumerate(world.rows) if row.status is None), None)
    if task is not None:
        made = insert_task(scope, world, task)
        step = Step(f"task {task} is submitted", USER, made)
        yield from ring(scope, world, made, [task], step, unsent=_unsent, dies=("api crash", _dies))


@stands_for("taskflow.engine.commands.Commands.cancel", "taskflow.store.commands.CANCEL_TASKS")
def cancels(scope: Scope, world: World) -> Iterator[Step]:
    """A live task is cancelled. The word of it that goes over the bus is taken for lost: a beat must do."""
    if "cancel" not in world.faults:
        return
    for task, row in enumerate(world.rows):
        if row.status is not None and row.status not in TERMINALS:
            cancelled = cancel_task(world.without_fault("cancel"), task)
            yield Step(f"a caller cancels task {task}, which is {row.status}", USER, cancelled)


@stands_for(
    "taskflow.engine.commands.Commands.retry",
    "taskflow.engine.commands.Commands.replay_letter",
    "taskflow.store.commands.RETRY_TASKS",
    "taskflow.store.commands.REPLAY_LETTERS",
)
def replays(scope: Scope, world: World) -> Iterator[Step]:
    """A task that is over gets its next life."""
    if "replay" not in world.faults:
        return
    for task in range(len(world.rows)):
        if replayable(world, task):
            begun = retry_task(scope, world.without_fault("replay"), task)
            step = Step(f"a caller replays task {task}", USER, begun)
            yield from ring(scope, world, begun, [task], step, unsent=_unsent, dies=("api crash", _dies))


@stands_for("taskflow.engine.commands.Commands.discard_letter", "taskflow.store.commands.DISCARD_LETTERS")
def discards(scope: Scope, world: World) -> Iterator[Step]:
    """A pending letter is resolved without a replay."""
    if "discard" not in world.faults:
        return
    for letter in world.letters:
        if letter.status == "pending":
            letters = tuple(
                one._replace(status="discarded") if one == letter else one for one in world.letters
            )
            done = world.without_fault("discard")._replace(letters=letters)
            yield Step(f"a caller discards the letter of task {letter.task}, life {letter.life}", USER, done)


@stands_for("taskflow.store.tending.TURN_TASKS", "taskflow.store.moves.CLAIM_TASKS")
def passes_expires_at(scope: Scope, world: World) -> Iterator[Step]:
    """The moment comes after which a task is not to be started any more."""
    if "expire" not in world.faults:
        return
    for task, row in enumerate(world.rows):
        if row.status is not None and row.status not in TERMINALS:
            late = world.without_fault("expire").with_row(task, lapsed=True)
            yield Step(f"the expires_at of task {task} passes", USER, late)
