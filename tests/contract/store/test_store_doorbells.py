"""Doorbells as rows remember them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
from tests.contract.store import world
from tests.contract.store.conftest import Connect

from taskflow.store import doorbells


async def age(conn: asyncpg.Connection, ids: list[str], seconds: float) -> None:
    await conn.execute(
        "UPDATE tasks SET rung_at = now() - $2 * interval '1 s' WHERE id = ANY($1)", ids, float(seconds)
    )


async def test_heads_are_the_oldest_of_each_queue_and_lane(conn: asyncpg.Connection) -> None:
    for queue in ("default", "a", "mail"):
        for lane in (0, 2, 3):
            ids = await world.submit(conn, 3, queue=queue, lane=lane)
            await age(conn, ids[:1], 100 + lane)
            await doorbells.park(conn, ids[2:] if queue == "mail" else [])
    await world.run(conn, queue="running")
    heads = await doorbells.read_heads(conn)
    assert [(h.queue, h.lane) for h in heads] == [(q, n) for q in ("a", "default", "mail") for n in (0, 2, 3)]
    for head in heads:
        assert round((head.now - head.rung_at).total_seconds()) == 100 + head.lane
        assert head.parked == (head.queue == "mail")


async def test_an_empty_system_has_no_heads(conn: asyncpg.Connection) -> None:
    await world.submit(conn, delay_seconds=60.0)
    assert await doorbells.read_heads(conn) == []


async def test_a_head_that_is_parked_is_infinitely_young(conn: asyncpg.Connection) -> None:
    ids = await world.submit(conn, 2)
    await doorbells.park(conn, ids)
    [head] = await doorbells.read_heads(conn)
    assert head.parked
    assert not head.rung_at < head.now - timedelta(seconds=5)


async def test_lost_doorbells_are_stamped_anew_once_oldest_first(conn: asyncpg.Connection) -> None:
    ids = await world.submit(conn, 6)
    for place, task_id in enumerate(ids):
        await age(conn, [task_id], 60 - place)
    [foreign] = await world.submit(conn, lane=0)
    await age(conn, [foreign], 100)
    [parked] = await world.submit(conn)
    await doorbells.park(conn, [parked])
    before = (await doorbells.read_heads(conn))[0].now - timedelta(seconds=56.5)
    versions = await conn.fetch("SELECT id, version, seq, queued_at FROM tasks ORDER BY id")

    first = await doorbells.ring_again(conn, "default", 2, before, 3)
    assert {rung.id for rung in first} == set(ids[:3])
    second = await doorbells.ring_again(conn, "default", 2, before, 3)
    assert {rung.id for rung in second} == {ids[3]}
    assert await doorbells.ring_again(conn, "default", 2, before, 3) == []
    for rung in first + second:
        assert (rung.lane, rung.queue) == (2, "default")
        assert (await world.row(conn, rung.id))["rung_at"] == rung.rung_at > before
    assert versions == await conn.fetch("SELECT id, version, seq, queued_at FROM tasks ORDER BY id")


async def test_two_healers_ring_each_lost_doorbell_once(conn: asyncpg.Connection, connect: Connect) -> None:
    ids = await world.submit(conn, 200)
    await age(conn, ids, 60)
    before = (await doorbells.read_heads(conn))[0].now - timedelta(seconds=30)
    lines = [conn, await connect(), await connect()]
    rung = await asyncio.gather(*(doorbells.ring_again(c, "default", 2, before, 500) for c in lines))
    seen = [one.id for page in rung for one in page]
    assert len(seen) == len(set(seen))
    seen += [one.id for one in await doorbells.ring_again(conn, "default", 2, before, 500)]
    assert sorted(seen) == ids


async def test_parked_tasks_wait_for_a_worker_of_their_queue_and_type(conn: asyncpg.Connection) -> None:
    demo = await world.submit(conn, 3, lane=1)
    echo = await world.submit(conn, type="echo")
    mail = await world.submit(conn, queue="mail")
    free = await world.submit(conn)
    await doorbells.park(conn, [*demo, *echo, *mail])
    assert await doorbells.unpark(conn, [], 10) == []
    assert await doorbells.unpark(conn, [("default", "mail"), ("other", "demo")], 10) == []
    first = await doorbells.unpark(conn, [("default", "demo"), ("mail", "echo")], 2)
    rest = await doorbells.unpark(conn, [("default", "demo"), ("mail", "demo")], 10)
    assert {r.id for r in first} < set(demo)
    assert {r.id for r in first + rest} == {*demo, *mail}
    assert {(r.id, r.lane, r.queue) for r in rest} >= {(mail[0], 2, "mail")}
    assert await conn.fetchval("SELECT count(*) FROM tasks WHERE rung_at = 'infinity'") == len(echo)
    assert free[0] not in {r.id for r in first + rest}


async def test_only_what_is_queued_is_parked(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn)
    await doorbells.park(conn, [task.id])
    assert await conn.fetchval("SELECT count(*) FROM tasks WHERE rung_at = 'infinity'") == 0
