"""What `explain` says of tasks and workers that are easier to describe in rows than to run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
from tests.conftest import BusNames
from tests.contract.store import world

from taskflow.bus.connect import Bus
from taskflow.bus.topology import Topology
from taskflow.engine.explain import Explainer
from taskflow.store.connect import Database


@pytest.fixture
async def explainer(database_url: str, nats_url: str, bus_names: BusNames) -> AsyncIterator[Explainer]:
    """Whose NATS is away: nobody rings there."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(database_url, application="test"))
        yield Explainer(database, Bus(nats_url, Topology(bus_names.stream, bus_names.consumer), name="test"))


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(database_url)
    yield conn
    await conn.close()


async def test_slots_of_workers_that_do_not_run_its_type_are_none(
    explainer: Explainer, conn: asyncpg.Connection
) -> None:
    busy = await world.start_worker(conn, types=["demo"], slots=2)
    await world.start_worker(conn, types=["mail"], slots=10)
    await world.claim(conn, busy, await world.submit(conn, 2))
    [task_id] = await world.submit(conn)
    told = await explainer.explain(task_id)
    assert told is not None
    assert told.waiting_for == told.reasons[0].code == "free_slot"
    numbers = told.reasons[0].numbers
    assert (numbers["slots"], numbers["busy"], numbers["slots_free"]) == (2, 2, 0)
    assert numbers["estimated_start_seconds"] is None
    [mail] = await world.submit(conn, type="mail")
    told = await explainer.explain(mail)
    assert told is not None
    assert told.waiting_for is None
    assert told.reasons[0].numbers["slots_free"] == 10


async def test_what_has_expired_will_not_start_though_slots_are_free(
    explainer: Explainer, conn: asyncpg.Connection
) -> None:
    """No scheduler is here to end it."""
    await world.start_worker(conn, types=["demo"])
    late = await world.submit(conn)
    await world.make_due(conn, late, "expires_at")
    told = await explainer.explain(late[0])
    assert told is not None
    assert told.waiting_for is None
    [reason] = told.reasons
    assert reason.code == "expires"
    assert "estimated_start_seconds" not in reason.numbers
    assert reason.detail.endswith("is one running?")
