"""The real store and engine against a small model of them, whatever is done in whatever order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import Phase, settings
from hypothesis.errors import Flaky
from tests.conftest import BusNames
from tests.property.stateful import deeds, passing_time, schedulers
from tests.property.stateful.habits import Shape, submit
from tests.property.stateful.machine import HOUSE, check_agreement
from tests.property.stateful.values import End
from tests.property.stateful.world import COMMON, World
from tests.support.engines import Ground, empty, open_engines, open_ground

from taskflow.bus.topology import Topology
from taskflow.store import commands, moves, workers
from taskflow.store.errors import Unstorable

PLAIN: Shape = {
    "kind": COMMON, "lane": 2, "max_attempts": 5, "patient": True, "delayed": False, "expires": False,
}  # fmt: skip
TOOTHLESS = [
    pytest.param(moves, "RECORD_OUTCOMES", " AND t.version = g.version", "", id="a record of any version"),
    pytest.param(moves, "CLAIM_TASKS", "t.status = $4", "$4 = 'queued'", id="a claim of any status"),
    pytest.param(
        commands, "CANCEL_TASKS", "b.status = ANY", "b.status <> ALL", id="a cancel of what has ended"
    ),
    pytest.param(workers, "BEAT", " AND ended_at IS NULL RETURNING", " RETURNING", id="a beat of the dead"),
]


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """The loop of all examples."""
    with asyncio.Runner() as found:
        yield found


@pytest.fixture
def ground(runner: asyncio.Runner, database_url: str, nats_url: str, bus_names: BusNames) -> Iterator[Ground]:
    """Connections for all examples."""
    opened = open_ground(database_url, nats_url, Topology(bus_names.stream, bus_names.consumer))
    yield runner.run(opened.__aenter__())
    runner.run(opened.__aexit__(None, None, None))


def test_rows_and_model_agree(runner: asyncio.Runner, ground: Ground) -> None:
    check_agreement(runner, ground)


@pytest.mark.parametrize(("module", "name", "guard", "instead"), TOOTHLESS)
def test_a_guard_that_is_gone_is_missed(
    runner: asyncio.Runner, ground: Ground, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str,
    guard: str, instead: str,
) -> None:  # fmt: skip
    """Were it not, the agreement above would mean nothing."""
    whole = getattr(module, name)
    assert guard in whole
    monkeypatch.setattr(module, name, whole.replace(guard, instead))
    with pytest.raises((AssertionError, Flaky, Unstorable)):
        check_agreement(runner, ground, settings(HOUSE, phases=[Phase.generate]))


@pytest.fixture
def world(runner: asyncio.Runner, ground: Ground) -> Iterator[World]:
    """One new task, and the programs that may do something to it."""
    runner.run(empty(ground))
    opened = open_engines(ground)
    found = World(runner.run(opened.__aenter__()))
    runner.run(found.open())
    runner.run(submit(found, [PLAIN], batch=False))
    yield found
    runner.run(opened.__aexit__(None, None, None))


def test_two_attempts_of_one_task_may_end_in_one_batch(runner: asyncio.Runner, world: World) -> None:
    """Cancelled, replayed, and claimed again by the same worker, whose old handler ends together with the new one."""

    async def story() -> None:
        [task_id] = world.tasks
        await world.do(deeds.claim(world, 0, [task_id]), deeds.cancel_one(world, task_id))
        await world.do(deeds.retry_one(world, task_id))
        await world.do(deeds.claim(world, 0, [task_id]))
        first, second = (handed.task for handed in world.claims)
        await world.do(deeds.finish(world, 0, [(first, End.STOPPED), (second, End.SUCCEEDED)]))

    runner.run(story())


def test_a_worker_that_renews_while_rescue_looks_keeps_its_task(runner: asyncio.Runner, world: World) -> None:
    """Rescue found its lease run out, and waits to pronounce it dead; the beat comes first."""

    async def story() -> None:
        [task_id] = world.tasks
        await world.do(deeds.claim(world, 0, [task_id]), passing_time.lease_out(world, 0, long_ago=False))
        await world.race([deeds.renew(world, 0), schedulers.rescue(world, 0)], piled_up=True)
        assert world.fleet[world.hands[0].id] == "live"
        assert world.tasks[task_id].status == "running"

    runner.run(story())
