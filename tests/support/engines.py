"""The engine's parts as several programs hold them (two apis, two schedulers, three workers), driven by hand.

Real parts on real servers, without their loops and without handlers: a test says what happens, and in which order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import NamedTuple

from taskflow.bus.connect import Bus
from taskflow.bus.streams import ensure_streams
from taskflow.bus.topology import Topology
from taskflow.engine.commands import Commands
from taskflow.engine.directory import Directory
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.heal import Healer
from taskflow.engine.lookout import Lookout
from taskflow.engine.read import Reader
from taskflow.engine.record import Recorder
from taskflow.engine.rescue import Rescuer
from taskflow.engine.settings import TaskDefaults
from taskflow.engine.submit import Submitter
from taskflow.engine.turn import Turner
from taskflow.store.connect import Database, Line

POISON_LOSSES_MAX = 3
WORKERS = 3
MESSAGES_MAX = 1_000


class Ground(NamedTuple):
    """What outlives an example, because opening it costs more than using it. `hand` is the test's own connection."""

    database: Database
    bus: Bus
    hand: Line
    schedulers: tuple[Line, Line]
    recorders: tuple[Line, ...]
    claimers: tuple[Line, ...]


class Scheduler(NamedTuple):
    """The duties of one scheduler."""

    line: Line
    rescuer: Rescuer
    turner: Turner


class Engines(NamedTuple):
    """The parts of all programs. `recorders[n]` and `ground.claimers[n]` are worker n's."""

    ground: Ground
    dispatcher: Dispatcher
    reader: Reader
    commands: Commands
    submitters: tuple[Submitter, Submitter]
    schedulers: tuple[Scheduler, Scheduler]
    recorders: tuple[Recorder, ...]


@asynccontextmanager
async def open_ground(database_url: str, nats_url: str, topology: Topology) -> AsyncIterator[Ground]:
    """Connections to a migrated database and to NATS, where the streams are made."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        database = await enter(Database(database_url, application="test", pool_max=20))
        bus = await enter(Bus(nats_url, topology, name="test"))
        await bus.wait_connected()
        await ensure_streams(bus)

        async def line() -> Line:
            return await enter(Line(database))

        yield Ground(
            database,
            bus,
            hand=await line(),
            schedulers=(await line(), await line()),
            recorders=tuple([await line() for _ in range(WORKERS)]),
            claimers=tuple([await line() for _ in range(WORKERS)]),
        )


@asynccontextmanager
async def open_engines(ground: Ground) -> AsyncIterator[Engines]:
    """The programs' parts, at work until left; what they had to send is sent then."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        dispatcher = await enter(Dispatcher(ground.bus))
        directory = Directory(ground.database)
        reader = await enter(Reader(ground.database, directory))
        yield Engines(
            ground,
            dispatcher,
            reader,
            Commands(ground.database, ground.bus, dispatcher, directory, reader),
            submitters=(
                await enter(_submitter(ground, dispatcher)),
                await enter(_submitter(ground, dispatcher)),
            ),
            schedulers=(
                _scheduler(ground.schedulers[0], dispatcher),
                _scheduler(ground.schedulers[1], dispatcher),
            ),
            recorders=tuple([await enter(_recorder(line, dispatcher)) for line in ground.recorders]),
        )


async def empty(ground: Ground) -> None:
    """Take every row out of the database, and every message off the bus."""
    find = (
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
        "AND relnamespace = 'public'::regnamespace AND relname <> 'schema_migrations'"
    )
    tables = [row["relname"] for row in await ground.hand.run(lambda conn: conn.fetch(find))]
    await ground.hand.run(lambda conn: conn.execute(";".join(f'DELETE FROM "{name}"' for name in tables)))
    await lose_messages(ground.bus)


async def lose_messages(bus: Bus) -> None:
    """The bus forgets every doorbell."""
    await bus.jetstream.purge_stream(bus.topology.stream)


async def heal(ground: Ground) -> int:
    """A healer's tick, all that it rings sent; returns how many doorbells it took for lost."""
    async with Dispatcher(ground.bus) as dispatcher:
        healer = Healer(ground.hand, ground.bus, dispatcher, grace=timedelta(0))
        await healer.run_once()
    return healer.rung_again


async def rung_ids(bus: Bus) -> list[str]:
    """The task ids of all doorbells that lie on the bus, oldest first."""
    state = (await bus.jetstream.stream_info(bus.topology.stream)).state
    assert state.messages <= MESSAGES_MAX
    found: list[str] = []
    sequence = state.first_seq
    for _ in range(state.messages):
        message = await bus.jetstream.get_msg(bus.topology.stream, seq=sequence, subject="tasks.>", next=True)
        found += (message.data or b"").decode().splitlines()
        sequence = (message.seq or 0) + 1
    return found


def _submitter(ground: Ground, dispatcher: Dispatcher) -> Submitter:
    """One api's, with its own view of the catalog."""
    return Submitter(
        ground.database,
        Directory(ground.database),
        dispatcher,
        TaskDefaults(),
        strict_types=False,
        validate_payloads=False,
    )


def _scheduler(line: Line, dispatcher: Dispatcher) -> Scheduler:
    """Its lease of no length makes that it never holds still."""
    rescuer = Rescuer(line, dispatcher, lease_seconds=0, handler_grace=0, poison_losses_max=POISON_LOSSES_MAX)
    return Scheduler(line, rescuer, Turner(line, dispatcher, Lookout(line)))


def _recorder(line: Line, dispatcher: Dispatcher) -> Recorder:
    return Recorder(line, dispatcher, poison_losses_max=POISON_LOSSES_MAX, pending_max=1_000)


async def move_times(ground: Ground, statement: str, *arguments: Sequence[str] | str) -> None:
    """Let time pass for some rows: `statement` brings one of their times into the past."""
    await ground.hand.run(lambda conn: conn.execute(statement, *arguments))
