"""Moves write what they tell: one delivery with each event that was asked for, and none otherwise."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from tests.contract.store import world
from tests.contract.store.conftest import Connect
from tests.contract.store.deliveries import HOST, SEALED, URL, callback, events, told
from tests.contract.store.stories import BY, STORIES, Story
from tests.contract.store.world import DONE, FAILED, LOST, PERMANENT, RELEASED

from taskflow.domain.account import By
from taskflow.domain.attempt import Outcome, Snoozed
from taskflow.domain.callback import DEFAULT_EVENTS, EVENTS
from taskflow.kit.clock import now
from taskflow.kit.ids import id_time, new_id
from taskflow.store import tending
from taskflow.store.commands import cancel_tasks
from taskflow.store.inserts import insert_tasks
from taskflow.store.snapshots import snapshot_task

Conn = asyncpg.Connection


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_each_event_is_told_to_who_asked_for_it(conn: Conn, story: Story) -> None:
    asked = [callback(), callback(*DEFAULT_EVENTS), *(callback(event) for event in EVENTS), None]
    for one in asked:
        [task_id] = await world.submit(conn, callback=one, **story.fields)
        await story.happen(conn, task_id)
        wanted = one.events if one else []
        assert await events(conn, task_id) == [event for event in story.told if event in wanted]


def test_every_event_has_its_story() -> None:
    assert {event for story in STORIES for event in story.told} == set(EVENTS)


async def test_a_loss_that_goes_straight_back_is_told_as_it_is(conn: Conn) -> None:
    [task] = await world.run(conn, callback=callback("task.retrying"))
    await world.end(conn, [task], LOST)
    [row] = await told(conn)
    assert (row["event"], snapshot_task(row["content"]).status) == ("task.retrying", "queued")


async def test_a_delivery_is_written_with_its_move(conn: Conn) -> None:
    """By one statement: both rows bear the number of its transaction."""
    owner = new_id()
    [task] = await world.run(conn, callback=callback("task.succeeded"), owner_id=owner)
    await world.end(conn, [task], DONE)
    [row] = await conn.fetch(
        "SELECT d.*, d.xmin = t.xmin AS together FROM webhook_deliveries d JOIN tasks t ON t.id = d.task_id"
    )
    assert row["together"]
    assert (str(row["owner_id"]), row["url"], row["host"]) == (owner, URL, HOST)
    assert (row["sealed"], row["max_attempts"], row["status"]) == (SEALED, 7, "pending")
    assert (row["turn"], row["attempts"], row["leased_until"]) == (0, 0, None)
    assert row["due_at"] <= now() + timedelta(seconds=1)


async def test_a_callback_may_say_little(conn: Conn) -> None:
    [task] = await world.run(conn, callback=callback("task.succeeded", sealed=None, max_attempts=None))
    await world.end(conn, [task], DONE)
    [row] = await told(conn)
    assert (row["sealed"], row["max_attempts"]) == (None, None)


@pytest.mark.parametrize("outcome", [DONE, FAILED, PERMANENT, LOST], ids=lambda one: type(one).__name__)
async def test_a_batch_tells_of_those_that_are_told(conn: Conn, outcome: Outcome) -> None:
    """Written in one batch, too."""
    batch = [world.new_task(callback=callback() if place % 3 else None) for place in range(30)]
    assert len(await insert_tasks(conn, batch)) == 30
    tasks = await world.claim(conn, await world.start_worker(conn), [task.id for task in batch])
    asking = sorted(task.id for task in batch if task.callback)
    assert sorted(str(row["task_id"]) for row in await told(conn)) == asking
    await world.end(conn, tasks, outcome)
    rows = await told(conn)
    assert sorted(str(row["task_id"]) for row in rows) == sorted(asking * 2)
    assert len({row["event"] for row in rows}) == 2


async def test_a_batch_of_several_ends_tells_each_its_own(conn: Conn) -> None:
    ends = [DONE, DONE, FAILED, LOST, PERMANENT, RELEASED, Snoozed(5), DONE, FAILED]
    tasks = await world.run(conn, len(ends) - 2, callback=callback(*EVENTS[:4], "task.retrying"))
    tasks += await world.run(conn, 2)
    assert len(await world.end_each(conn, tasks, ends)) == len(ends)
    assert [await events(conn, task.id) for task in tasks] == [
        ["task.succeeded"], ["task.succeeded"], ["task.retrying"], ["task.retrying"], ["task.failed"], [], [], [], [],
    ]  # fmt: skip


async def test_a_move_that_was_not_made_tells_nothing(conn: Conn) -> None:
    [task] = await world.run(conn, callback=callback(*DEFAULT_EVENTS, "task.retrying"))
    await world.end(conn, [task], DONE)
    for outcome in (DONE, FAILED, PERMANENT, LOST):
        assert await world.end(conn, [task], outcome) == {}
    assert await cancel_tasks(conn, [task.id], BY) == []
    assert await tending.turn_tasks(conn, 10) == []
    assert await events(conn, task.id) == ["task.succeeded"]

    [waiting] = await world.submit(conn, callback=callback())
    dead = await world.start_worker(conn)
    await world.end_lease(conn, dead)
    assert await world.claim(conn, dead, [waiting]) == []
    assert await cancel_tasks(conn, [waiting], By("ann", owner=new_id())) == []
    assert await events(conn, waiting) == []


async def test_of_a_race_the_winner_tells(conn: Conn, connect: Connect) -> None:
    ids = await world.submit(conn, 100, callback=callback())
    lines = [await connect() for _ in range(3)]
    workers = [await world.start_worker(conn) for _ in lines]
    won = await asyncio.gather(*(world.claim(c, w, ids) for c, w in zip(lines, workers, strict=True)))
    assert sorted(str(row["task_id"]) for row in await told(conn)) == ids
    tasks = [task for some in won for task in some]
    await asyncio.gather(
        world.end(lines[0], tasks, DONE), world.end(lines[1], tasks, LOST), cancel_tasks(lines[2], ids, BY)
    )
    word = {"completed": "task.succeeded", "queued": "task.retrying", "cancelled": "task.cancelled"}
    for task_id in ids:
        status = await world.status(conn, task_id)
        assert (await events(conn, task_id))[-1] == word[status]
    moves = await conn.fetchval("SELECT sum(version - 1) FROM tasks")
    assert len(await told(conn)) == moves


async def test_schedulers_that_share_the_work_tell_of_each_expiry_once(conn: Conn, connect: Connect) -> None:
    ids = await world.submit(conn, 200, callback=callback(), expires_at=now() + timedelta(days=1))
    await world.make_due(conn, ids, "expires_at")
    lines = [await connect() for _ in range(3)]
    await asyncio.gather(*(tending.turn_tasks(line, 150) for line in lines))
    await tending.turn_tasks(conn, 200)
    rows = await told(conn)
    assert {row["event"] for row in rows} == {"task.expired"}
    assert sorted(str(row["task_id"]) for row in rows) == ids


async def test_ids_are_of_version_7_and_of_now(conn: Conn) -> None:
    ids = await world.submit(conn, 1_000, callback=callback())
    await world.claim(conn, await world.start_worker(conn), ids)
    rows = await told(conn)
    assert len({row["id"] for row in rows}) == 1_000
    for row in rows:
        text = str(row["id"])
        assert (UUID(text).version, text[19] in "89ab") == (7, True)
        assert abs(id_time(text) - row["created_at"]) < timedelta(seconds=1)
        assert abs(id_time(text) - now()) < timedelta(seconds=20)
