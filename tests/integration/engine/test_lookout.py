"""One look for all duties of the scheduler: what it saw lets them rest, and never longer than they may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import asyncpg
import pytest
from tests.conftest import BusNames
from tests.contract.store import world
from tests.support.waiting import wait_until

from taskflow.bus.connect import Bus
from taskflow.bus.topology import Topology
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.lookout import FRESH_SECONDS, Lookout
from taskflow.engine.rescue import Rescuer
from taskflow.engine.turn import Turner
from taskflow.kit.ticker import Ticker
from taskflow.store.connect import Database, Line
from taskflow.store.tending import Signs


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(database_url)
    yield conn
    await conn.close()


@pytest.fixture
async def line(database_url: str) -> AsyncIterator[Line]:
    async with Database(database_url, application="test") as database, Line(database) as line:
        yield line


@pytest.fixture
async def dispatcher(nats_url: str, bus_names: BusNames) -> AsyncIterator[Dispatcher]:
    topology = Topology(bus_names.stream, bus_names.consumer)
    async with Bus(nats_url, topology, name="test") as bus, Dispatcher(bus) as dispatcher:
        yield dispatcher


def queued(signs: Signs) -> bool:
    return signs.queued


async def test_what_was_known_at_a_look_comes_due_on_time_however_long_the_tick(
    conn: asyncpg.Connection, line: Line, dispatcher: Dispatcher
) -> None:
    ids = await world.submit(conn, 3, delay_seconds=0.7)
    late = (
        "SELECT max(extract(epoch FROM queued_at - run_at))::float8, count(queued_at) FROM tasks "
        "WHERE id = ANY($1::uuid[])"
    )
    loop = asyncio.create_task(Ticker("turn", Turner(line, dispatcher, Lookout(line)).run_once, 3_600).run())
    try:

        async def all_turned() -> bool:
            return (await conn.fetchrow(late, ids))[1] == 3

        await wait_until(all_turned, "all are queued")
    finally:
        loop.cancel()
        await asyncio.wait([loop])
    assert (await conn.fetchrow(late, ids))[0] < 0.5


async def test_only_a_look_of_late_lets_a_duty_rest(
    conn: asyncpg.Connection, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookout = Lookout(line)
    assert not lookout.none(queued), "nobody has looked yet"
    await lookout.look()
    assert lookout.none(queued)
    ran = []

    async def run_once() -> bool:
        ran.append(time.monotonic())
        return True

    duty = lookout.unless_none(queued, run_once)
    assert (await duty(), len(ran)) == (False, 0)
    await world.submit(conn)
    await lookout.look()
    assert (await duty(), len(ran)) == (True, 1)
    await conn.execute("DELETE FROM tasks")
    await lookout.look()
    assert (await duty(), len(ran)) == (False, 1)

    later = time.monotonic() + FRESH_SECONDS
    monkeypatch.setattr("taskflow.engine.lookout.time", SimpleNamespace(monotonic=lambda: later))
    assert (await duty(), len(ran)) == (True, 2), "what was seen is too old"


async def test_a_rescuer_that_rested_rescues_before_a_fresh_lease_is_over(
    conn: asyncpg.Connection, line: Line, dispatcher: Dispatcher
) -> None:
    """Its pauses for want of work are no pauses after which leases may have run out unseen."""
    idle, lease = True, 1.5
    rescuer = Rescuer(
        line, dispatcher, lease_seconds=lease, handler_grace=0, poison_losses_max=3, none_run=lambda: idle
    )
    began = time.monotonic()

    async def rested() -> bool:
        await rescuer.run_once()
        return time.monotonic() - began > lease * 1.5

    await wait_until(rested, "its own start is over")
    [lost] = await world.run(conn)
    await world.end_lease(conn, lost.worker_id)
    idle, began = False, time.monotonic()

    async def rescued() -> bool:
        await rescuer.run_once()
        return await world.status(conn, lost.id) == "queued"

    await wait_until(rescued, "it is rescued")
    assert lease * 2 / 3 <= time.monotonic() - began < lease
