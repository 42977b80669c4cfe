"""Explores every state of a scope and looks for what breaks a law, for traps, and for endless ringing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tests.property.protocol.laws import GOALS, Goal, breach, finished
from tests.property.protocol.moves import steps
from tests.property.protocol.rules import Scope
from tests.property.protocol.steps import FAIR, WILL
from tests.property.protocol.world import World

STATES_MAX = 400_000


@dataclass
class Counterexample:
    """A law, and the shortest way to where it is broken."""

    law: str
    trace: list[str]

    def __str__(self) -> str:
        return "\n".join([self.law, *(f"  {n:2}  {label}" for n, label in enumerate(self.trace, 1))])


@dataclass
class Space:
    """The states that were reached, how, and the steps between them that are fair."""

    states: list[World] = field(default_factory=list)
    came_from: list[tuple[int, str] | None] = field(default_factory=list)
    before: dict[str, list[list[int]]] = field(default_factory=dict)
    again: list[tuple[int, int, str]] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)
    edges: int = 0

    def trace(self, state: int) -> list[str]:
        """The labels of a shortest way to a state."""
        labels = []
        while (step := self.came_from[state]) is not None:
            state, label = step
            labels.append(label)
        return labels[::-1]


class TooLarge(Exception):
    """The scope has more states than may be explored."""


def explore(scope: Scope, *, states_max: int = STATES_MAX, until: str | None = None) -> Space:
    """All states, nearest first; or until one breaks the law `until`. Nothing is explored beyond one that breaks any."""
    first = scope.first()
    space = Space([first], [None], {FAIR: [[]], WILL: [[]]})
    index, queue = {first: 0}, deque([0])
    while queue:
        here = queue.popleft()
        source = space.states[here]
        for step in steps(scope, source):
            space.edges += 1
            world = step.world.renumbered(source)
            there = index.get(world)
            if there is None:
                there = index[world] = len(space.states)
                space.states.append(world)
                space.came_from.append((here, step.label))
                for before in space.before.values():
                    before.append([])
                if (law := breach(scope, world)) is None:
                    if not finished(scope, world):
                        queue.append(there)
                else:
                    space.broken[there] = law
                    if law == until:
                        return space
            if step.kind in space.before:
                space.before[step.kind][there].append(here)
            if step.again:
                space.again.append((here, there, step.label))
        if len(space.states) > states_max:
            raise TooLarge(f"{len(space.states)} states and more")
    return space


def check(
    scope: Scope, *, states_max: int = STATES_MAX, until: str | None = None
) -> tuple[Space, dict[str, Counterexample]]:
    """The states of a scope, and a shortest counterexample to each law that does not hold."""
    space = explore(scope, states_max=states_max, until=until)
    found: dict[str, Counterexample] = {}
    for state, law in space.broken.items():
        found.setdefault(law, Counterexample(law, space.trace(state)))
    if until in found:
        return space, found
    for goal in GOALS:
        if (state := trap(scope, space, goal)) is not None:
            found[goal.name] = Counterexample(f"not so: {goal.name}", space.trace(state))
    if (ringing := endless_ringing(space)) is not None:
        found[ringing.law] = ringing
    return space, found


def trap(scope: Scope, space: Space, goal: Goal) -> int | None:
    """The nearest state from which fair steps never reach the goal."""
    reached = bytearray(len(space.states))
    queue = deque(
        state for state, world in enumerate(space.states) if state in space.broken or goal.holds(scope, world)
    )
    for state in queue:
        reached[state] = 1
    maps = [space.before[kind] for kind in goal.by]
    while queue:
        here = queue.popleft()
        for before in maps:
            for there in before[here]:
                if not reached[there]:
                    reached[there] = 1
                    queue.append(there)
    return next((state for state in range(len(reached)) if not reached[state]), None)


def endless_ringing(space: Space) -> Counterexample | None:
    """A cycle of fair steps on which the healer rings: a lost doorbell is rung once."""
    if not space.again:
        return None
    component = _components(space)
    for here, there, label in space.again:
        if component[here] == component[there]:
            return Counterexample("the healer rings for ever", [*space.trace(here), label])
    return None


def _components(space: Space) -> list[int]:
    """The strongly connected components of the fair steps: a number for each state (Kosaraju and Sharir)."""
    count = len(space.states)
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    for sources in space.before.values():
        for there, heres in enumerate(sources):
            before[there] += heres
            for here in heres:
                after[here].append(there)
    component = [-1] * count
    for root in reversed(_left_last(after)):
        if component[root] < 0:
            component[root] = root
            members = [root]
            for member in members:  # which grows meanwhile
                for source in before[member]:
                    if component[source] < 0:
                        component[source] = root
                        members.append(source)
    return component


def _left_last(after: list[list[int]]) -> list[int]:
    """All states in the order in which a walk into the depth leaves them for good."""
    left: list[int] = []
    seen = bytearray(len(after))
    for root in range(len(after)):
        if seen[root]:
            continue
        seen[root] = 1
        path = [(root, iter(after[root]))]
        while path:
            state, rest = path[-1]
            follower = next((state for state in rest if not seen[state]), None)
            if follower is None:
                left.append(state)
                path.pop()
            else:
                seen[follower] = 1
                path.append((follower, iter(after[follower])))
    return left
