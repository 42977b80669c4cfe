"""Whom rescue may take tasks from: nobody who could not renew a lease, everybody else as soon as it is over."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest
from tests.conftest import BusNames
from tests.contract.store import world
from tests.support.waiting import wait_until

from taskflow.bus.connect import Bus
from taskflow.bus.topology import Topology
from taskflow.domain.errors import Unavailable
from taskflow.domain.task import Claimed
from taskflow.engine.beat import BEATS_PER_LEASE, Heart
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.rescue import Rescuer
from taskflow.kit.ids import new_id
from taskflow.store import workers
from taskflow.store.connect import Database, Line
from taskflow.store.workers import Registration

LEASE = 1.5
TICK = LEASE / BEATS_PER_LEASE
WORKERS = 4
# A row in `no_room` fills the disk: no row of `workers` can be written, and reads are well.
NO_ROOM = """
    CREATE TABLE no_room ();
    CREATE FUNCTION extend() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF EXISTS (SELECT FROM no_room) THEN
            RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER extend BEFORE INSERT OR UPDATE ON workers FOR EACH ROW EXECUTE FUNCTION extend()"""


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(database_url)
    yield conn
    await conn.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, application="test") as database:
        yield database


class Ticks:
    """A rescuer, driven by hand: as its ticker does, a tick is a third of a lease after the last one."""

    def __init__(self, line: Line, dispatcher: Dispatcher) -> None:
        self.idle = False
        self.failed = 0
        self._rescuer = Rescuer(
            line, dispatcher, lease_seconds=LEASE, handler_grace=0, poison_losses_max=3,
            none_run=lambda: self.idle,
        )  # fmt: skip

    async def tick(self) -> None:
        try:
            await self._rescuer.run_once()
        except Unavailable:
            self.failed += 1

    async def several(self, count: int, pause: float) -> None:
        for _ in range(count):
            await self.tick()
            until = time.monotonic() + pause
            await wait_until(lambda until=until: time.monotonic() >= until, "the next tick")

    async def lasting(self, seconds: float) -> None:
        until = time.monotonic() + seconds

        async def over() -> bool:
            await self.tick()
            return time.monotonic() >= until

        await wait_until(over, f"{seconds} s are over", interval=TICK)


@pytest.fixture
async def ticks(database: Database, nats_url: str, bus_names: BusNames) -> AsyncIterator[Ticks]:
    topology = Topology(bus_names.stream, bus_names.consumer)
    async with (
        Line(database) as line,
        Bus(nats_url, topology, name="test") as bus,
        Dispatcher(bus) as dispatcher,
    ):
        yield Ticks(line, dispatcher)


@asynccontextmanager
async def beating(database: Database, count: int) -> AsyncIterator[list[str]]:
    """Workers that live, as far as PostgreSQL can know: their ids."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(_worker(database)) for _ in range(count)]


@asynccontextmanager
async def _worker(database: Database) -> AsyncIterator[str]:
    me = Registration(new_id(), "here", 1, "0", ["default"], world.TYPES, 10)
    async with Heart(
        database, lambda: me, lease_seconds=LEASE, held=dict, busy=lambda: 1, on_beat=lambda *_: None
    ):
        yield me.id


async def claimed(conn: asyncpg.Connection, ids: list[str]) -> list[Claimed]:
    """A running task of each."""
    return [task for worker in ids for task in await world.claim(conn, worker, await world.submit(conn))]


async def live(conn: asyncpg.Connection) -> int:
    found = "SELECT count(*) FROM workers WHERE ended_at IS NULL AND lease_until > clock_timestamp()"
    return int(await conn.fetchval(found))


async def fill_disk(conn: asyncpg.Connection) -> None:
    await conn.execute("INSERT INTO no_room DEFAULT VALUES")


async def until_none_lives(conn: asyncpg.Connection) -> None:
    async def none() -> bool:
        return await live(conn) == 0

    await wait_until(none, "all leases have run out")


