"""Lists of tasks: narrowed, newest first, each row once however much is added meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.contract.store import world

from taskflow.domain.filters import TaskFilters
from taskflow.domain.task import Task
from taskflow.domain.transitions import Status
from taskflow.kit.ids import first_id_at, new_id
from taskflow.store.inserts import insert_tasks
from taskflow.store.partitions import ensure_ranges_of
from taskflow.store.tasks import list_tasks, read_statuses


async def listed(
    conn: asyncpg.Connection,
    *,
    limit: int = 200,
    before: str | None = None,
    full: bool = False,
    **fields: Any,
) -> list[Task]:
    return await list_tasks(
        conn, TaskFilters(**fields), limit=limit, before=before, payload=full, result=full
    )


async def ids(conn: asyncpg.Connection, **fields: Any) -> list[str]:
    return [task.id for task in await listed(conn, **fields)]


async def test_each_filter_narrows(conn: asyncpg.Connection) -> None:
    mail = await world.submit(conn, 2, queue="mail", tags=["a", "b"])
    echo = await world.submit(conn, 2, type="echo", lane=0, tags=["a"])
    later = await world.submit(conn, 1, delay_seconds=600.0)
    everything = sorted([*mail, *echo, *later], reverse=True)
    assert await ids(conn) == everything
    assert await ids(conn, queues=("mail",)) == mail[::-1]
    assert await ids(conn, queues=("mail", "default")) == everything
    assert await ids(conn, types=("echo",)) == await ids(conn, lanes=(0, 1)) == echo[::-1]
    assert await ids(conn, statuses=(Status.SCHEDULED, Status.FAILED)) == later
    assert await ids(conn, tags=("a",)) == sorted([*mail, *echo], reverse=True)
    assert await ids(conn, tags=("b", "a")) == mail[::-1]
    assert await ids(conn, tags=("a", "c")) == []
    assert await ids(conn, queues=("mail",), types=("echo",)) == []


async def test_pages_join_while_tasks_are_added(conn: asyncpg.Connection) -> None:
    first = sorted(await world.submit(conn, 7), reverse=True)
    seen: list[str] = []
    while page := await ids(conn, limit=3, before=seen[-1] if seen else None):
        seen += page
        await world.submit(conn, 2)
    assert seen == first


async def test_what_is_not_asked_for_stays_behind(conn: asyncpg.Connection) -> None:
    [done] = await world.run(conn, payload='{"a": 1}')
    await world.end(conn, [done], world.DONE)
    [plain] = await listed(conn)
    assert (plain.payload, plain.result) == (None, None)
    [full] = await listed(conn, full=True)
    assert full.result is not None
    assert (bytes(full.payload), bytes(full.result)) == (b'{"a": 1}', b'{"ok": true}')


async def test_times_are_exclusive_bounds_of_created_at(conn: asyncpg.Connection) -> None:
    """`created_at` is PostgreSQL's time of the insert; the id was made a moment earlier, by another clock."""
    made = [world.new_task() for _ in range(4)]
    for place, task in enumerate(made):
        await insert_tasks(conn, [task])
        await conn.execute(
            "UPDATE tasks SET created_at = created_at + $2 * interval '1 s' WHERE id = $1", task.id, place - 2
        )
    at = [(await world.row(conn, task.id))["created_at"] for task in made]
    assert at == sorted(at)
    name = [task.id for task in made]
    assert await ids(conn, created_after=at[1]) == [name[3], name[2]]
    assert await ids(conn, created_before=at[1]) == [name[0]]
    assert await ids(conn, created_after=at[0], created_before=at[3]) == [name[2], name[1]]
    assert await ids(conn, created_after=at[3]) == []
    assert await ids(conn, created_after=at[3] - timedelta(microseconds=1)) == [name[3]]


@pytest.mark.parametrize("year", [1, 1960, 1970, 9999])
async def test_times_out_of_the_reach_of_ids_narrow_too(conn: asyncpg.Connection, year: int) -> None:
    made = await world.submit(conn)
    moment = datetime(year, 1, 1, tzinfo=UTC)
    assert await ids(conn, created_after=moment) == (made if year < 2026 else [])
    assert await ids(conn, created_before=moment) == ([] if year < 2026 else made)


async def test_ranges_are_crossed(conn: asyncpg.Connection) -> None:
    [young] = await world.submit(conn)
    now = (await world.row(conn, young))["created_at"]
    old = [first_id_at(now - timedelta(days=days)) for days in (8, 30)]
    await ensure_ranges_of(conn, old)
    await insert_tasks(conn, [world.new_task(id=value) for value in old])
    assert await ids(conn) == [young, *old]
    assert await ids(conn, limit=2) == [young, old[0]]
    assert await ids(conn, before=old[0]) == [old[1]]


async def test_statuses_of_many_at_once(conn: asyncpg.Connection) -> None:
    [queued] = await world.submit(conn)
    [running] = await world.run(conn)
    found = await read_statuses(conn, [queued, running.id, new_id()])
    assert found == {queued: ("queued", 1), running.id: ("running", 2)}
