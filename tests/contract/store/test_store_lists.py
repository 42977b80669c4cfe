"""Lists of tasks: narrowed, newest first, each row once however much is added meanwhile."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.contract.store import world

from taskflow.domain.account import By
from taskflow.domain.filters import TaskFilters
from taskflow.domain.task import Task
from taskflow.domain.transitions import Status
from taskflow.kit.ids import first_id_at, new_id
from taskflow.store import search, stats, tasks, tending
from taskflow.store.commands import cancel_tasks
from taskflow.store.inserts import insert_tasks
from taskflow.store.partitions import ensure_ranges_of
from taskflow.store.search import PageWanted, search_tasks
from taskflow.store.tasks import list_tasks, read_statuses

ANN, BOB = new_id(), new_id()


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


async def everything_there_may_be(conn: asyncpg.Connection) -> None:
    """Tasks of every status, of two owners, types and queues, some of them with a tag."""
    for owner in (ANN, BOB):
        for number in range(2):
            kind = {
                "owner_id": owner,
                "tags": ["odd"] * number,
                "lane": number,
                "type": ("demo", "echo")[number],
            }
            await world.submit(conn, 2, **kind)
            await world.submit(conn, 2, queue="mail", delay_seconds=600.0, **kind)
            await world.run(conn, 2, **kind)
            for outcome in (world.DONE, world.PERMANENT, world.FAILED):
                await world.end(conn, await world.run(conn, 2, **kind), outcome)
            await cancel_tasks(conn, await world.submit(conn, 2, **kind), By("x"))
            late = await world.submit(conn, 2, queue="mail", **kind)
            await world.make_due(conn, late, "expires_at")
            await tending.turn_tasks(conn, 10)


async def test_every_way_to_a_list_finds_the_same(
    conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the figures there are several; what they find must not differ from what is there."""
    await everything_there_may_be(conn)
    rows = await conn.fetch(
        "SELECT id, status, type, queue, lane, tags, owner_id FROM tasks ORDER BY id DESC"
    )
    assert {row["status"] for row in rows} == set(Status)
    ways: Counter[str] = Counter()
    for limit, statuses, types, queues, tags, owner in itertools.product(
        (3, 200),
        [(), *((status,) for status in Status), ("failed", "queued"), ("scheduled", "retrying", "expired"), tuple(Status)],
        [(), ("echo",), ("none",)], [(), ("mail",)], [(), ("odd",)], [None, ANN],
    ):  # fmt: skip
        filters = TaskFilters(statuses=statuses, types=types, queues=queues, tags=tags, owner=owner)
        fitting = [
            str(row["id"]) for row in rows
            if (not statuses or row["status"] in statuses) and (not types or row["type"] in types)
            and (not queues or row["queue"] in queues) and set(tags) <= set(row["tags"])
            and (owner is None or str(row["owner_id"]) == owner)
        ]  # fmt: skip
        for live_max in (0, 20_000):
            monkeypatch.setattr(tasks, "LIVE_READ_MAX", live_max)
            ways[await tasks.way_to(conn, filters) or "none"] += 1
            for before in (None, fitting[1] if len(fitting) > 1 else None):
                wanted = [task_id for task_id in fitting if before is None or task_id < before][:limit]
                found = await list_tasks(
                    conn, filters, limit=limit, before=before, payload=False, result=False
                )
                assert [task.id for task in found] == wanted, (filters, before)
                searched = await search_tasks(conn, filters, PageWanted(limit, before))
                assert [task.id for task in searched.tasks] == wanted, (filters, before)
                assert searched.until is None
    assert ways.keys() == {tasks.LIST_TASKS, tasks.LIST_OWN_TASKS, tasks.LIST_BY_STATUS, "none"}


async def test_the_list_of_an_owner_is_walked_if_he_has_few(conn: asyncpg.Connection) -> None:
    await world.submit(conn, 1, owner_id=ANN, delay_seconds=600.0)
    await world.submit(conn, 5, owner_id=BOB, delay_seconds=600.0)
    await world.submit(conn, 5, owner_id=BOB)
    await stats.fold(conn)
    for owner, statement in (
        (ANN, tasks.LIST_OWN_TASKS),
        (BOB, tasks.LIST_BY_STATUS),
        (None, tasks.LIST_BY_STATUS),
    ):
        filters = TaskFilters(statuses=(Status.SCHEDULED,), owner=owner)
        assert await tasks.way_to(conn, filters) == statement


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


async def pages(
    conn: asyncpg.Connection, filters: TaskFilters, seconds: float, limit: int = 3
) -> list[search.Found]:
    """Every page of a search, as a caller reads them."""
    found: list[search.Found] = []
    before = None
    while not found or before is not None:
        page = await search_tasks(conn, filters, PageWanted(limit, before), seconds)
        found.append(page)
        before = page.until or (page.tasks[-1].id if len(page.tasks) == limit else None)
    return found


@pytest.mark.parametrize("owner", [None, ANN], ids=["all", "his"])
async def test_a_search_that_is_broken_off_goes_on_where_it_was(
    conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, owner: str | None
) -> None:
    monkeypatch.setattr(search, "WINDOW_ROWS", 5)
    rare: list[str] = []
    for number in range(4):
        await world.submit(conn, 7, owner_id=ANN)
        rare += await world.submit(conn, 1, owner_id=ANN, name=f"Nightly report {number}")
        await world.submit(conn, 3, owner_id=BOB)
    filters = TaskFilters(name="nightly REPORT", owner=owner)
    found = await pages(conn, filters, seconds=0.0)
    assert [task.id for page in found for task in page.tasks] == rare[::-1]
    assert sum(page.until is not None for page in found) >= 4
    assert any(not page.tasks and page.until for page in found), "a page may be empty, and not the last"
    [whole] = await pages(conn, filters, seconds=60.0, limit=10)
    assert [task.id for task in whole.tasks] == rare[::-1]
    assert whole.until is None


async def test_too_many_of_a_status_are_walked(
    conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "WINDOW_ROWS", 4)
    failed = await world.run(conn, 6)
    await world.end(conn, failed, world.PERMANENT)
    await world.submit(conn, 9)
    filters = TaskFilters(statuses=(Status.FAILED,), error="nothing says this")
    assert await tasks.way_to(conn, filters) == tasks.LIST_BY_STATUS
    assert (await search_tasks(conn, filters, PageWanted(5))).until is None
    monkeypatch.setattr(search, "INDEX_SHARE", 0.0)
    page = await search_tasks(conn, filters, PageWanted(5), 0.0)
    assert (page.tasks, page.until is not None) == ([], True)
    found = await pages(conn, TaskFilters(statuses=(Status.FAILED,)), seconds=0.0)
    assert [task.id for page in found for task in page.tasks] == sorted(
        (row.id for row in failed), reverse=True
    )


async def test_by_worker_name_and_error(conn: asyncpg.Connection) -> None:
    [running], [failed] = await world.run(conn, 1), await world.run(conn, 1)
    await world.end(conn, [failed], world.PERMANENT)
    [named] = await world.submit(conn, 1, name="Report of 100 % (May)")
    [first, second] = [(await world.row(conn, task.id))["worker_id"] for task in (running, failed)]
    assert await ids(conn, workers=(str(first),)) == [running.id]
    assert await ids(conn, workers=(str(first), str(second))) == [failed.id, running.id]
    assert await ids(conn, workers=(str(second),), statuses=(Status.RUNNING,)) == []
    assert await ids(conn, name="100 % (m") == [named]
    assert await ids(conn, error="VALUEERROR no") == [failed.id]
    assert await ids(conn, error="no such text") == []
