"""Dead letters are made known: the dlq-consumer handles each, the scheduler announces again what it has not."""

from __future__ import annotations

from collections.abc import Iterator

from tests.property.protocol.rules import Scope
from tests.property.protocol.statements import insert_letter
from tests.property.protocol.steps import FAIR, Step, stands_for
from tests.property.protocol.world import World


@stands_for("taskflow.engine.bury.Reminder.run_once", "taskflow.store.dead_letters.UNHANDLED_LETTERS")
def reminds(scope: Scope, world: World) -> Iterator[Step]:
    """A letter that nobody has handled is announced again."""
    if not scope.rules.notices_again:
        return
    waiting = {(letter.task, letter.life) for letter in world.letters if not letter.handled} - world.notices
    for notice in sorted(waiting):
        label = f"the letter of task {notice[0]}, life {notice[1]}, is announced again"
        yield Step(label, FAIR, world._replace(notices=world.notices | {notice}))


@stands_for("taskflow.engine.bury.Undertaker._handle", "taskflow.store.dead_letters.STAMP_LETTERS")
def buries(scope: Scope, world: World) -> Iterator[Step]:
    """The dlq-consumer takes a notice and stamps its letter."""
    for task, life in sorted(world.notices):
        taken = world._replace(notices=world.notices - {(task, life)})
        if not scope.rules.letter_with_failure:
            taken = insert_letter(taken, task, life)
        letters = tuple(
            letter._replace(handled=True) if (letter.task, letter.life) == (task, life) else letter
            for letter in taken.letters
        )
        yield Step(
            f"the dlq-consumer handles task {task}, life {life}", FAIR, taken._replace(letters=letters)
        )
