"""How long tasks waited and ran: from the worker's memory into the series, and nothing lost while PostgreSQL is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.support.logs import logged
from tests.support.systems import System
from tests.support.waiting import wait_until, wait_until_sync
from tests.unit.domain.samples import make_claimed

from taskflow.domain.errors import Unavailable
from taskflow.domain.histogram import bucket_of
from taskflow.engine import timings as module
from taskflow.engine.timings import KINDS_MAX, Timings
from taskflow.store.connect import Database

WAITS_LOCK = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'stat_series'::regclass"


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(database_url)
    yield conn
    await conn.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, application="test") as database:
        yield database


async def told(conn: asyncpg.Connection) -> dict[tuple[str, str], tuple[list[int], list[int]]]:
    """Waits and runs of today, by queue and type."""
    rows = await conn.fetch("SELECT queue, type, waits, runs FROM stat_series WHERE step_seconds = 86400")
    return {(row["queue"], row["type"]): (row["waits"], row["runs"]) for row in rows}


def times(*seconds: float) -> list[int]:
    counts = [0] * (max(map(bucket_of, seconds)) + 1)
    for each in seconds:
        counts[bucket_of(each)] += 1
    return counts


async def test_times_are_told_by_kind_and_of_all(conn: asyncpg.Connection, database: Database) -> None:
    mail, echo = make_claimed(queue="mail", waited_seconds=0.5), make_claimed(type="echo", waited_seconds=2.0)
    async with Timings(database) as timings:
        await timings.flush()
        assert await told(conn) == {}, "nothing happened: nothing is written"
        timings.waited([mail, echo, echo])
        timings.ran(mail, 0.1)
        await timings.flush()
        timings.ran(echo, 30.0)
    assert await told(conn) == {
        ("", ""): (times(0.5, 2.0, 2.0), times(0.1, 30.0)),
        **dict.fromkeys([("mail", "demo"), ("mail", ""), ("", "demo")], (times(0.5), times(0.1))),
        **dict.fromkeys([("default", "echo"), ("default", ""), ("", "echo")], (times(2.0, 2.0), times(30.0))),
    }


async def test_of_very_many_kinds_all_count_in_the_sum(conn: asyncpg.Connection, database: Database) -> None:
    async with Timings(database) as timings:
        for number in range(KINDS_MAX + 50):
            timings.ran(make_claimed(type=f"t{number}"), 1.0)
    found = await told(conn)
    assert len(found) == 2 * KINDS_MAX + 2, "each kind and type, the queue, all"
    assert sum(found["", ""][1]) == KINDS_MAX + 50


async def test_what_cannot_be_written_goes_with_the_next(
    conn: asyncpg.Connection, database: Database
) -> None:
    task = make_claimed(waited_seconds=0.5)
    async with Timings(database) as timings:
        timings.waited([task])
        async with conn.transaction():
            await conn.execute("LOCK TABLE stat_series")
            writing = asyncio.create_task(timings.flush())
            await wait_until(lambda: conn.fetchval(WAITS_LOCK), "the flush waits")
            timings.waited([task])
            await conn.execute(f"SELECT pg_terminate_backend(pid) FROM ({WAITS_LOCK}) AS waiting")
            with pytest.raises(Unavailable):
                await writing
        assert await told(conn) == {}
        timings.waited([task])
        await timings.flush()
        assert (await told(conn))["default", "demo"] == (times(0.5, 0.5, 0.5), [])


async def test_a_worker_ends_though_its_last_times_cannot_be_written(
    conn: asyncpg.Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CLOSE_SECONDS", 0.1)
    async with conn.transaction():
        await conn.execute("LOCK TABLE stat_series")
        async with Timings(database) as timings:
            timings.ran(make_claimed(), 1.0)
    assert await told(conn) == {}


async def test_what_postgres_refuses_is_told_and_ends_no_worker(
    conn: asyncpg.Connection, database: Database
) -> None:
    await conn.execute("ALTER TABLE stat_series RENAME TO gone")
    async with Timings(database) as timings:
        timings.ran(make_claimed(), 1.0)
        with logged(module) as lines:
            await timings.flush()
        await conn.execute("ALTER TABLE gone RENAME TO stat_series")
        timings.ran(make_claimed(), 2.0)
    assert (await told(conn))["", ""] == ([], times(2.0))
    assert [line["event"] for line in lines] == ["timings.refused"]


def test_a_running_system_tells_what_happened(system: System) -> None:
    """Counts come with the next fold, times with the next flush of the worker. No other test here runs this type."""
    for _ in range(3):
        system.wait(system.submit("process_data", {"data": [1], "operation": "filter"})["id"])

    def point() -> dict[str, object]:
        """The last half day, in one."""
        [series] = system.get("/stats/series", type="process_data", step_seconds=86_400)["series"]
        found: dict[str, object] = series["points"][-1]
        return found

    wait_until_sync(
        lambda: point()["completed"] == 3 and point()["run_seconds"], "all is told", 40, interval=0.5
    )
    found = point()
    assert (found["submitted"], found["started"], found["failed"], found["retried"]) == (3, 3, 0, 0)
    run = found["run_seconds"]
    assert isinstance(run, dict)
    assert 0 < run["p50"] <= run["p95"] <= run["p99"] < 5
    assert found["wait_seconds"]
