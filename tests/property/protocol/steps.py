"""What a move is, and the registry that ties every move to the code it stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.property.protocol.rules import Scope
from tests.property.protocol.world import World

FAIR, WILL, MAY, FAULT, USER = "fair", "will", "may", "fault", "user"
"""A step happens in the end if it stays possible; so does a handler's end, by its own will; what may happen need not; a
fault and a caller's wish happen as often as the scope says."""


class Step(NamedTuple):
    """One step. `again`: the healer rings with it."""

    label: str
    kind: str
    world: World
    again: bool = False


Move = Callable[[Scope, World], Iterator[Step]]
MOVES: list[Move] = []
STANDS_FOR: dict[Move, tuple[str, ...]] = {}


def stands_for(*names: str) -> Callable[[Move], Move]:
    """Register a move, with the dotted names of the functions and statements that it is the model of."""

    def register(move: Move) -> Move:
        MOVES.append(move)
        STANDS_FOR[move] = names
        return move

    return register
