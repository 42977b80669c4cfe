"""Workers, types and queues as rows."""

from __future__ import annotations

import asyncpg
import pytest
from tests.contract.store import world
from tests.contract.store.plans import buffers, plan, prepare

from taskflow.kit.ids import new_id
from taskflow.store import catalog, workers
from taskflow.store.catalog import Declaration
from taskflow.store.connect import Database
from taskflow.store.errors import DatabaseAway, translated
from taskflow.store.probe import probe


async def test_a_beat_renews_the_lease_and_tells_what_runs(conn: asyncpg.Connection) -> None:
    tasks = await world.run(conn, 3)
    worker = tasks[0].worker_id
    before = await conn.fetchval("SELECT lease_until FROM workers")
    beat = await workers.beat(conn, worker, 900, 3)
    assert beat.lease_live
    assert beat.running == {(task.id, 2) for task in tasks}
    assert (beat.drain, beat.paused_queues, beat.paused_types) == (False, [], [])
    row = await conn.fetchrow("SELECT * FROM workers")
    assert row is not None
    assert (row["lease_until"] > before, row["running"]) == (True, 3)


async def test_a_lease_that_ran_out_is_renewed_as_long_as_nobody_judged_its_worker(
    conn: asyncpg.Connection,
) -> None:
    [task] = await world.run(conn)
    await world.end_lease(conn, task.worker_id)
    assert not (await workers.read_workers(conn))[0].live
    assert (await workers.beat(conn, task.worker_id, 900, 1)).lease_live
    assert (await workers.read_workers(conn))[0].live


async def test_a_worker_that_was_pronounced_dead_cannot_renew(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn)
    assert await workers.pronounce_dead(conn, [task.worker_id]) == set()
    await world.end_lease(conn, task.worker_id)
    unknown = new_id()
    assert await workers.pronounce_dead(conn, [task.worker_id, unknown]) == {task.worker_id, unknown}
    beat = await workers.beat(conn, task.worker_id, 900, 1)
    assert not beat.lease_live
    assert beat.running == {(task.id, 2)}
    assert not (await workers.beat(conn, new_id(), 900, 0)).lease_live
    assert not (await workers.read_workers(conn))[0].live


async def test_a_worker_that_ended_is_gone_at_once(conn: asyncpg.Connection) -> None:
    worker = await world.start_worker(conn)
    await workers.end(conn, worker)
    [row] = await workers.read_workers(conn)
    assert not row.live
    assert not (await workers.beat(conn, worker, 900, 0)).lease_live
    assert await world.claim(conn, worker, await world.submit(conn)) == []


async def test_a_touch_writes_and_changes_nothing(conn: asyncpg.Connection) -> None:
    await workers.touch(conn)  # of nobody
    first, second = [await world.start_worker(conn) for _ in range(2)]
    whole = "SELECT w, w.xmin::text FROM workers w WHERE id = $1"
    before = await conn.fetchrow(whole, first), await conn.fetchrow(whole, second)
    await workers.touch(conn)
    after = await conn.fetchrow(whole, first), await conn.fetchrow(whole, second)
    assert after[0]["w"] == before[0]["w"]
    assert after[0]["xmin"] != before[0]["xmin"], "nothing was written"
    assert after[1] == before[1]


async def test_a_touch_fails_where_a_beat_does(conn: asyncpg.Connection) -> None:
    worker = await world.start_worker(conn)
    await conn.execute("SET default_transaction_read_only = on")
    for write in (workers.touch(conn), workers.beat(conn, worker, 900, 0)):
        with pytest.raises(DatabaseAway), translated():
            await write


async def test_drain_and_pauses_reach_the_beat(conn: asyncpg.Connection) -> None:
    worker = await world.start_worker(conn)
    await catalog.add_queues(conn, ["mail", "default"])
    await catalog.declare_types(conn, [Declaration("demo", None, None, None, None)])
    assert await catalog.set_queue_paused(conn, "mail", True)
    assert await catalog.pause_type(conn, "demo", "ann", "broken")
    assert not await catalog.set_queue_paused(conn, "none", True)
    assert not await catalog.pause_type(conn, "none", "ann", None)
    assert await workers.drain(conn, worker)
    assert not await workers.drain(conn, new_id())
    beat = await workers.beat(conn, worker, 900, 0)
    assert (beat.drain, beat.paused_queues, beat.paused_types) == (True, ["mail"], ["demo"])
    assert await catalog.read_pauses(conn) == ({"mail"}, {"demo"})
    [row] = await workers.read_workers(conn)
    assert (row.live, row.drain) == (True, True)
    assert workers.served([row]) == set()


async def test_pairs_that_are_served(conn: asyncpg.Connection) -> None:
    await world.start_worker(conn, queues=["a", "b"], types=["x"])
    gone = await world.start_worker(conn, queues=["c"], types=["y"])
    await world.end_lease(conn, gone)
    assert workers.served(await workers.read_workers(conn)) == {("a", "x"), ("b", "x")}


async def test_the_declaration_made_last_stands(conn: asyncpg.Connection) -> None:
    first = Declaration("demo", '{"type":"object"}', 60.0, 3, '{"strategy":"fixed"}')
    await catalog.declare_types(conn, [first, Declaration("a", None, None, None, None)])
    await catalog.pause_type(conn, "demo", "ann", "broken")
    await catalog.declare_types(conn, [Declaration("demo", None, 5.0, None, None)])
    types = await catalog.read_types(conn)
    assert [tuple(t) for t in types] == [
        ("a", None, None, None, None, False, None, None), ("demo", None, 5.0, None, None, True, "ann", "broken"),
    ]  # fmt: skip


async def test_queues_count_what_waits_and_runs(conn: asyncpg.Connection) -> None:
    await catalog.add_queues(conn, ["mail", "default", "mail"])
    await catalog.add_queues(conn, ["mail"])
    await world.submit(conn, 2, lane=0)
    ids = await world.submit(conn, 3, queue="mail", lane=3)
    await world.claim(conn, await world.start_worker(conn), ids[:1])
    default, mail = await catalog.read_queues(conn)
    assert (default.name, default.waiting, default.running) == ("default", {0: 2, 1: 0, 2: 0, 3: 0}, 0)
    assert (mail.name, mail.waiting, mail.running) == ("mail", {0: 0, 1: 0, 2: 0, 3: 2}, 1)
    assert mail.oldest_at == (await world.row(conn, ids[1]))["queued_at"]


async def test_many_queues_are_counted_in_one_look_at_the_figures(
    database: Database, conn: asyncpg.Connection
) -> None:
    await catalog.add_queues(conn, [f"q{number}" for number in range(300)])
    async with database.connection() as pooled:
        await prepare(pooled, {"store.catalog.read_queues": catalog.READ_QUEUES})

        async def pages() -> int:
            return buffers(
                await plan(pooled, "store.catalog.read_queues", None, options=", ANALYZE, BUFFERS")
            )

        before = await pages()
        await conn.execute(
            "INSERT INTO stat_deltas (n, queue, type, origin, target) "
            "SELECT 1, 'q' || i % 300, 'demo', 'queued', 'running' FROM generate_series(1, 3000) AS i"
        )
        assert await pages() < before + 300
        assert sum(queue.running for queue in await catalog.read_queues(pooled)) == 3_000


async def test_the_probe_tells_time_and_schema(conn: asyncpg.Connection) -> None:
    found = await probe(conn)
    assert found.migrated
    assert abs((found.now - await conn.fetchval("SELECT clock_timestamp()")).total_seconds()) < 5
