"""Ranges of ids, made ahead and on demand, by several at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from tests.contract.store import world
from tests.contract.store.conftest import Connect

from taskflow.kit.ids import first_id_at, new_id
from taskflow.store import partitions
from taskflow.store.errors import NoRange, translated
from taskflow.store.inserts import insert_tasks
from taskflow.store.partitions import (
    RANGE,
    TABLES,
    ensure_ranges,
    ensure_ranges_ahead,
    ensure_ranges_of,
    range_start,
)

FAR = datetime(2031, 3, 1, tzinfo=UTC)


def test_a_range_is_seven_days_from_its_start() -> None:
    start = range_start(FAR)
    assert start <= FAR < start + RANGE
    assert range_start(start) == start
    assert range_start(start - timedelta(microseconds=1)) == start - RANGE


async def test_migrating_made_what_is_needed_soon(conn: asyncpg.Connection) -> None:
    assert await ensure_ranges_ahead(conn) == 0
    assert len(await ranges(conn, "tasks")) >= 5
    for table in TABLES:
        assert await ranges(conn, table) == await ranges(conn, "tasks")


async def test_an_id_without_a_range_is_refused_until_it_is_made(conn: asyncpg.Connection) -> None:
    task = world.new_task(id=first_id_at(FAR))
    with pytest.raises(NoRange), translated():
        await insert_tasks(conn, [world.new_task(), task])
    assert await conn.fetchval("SELECT count(*) FROM tasks") == 0
    assert await ensure_ranges_of(conn, [task.id, new_id()]) == len(TABLES)
    assert await ensure_ranges_of(conn, [task.id]) == 0
    [claimed] = await world.claim(
        conn, await world.start_worker(conn), [r.id for r in await insert_tasks(conn, [task])]
    )
    await world.end(conn, [claimed], world.DONE)
    assert await world.executions(conn, task.id) == [(1, 1, 1, "succeeded", "completed")]


async def test_several_makers_at_once_make_each_range_once(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    lines = [conn, *[await connect() for _ in range(4)]]
    moments = [FAR + RANGE * step for step in range(10, 13)]
    made = await asyncio.gather(*(ensure_ranges(line, moments) for line in lines))
    assert sum(made) == 3 * len(TABLES)


async def test_ranges_are_made_while_tasks_come_in(conn: asyncpg.Connection, connect: Connect) -> None:
    other = await connect()
    making = asyncio.create_task(ensure_ranges(other, [FAR + RANGE * step for step in range(20, 23)]))
    while not making.done():
        await world.submit(conn, 5)
    assert await making == 3 * len(TABLES)


async def test_a_range_looks_like_its_table(conn: asyncpg.Connection) -> None:
    """Indexes of a range hang on those of the table, so that a new index reaches both."""
    for table in TABLES:
        [loose] = await conn.fetch(
            "SELECT count(*) AS n FROM pg_index i JOIN pg_inherits p ON p.inhrelid = i.indrelid "
            "WHERE p.inhparent = $1::text::regclass AND NOT EXISTS "
            "(SELECT FROM pg_inherits q WHERE q.inhrelid = i.indexrelid)",
            table,
        )
        assert loose["n"] == 0, table


async def ranges(conn: asyncpg.Connection, table: str) -> list[str]:
    rows = await conn.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::text::regclass ORDER BY 1",
        table,
    )
    assert partitions.TABLES
    return [row["name"].removeprefix(table) for row in rows]
