"""All moves together: importing a module of moves registers them."""

from __future__ import annotations

from collections.abc import Iterator

from tests.property.protocol import burying, bus, callers, claiming, faults, healing, heart, scheduler, worker
from tests.property.protocol.rules import Scope
from tests.property.protocol.steps import MOVES, STANDS_FOR, Step
from tests.property.protocol.world import World

MODULES = (callers, bus, claiming, worker, heart, scheduler, healing, burying, faults)


def steps(scope: Scope, world: World) -> Iterator[Step]:
    """Every step that can be taken."""
    for move in MOVES:
        yield from move(scope, world)


def names() -> set[str]:
    """The dotted names of all that the moves stand for."""
    return {name for told in STANDS_FOR.values() for name in told}
