"""What must hold in every state, and what every state must be able to reach by fair steps alone.

That a goal can always be reached so is the same as that, under strong fairness, it is reached: there is no trap, no set
of states without it that fair steps cannot leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.property.protocol.policy import TERMINALS
from tests.property.protocol.rules import Scope
from tests.property.protocol.statements import is_failed
from tests.property.protocol.steps import FAIR, WILL
from tests.property.protocol.world import FAILED, RUNNING, Process, World


def breach(scope: Scope, world: World) -> str | None:
    """The law that a state breaks, if it breaks one; what a single move can break, the moves tell themselves."""
    if world.breach is not None and world.breach not in scope.excused:
        return world.breach
    lives = {(letter.task, letter.life) for letter in world.letters}
    for task, row in enumerate(world.rows):
        if row.status == FAILED and (task, row.life) not in lives:
            return "a task has failed without a dead letter"
    for letter in world.letters:
        if letter.status == "pending" and not is_failed(world, letter):
            return "a pending dead letter without a failed life"
    return None


class Goal(NamedTuple):
    """What can always be reached by steps of these kinds."""

    name: str
    holds: Callable[[Scope, World], bool]
    by: tuple[str, ...] = (FAIR, WILL)


def all_over(scope: Scope, world: World) -> bool:
    """Every accepted task has ended, but for those that no worker will ever run."""
    kinds = "".join(scope.declared)
    return all(row.status is None or row.status in TERMINALS or row.kind not in kinds for row in world.rows)


def all_closed(_scope: Scope, world: World) -> bool:
    """No execution is left `started`."""
    return not any(row.opened for row in world.rows)


def all_handled(_scope: Scope, world: World) -> bool:
    """The dlq-consumer has handled every letter."""
    return all(letter.handled for letter in world.letters)


def nothing_runs_on(_scope: Scope, world: World) -> bool:
    """Every handler that runs, runs for a task that is still its worker's."""
    for number, worker in enumerate(world.workers):
        if worker.process == Process.DEAD:
            continue
        for tried in worker.running:
            row = world.rows[tried.task]
            theirs = row.status == RUNNING and row.version == tried.version and row.owner == tried.owner
            if not theirs or tried.owner != (number, worker.generation):
                return False
    return True


def finished(scope: Scope, world: World) -> bool:
    """Nothing is left that could change a row or a letter: only messages that nobody needs."""
    at_rest = all(row.status in TERMINALS for row in world.rows) and "replay" not in world.faults
    if not at_rest or not all_closed(scope, world) or not all_handled(scope, world):
        return False
    if any(late.ends for late in world.late) or not scope.rules.claims_only_queued:
        return False
    return not any(
        worker.held or worker.running or worker.ended or worker.record or (worker.claim and worker.claim.won)
        for worker in world.workers
    )


GOALS = (
    Goal("every accepted task ends", all_over),
    Goal("every execution is closed", all_closed),
    Goal("every dead letter is handled", all_handled),
    Goal("no handler runs on for a task that is not its worker's", nothing_runs_on, by=(FAIR,)),
)
