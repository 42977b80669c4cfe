"""The protocol, explored: no fault breaks a law, every rule that is dropped breaks one, and model and code fit."""

from __future__ import annotations

import importlib
from functools import reduce

import pytest
from tests.contract.store.statements import STATEMENTS
from tests.property.protocol.check import check, explore
from tests.property.protocol.moves import MODULES, names
from tests.property.protocol.mutants import mutants
from tests.property.protocol.rules import Scope
from tests.property.protocol.scenarios import Scenario, full, short

ROOMS = ("moves", "tending", "doorbells", "commands", "workers", "dead_letters")
"""The modules of the store that the protocol lives in."""
NOT_MODELLED = {
    "store.tending.prune_tasks": "only what is over and has no pending letter goes",
    "store.tending.prune_letters": "only resolved letters go",
    "store.tending.prune_keys": "idempotency keys",
    "store.tending.prune_tickets": "tickets for streams that have expired",
    "store.tending.look": "tells which duties have nothing to do, from rows that are younger than what they act on",
    "store.commands.lock_tasks": "makes `retry_tasks` one step, as which it is modelled",
    "store.commands.lock_letters": "the same for `replay_letters` and `discard_letters`",
    "store.tending.prune_operations": "operations that have ended",
    "store.workers.drain": "like being told to stop, but that the process stays",
    "store.workers.read_workers": "read by `served`",
    "store.dead_letters.list_letters": "a list",
    "store.dead_letters.group_letters": "a list",
    "store.dead_letters.list_own_letters": "a list",
    "store.dead_letters.group_own_letters": "a list",
    "store.dead_letters.read_letters": "read before they are stamped",
    "store.dead_letters.read_tries": "read before they are stamped",
}
"""Statements of these that the model leaves out, and why it may."""


@pytest.mark.parametrize("scenario", list(short()), ids=lambda scenario: scenario.name)
def test_every_law_holds(scenario: Scenario) -> None:
    _, found = check(scenario.scope)
    assert not found, "\n".join(str(example) for example in found.values())


@pytest.mark.parametrize("mutant", list(mutants()), ids=lambda mutant: mutant.name)
def test_every_rule_is_needed(mutant: Scenario) -> None:
    _, found = check(mutant.scope, until=mutant.law)
    assert mutant.law in found, f"not caught; what was found: {sorted(found)}"
    assert len(str(found[mutant.law]).splitlines()) > 1


def test_names_are_unique() -> None:
    named = [scenario.name for scenario in (*short(), *mutants())]
    assert len(set(named)) == len(named)
    assert len({scenario.name for scenario in full()}) > 150


def test_a_state_is_reached_by_its_shortest_trace() -> None:
    space = explore(Scope(faults=("crash",)))
    lengths = [len(space.trace(state)) for state in range(len(space.states))]
    assert lengths == sorted(lengths)
    assert lengths[0] == 0


@pytest.mark.parametrize("clock", [False, True])
def test_equal_worlds_are_one_state(clock: bool) -> None:
    """Renumbering is done already, also where a step took the short cut."""
    space = explore(
        Scope(faults=("wipe", "ack lost"), outcomes=("ok",), max_attempts=1, declared=("a",), clock=clock)
    )
    assert all(world.renumbered() == world for world in space.states)


@pytest.mark.parametrize("name", sorted(names()))
def test_what_a_move_stands_for_is_there(name: str) -> None:
    """A name of the code that has changed: see whether the move that names it still tells the truth."""
    module, attributes = _split(name)
    reduce(getattr, attributes, module)


def test_every_statement_of_the_protocol_has_its_move() -> None:
    """A new statement in these modules is modelled, or it is said why not."""
    there = {name for name in STATEMENTS if name.split(".")[1] in ROOMS}
    modelled = {name.removeprefix("taskflow.").lower() for name in names()}
    assert there - modelled == set(NOT_MODELLED)


def test_every_move_says_what_it_is() -> None:
    for module in MODULES:
        assert module.__doc__
    assert len(names()) > 50


def _split(name: str) -> tuple[object, list[str]]:
    """The module that a dotted name begins with, and the attributes that follow."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            return importlib.import_module(".".join(parts[:count])), parts[count:]
        except ModuleNotFoundError:
            continue
    raise AssertionError(f"no module begins {name}")