async def until_kept(conn: asyncpg.Connection, ticks: Ticks, tasks: list[Claimed]) -> None:
    """There is room again, and rescue looks before anybody beats; two leases later nobody has lost anything."""
    await conn.execute("DELETE FROM no_room")
    await ticks.tick()
    assert await statuses(conn, tasks) == ["running"] * len(tasks)
    await ticks.lasting(LEASE * 2)
    assert await live(conn) == len(tasks)
    assert await statuses(conn, tasks) == ["running"] * len(tasks)


async def statuses(conn: asyncpg.Connection, tasks: list[Claimed]) -> list[str]:
    return [await world.status(conn, task.id) for task in tasks]


async def test_nobody_loses_a_task_because_writes_were_refused_to_a_rescuer_that_holds_still(
    conn: asyncpg.Connection, database: Database, ticks: Ticks
) -> None:
    """Who holds still has nothing to write; the lease is over when writes are possible again, and nobody has beaten."""
    await conn.execute(NO_ROOM)
    async with beating(database, WORKERS) as ids:
        tasks = await claimed(conn, ids)
        await fill_disk(conn)
        await until_none_lives(conn)
        await ticks.several(3, LEASE / 3)
        await until_kept(conn, ticks, tasks)


async def test_nobody_loses_a_task_because_writes_were_refused_to_a_rescuer_that_finds_nothing(
    conn: asyncpg.Connection, database: Database, ticks: Ticks
) -> None:
    """Between two of its ticks the last lease runs out, and then there is room."""
    await conn.execute(NO_ROOM)
    async with beating(database, WORKERS) as ids:
        tasks = await claimed(conn, ids)
        await ticks.lasting(LEASE * 1.5)
        await fill_disk(conn)
        await ticks.several(2, LEASE * 0.25)
        await ticks.tick()
        await until_none_lives(conn)
        await until_kept(conn, ticks, tasks)


async def test_nobody_loses_a_task_that_was_claimed_in_the_last_moment_of_a_lease(
    conn: asyncpg.Connection, ticks: Ticks
) -> None:
    """Nothing ran while writes were refused, so that nobody knows of it; the claim comes before the beat."""
    ticks.idle = True
    await ticks.lasting(LEASE * 1.5)
    worker = await world.start_worker(conn, lease_seconds=0.2)
    [task] = await claimed(conn, [worker])
    ticks.idle = False
    await until_none_lives(conn)
    await ticks.tick()
    assert (await workers.beat(conn, worker, 600, 1)).lease_live
    await ticks.lasting(LEASE * 1.5)
    assert await statuses(conn, [task]) == ["running"]


async def test_the_dead_are_rescued_at_the_first_tick_after_their_lease(
    conn: asyncpg.Connection, database: Database, ticks: Ticks
) -> None:
    """That rescue writes first makes it no later."""
    async with beating(database, 1) as ids:
        [kept] = await claimed(conn, ids)
        await ticks.lasting(LEASE * 1.5)
        [lost] = await world.run(conn)
        await world.end_lease(conn, lost.worker_id)
        await ticks.tick()
        assert await statuses(conn, [kept, lost]) == ["running", "queued"]


async def test_rescue_goes_on_a_lease_after_writes_were_refused(
    conn: asyncpg.Connection, ticks: Ticks
) -> None:
    await conn.execute(NO_ROOM)
    [lost] = await world.run(conn)
    await world.end_lease(conn, lost.worker_id)
    await fill_disk(conn)
    await ticks.lasting(LEASE)
    await conn.execute("DELETE FROM no_room")
    began = time.monotonic()
    taken: list[float] = []

    async def rescued() -> bool:
        await ticks.tick()
        if await world.status(conn, lost.id) == "queued":
            taken.append(time.monotonic() - began)
        return bool(taken)

    await wait_until(rescued, "it is rescued", interval=TICK)
    assert LEASE <= taken[0] <= LEASE + 3 * TICK
