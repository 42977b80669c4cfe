"""The state machine: hypothesis chooses what the programs do, on real rows; after each step rows and model must agree."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, get_state_machine_test, initialize, rule
from tests.property.stateful.ending import check_everything_ends
from tests.property.stateful.habits import Shape, beat, submit, submit_again, submit_keyed
from tests.property.stateful.happenings import Happening, Race, Step, Submit, SubmitKeyed, happenings, shapes
from tests.property.stateful.playbook import deeds_of
from tests.property.stateful.values import GONE
from tests.property.stateful.world import World
from tests.support.engines import Engines, Ground, empty, open_engines

T = TypeVar("T")

HOUSE = settings(
    max_examples=12, stateful_step_count=40, deadline=None, database=None, derandomize=True, print_blob=False,
    suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink], report_multiple_bugs=False,
)  # fmt: skip
"""What `make test` runs: the same examples each time."""

TASKS_MAX = 6
"""Tasks that stand at once: few, so that much happens to each."""


class EngineMachine(RuleBasedStateMachine):
    """One example: an empty database, three workers, two apis and two schedulers."""

    def __init__(self, runner: asyncio.Runner, ground: Ground, failures: list[str]) -> None:
        super().__init__()
        self._runner = runner
        self._failures = failures
        self._programs = open_engines(ground)
        self._sound = False
        self._story: list[str] = []
        runner.run(empty(ground))
        self._engines: Engines = runner.run(self._programs.__aenter__())
        self.world = World(self._engines)
        self._run(self.world.open())

    @initialize(shapes=st.lists(shapes, min_size=2, max_size=3), batch=st.booleans())
    def begin(self, shapes: list[Shape], batch: bool) -> None:
        """There is something to do from the start."""
        self._story.append(repr(shapes))
        self._run(submit(self.world, shapes, batch=batch))

    # One rule: among several hypothesis would choose as if all led on equally.
    @rule(happening=happenings)
    def go_on(self, happening: Happening) -> None:
        """The next thing happens."""
        world = self.world
        self._story.append(repr(happening))
        match happening:
            case Step():
                self._run(self._once(happening))
            case Race(rivals, after, piled_up):
                self._run(self._once(after))
                found = [deed for step in _fair(rivals) for deed in deeds_of(world, step)]
                self._run(world.race(found, piled_up=piled_up))
            case Submit(shape, again, batch):
                if sum(task.status != GONE for task in world.tasks.values()) < TASKS_MAX:
                    self._run(submit(world, [shape], batch=batch))
                self._run(submit_again(world, world.pick(again), batch=batch))
            case SubmitKeyed(shape, key, by_three):
                self._run(submit_keyed(world, shape, key, by_three=by_three))

    async def _once(self, step: Step) -> None:
        """A worker that could go on, were its lease alive, beats first."""
        world = self.world
        idle = world.fleet.get(world.hands[world.alive(step.who)].id) != "live"
        if step.what == "beat" or (idle and step.what == "claim what waits"):
            await beat(world, step.who)
        if step.what != "beat":
            await world.do(*deeds_of(world, step))

    def teardown(self) -> None:
        """Whatever was done, everything ends once the world is kind again."""
        try:
            self._runner.run(self._programs.__aexit__(None, None, None))
            if self._sound:
                self._run(check_everything_ends(self.world))
        finally:
            super().teardown()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        self._sound = False
        try:
            answer = self._runner.run(work)
        except Exception:
            self._failures.append("\n  ".join([*self._story, traceback.format_exc(limit=-3)]))
            raise
        self._sound = True
        return answer


def _fair(rivals: Sequence[Step]) -> list[Step]:
    """Lines that are written while their task is pruned may outlive it, until its range is dropped: no harm is done."""
    prunes = any(step.what == "prune meanwhile" for step in rivals)
    return [step for step in rivals if not (prunes and step.what == "lines")]


def check_agreement(
    runner: asyncio.Runner, ground: Ground, how: settings = HOUSE, *, begin_with: int | None = None
) -> None:
    """Run examples; raises what the first that fails does, after it has been made as short as can be.

    That of a race may not come again when it is repeated: so the first is printed as it was found.
    """
    failures: list[str] = []
    examples = get_state_machine_test(lambda: EngineMachine(runner, ground, failures), settings=how)
    try:
        (examples if begin_with is None else seed(begin_with)(examples))()
    except BaseException:
        print("first failure:", *failures[:1], sep="\n  ")
        raise
