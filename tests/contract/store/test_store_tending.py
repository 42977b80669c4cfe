"""What time brings: due tasks, expiry, lost workers, old rows."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
from tests.contract.store import world
from tests.contract.store.conftest import Connect
from tests.contract.store.world import DONE, ERROR, FAILED, LOST

from taskflow.domain.account import By
from taskflow.kit.clock import now
from taskflow.kit.ids import first_id_at, new_id
from taskflow.store import stats, tending, workers
from taskflow.store.commands import cancel_tasks, retry_tasks

MARGIN = 15.0


async def test_what_is_due_is_queued_and_what_is_too_late_expires(conn: asyncpg.Connection) -> None:
    due = await world.submit(conn, 2, delay_seconds=600.0)
    [retrying] = await world.run(conn)
    await world.end(conn, [retrying], FAILED)
    waiting = await world.submit(conn, delay_seconds=600.0)
    [late] = await world.submit(conn, expires_at=now() - timedelta(seconds=1))
    [both] = await world.submit(conn, delay_seconds=600.0, expires_at=now() + timedelta(hours=1))
    await world.make_due(conn, [*due, retrying.id, both])
    await world.make_due(conn, [both], "expires_at")

    turned = {item.moved.id: item for item in await tending.turn_tasks(conn, 100)}
    assert {i: t.moved.status for i, t in turned.items()} == {
        due[0]: "queued", due[1]: "queued", retrying.id: "queued", late: "expired", both: "expired",
    }  # fmt: skip
    for task_id, item in turned.items():
        row = await world.row(conn, task_id)
        assert (row["status"], row["version"], row["seq"]) == (
            item.moved.status,
            item.moved.version,
            item.moved.seq,
        )
        assert row["due_at"] is None
        assert item.rung_at == (row["rung_at"] if row["status"] == "queued" else None)
        assert (row["finished_at"] is not None) == (row["status"] == "expired")
    assert await world.status(conn, waiting[0]) == "scheduled"
    events = await conn.fetch("SELECT task_id, status, data FROM task_events")
    assert {str(e["task_id"]): e["data"] for e in events} == {
        late: '{"from" : "queued"}', both: '{"from" : "scheduled"}',
    }  # fmt: skip
    assert await tending.turn_tasks(conn, 100) == []


async def test_a_look_sees_what_there_is_to_tend(conn: asyncpg.Connection) -> None:
    nothing = tending.Signs(False, None, False, False, False, False)
    assert await tending.look(conn) == nothing

    [later] = await world.submit(conn, delay_seconds=600.0)
    seen = await tending.look(conn)
    assert seen.due_in_seconds is not None and 590 < seen.due_in_seconds <= 600
    assert seen == nothing._replace(due_in_seconds=seen.due_in_seconds, deltas=True)
    await world.make_due(conn, [later])
    assert await tending.look(conn) == nothing._replace(ripe=True, deltas=True)
    await tending.turn_tasks(conn, 100)
    assert await tending.look(conn) == nothing._replace(queued=True, deltas=True)
    await world.make_due(conn, [later], "expires_at")
    assert await tending.look(conn) == nothing._replace(ripe=True, queued=True, deltas=True)
    await tending.turn_tasks(conn, 100)
    await stats.fold(conn)
    assert await tending.look(conn) == nothing

    tasks = await world.run(conn, 2)
    await stats.fold(conn)
    seen = await tending.look(conn)
    assert seen == nothing._replace(running=True, deltas=True), (
        "while something runs, deltas are taken for granted"
    )
    await cancel_tasks(conn, [tasks[0].id], By("x"))
    await world.end(conn, tasks[1:], world.PERMANENT)
    await stats.fold(conn)
    seen = await tending.look(conn)
    assert seen == nothing._replace(running=True, deltas=True, letters=True), "a try is open"


async def test_a_look_tells_when_the_next_of_many_comes_due(conn: asyncpg.Connection) -> None:
    for seconds in (900.0, 300.0, 600.0):
        await world.submit(conn, delay_seconds=seconds)
    ripe = await world.submit(conn, delay_seconds=1_200.0)
    await world.make_due(conn, ripe)
    seen = await tending.look(conn)
    assert seen.ripe
    assert seen.due_in_seconds is not None and 290 < seen.due_in_seconds <= 300


async def test_a_page_is_the_longest_due_first(conn: asyncpg.Connection) -> None:
    ids = await world.submit(conn, 5, delay_seconds=600.0)
    for place, task_id in enumerate(ids):
        await conn.execute(
            "UPDATE tasks SET due_at = now() - $2 * interval '1 s' WHERE id = $1", task_id, place + 1
        )
    assert {item.moved.id for item in await tending.turn_tasks(conn, 2)} == set(ids[3:])
    assert len(await tending.turn_tasks(conn, 100)) == 3


async def test_running_tasks_do_not_expire(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn, expires_at=now() + timedelta(hours=1))
    await world.make_due(conn, [task.id], "expires_at")
    assert await tending.turn_tasks(conn, 100) == []


async def test_two_schedulers_share_the_work(conn: asyncpg.Connection, connect: Connect) -> None:
    ids = await world.submit(conn, 300, delay_seconds=600.0)
    await world.make_due(conn, ids)
    lines = [conn, await connect(), await connect()]
    turned = await asyncio.gather(*(tending.turn_tasks(line, 150) for line in lines))
    seen = [item.moved.id for items in turned for item in items]
    assert len(seen) == len(set(seen))
    seen += [item.moved.id for item in await tending.turn_tasks(conn, 500)]
    assert sorted(seen) == ids
    assert {r["version"] for r in await conn.fetch("SELECT version FROM tasks")} == {2}


async def test_tasks_of_dead_and_unknown_workers_are_found(conn: asyncpg.Connection) -> None:
    [well] = await world.run(conn)
    [lost], [pruned], [ended] = await world.run(conn), await world.run(conn), await world.run(conn)
    await world.end_lease(conn, lost.worker_id)
    await conn.execute("DELETE FROM workers WHERE id = $1", pruned.worker_id)
    await workers.end(conn, ended.worker_id)
    found = await tending.find_untended(conn, 100, MARGIN)
    assert [(task.id, live) for task, live in found] == [
        (lost.id, False),
        (pruned.id, False),
        (ended.id, False),
    ]
    task = found[0][0]
    assert (task.worker_id, task.version, task.attempt, task.number) == (lost.worker_id, 2, 1, 1)
    assert len(await tending.find_untended(conn, 2, MARGIN)) == 2
    assert await world.status(conn, well.id) == "running"


async def test_a_task_past_its_time_and_margin_is_found_whatever_its_lease(conn: asyncpg.Connection) -> None:
    late, fine = await world.run(conn, 2, timeout_seconds=30.0)
    await conn.execute("UPDATE tasks SET started_at = now() - interval '44 s' WHERE id = $1", fine.id)
    await conn.execute("UPDATE tasks SET started_at = now() - interval '46 s' WHERE id = $1", late.id)
    assert [(t.id, live) for t, live in await tending.find_untended(conn, 9, MARGIN)] == [(late.id, True)]


async def test_what_is_found_can_be_recorded_once(conn: asyncpg.Connection, connect: Connect) -> None:
    tasks = await world.run(conn, 50)
    await world.end_lease(conn, tasks[0].worker_id)
    other = await connect()
    found = [task for task, _ in await tending.find_untended(conn, 100, MARGIN)]
    again = [task for task, _ in await tending.find_untended(other, 100, MARGIN)]
    one, two = await asyncio.gather(world.end(conn, found, LOST), world.end(other, again, LOST))
    assert len(one) + len(two) == 50
    assert await conn.fetchval("SELECT count(*) FROM executions WHERE status = 'lost'") == 50


async def test_a_workers_claims_as_postgres_believes_them(conn: asyncpg.Connection) -> None:
    one, other = await world.run(conn, 2)
    await world.end(conn, [other], DONE)
    found = await tending.read_claims(conn, one.worker_id, [one.id, other.id])
    assert [(task.id, task.version, task.started_at) for task in found] == [(one.id, 2, one.started_at)]
    assert await tending.read_claims(conn, new_id(), [one.id]) == []


async def test_tries_of_cancelled_tasks_are_closed_when_their_worker_is_gone(
    conn: asyncpg.Connection,
) -> None:
    [gone], [here] = await world.run(conn), await world.run(conn)
    await cancel_tasks(conn, [gone.id, here.id], By("x"))
    await world.end_lease(conn, gone.worker_id)
    await tending.close_orphaned(conn, ERROR, 10)
    assert await world.executions(conn, gone.id) == [(1, 1, 1, "cancelled", "cancelled")]
    assert await world.executions(conn, here.id) == [(1, 1, 1, "started", "cancelled")]
    assert await conn.fetchval("SELECT finished_at IS NOT NULL FROM executions WHERE task_id = $1", gone.id)


async def test_old_ended_tasks_go_with_their_history(conn: asyncpg.Connection) -> None:
    done = await world.run(conn, 3)
    await world.end(conn, done, DONE)
    [young] = await world.run(conn)
    await world.end(conn, [young], DONE)
    live = (await world.submit(conn))[0]
    pending, resolved = await world.bury(conn, 2)
    await retry_tasks(conn, [resolved], By("x"))
    await cancel_tasks(conn, [resolved], By("x"))
    old = [*(task.id for task in done), pending, resolved]
    await conn.execute("UPDATE tasks SET finished_at = now() - interval '2 h' WHERE id = ANY($1)", old)

    async def prune(limit: int) -> int:
        horizon = first_id_at(now() + timedelta(hours=1))
        return await tending.prune_tasks(conn, before_id=horizon, keep_seconds=3_600, limit=limit)

    assert [await prune(3), await prune(3), await prune(3)] == [3, 1, 0]
    left = {str(r["id"]) for r in await conn.fetch("SELECT id FROM tasks")}
    assert left == {young.id, live, pending}
    tries = {str(r["task_id"]) for r in await conn.fetch("SELECT task_id FROM executions")}
    assert tries == {young.id, pending}
    assert await conn.fetchval("SELECT count(*) FROM task_events") == 0
    assert await conn.fetchval("SELECT sum(n) FROM stat_deltas WHERE target = 'pruned'") == 4
    assert await conn.fetchval("SELECT count(*) FROM dead_letters") == 2


async def test_the_rest_is_pruned_by_its_own_age(conn: asyncpg.Connection) -> None:
    one, other, pending = await world.bury(conn, 3)
    await retry_tasks(conn, [one, other], By("x"))
    await conn.execute("UPDATE dead_letters SET resolved_at = now() - interval '2 h' WHERE task_id = $1", one)
    await conn.execute(
        "INSERT INTO idempotency_keys SELECT gen_random_uuid(), now() - h * interval '1 h', 'k' || h, '', '{}' "
        "FROM unnest('{1,25}'::int[]) h"
    )
    await conn.execute("UPDATE workers SET lease_until = now() - interval '2 h'")
    live = await world.start_worker(conn)
    assert await tending.prune_letters(conn, keep_seconds=3_600, limit=10) == 1
    assert await tending.prune_letters(conn, keep_seconds=3_600, limit=10) == 0
    await tending.prune_rest(conn, keep_letters_seconds=3_600)
    details = {str(r["task_id"]) for r in await conn.fetch("SELECT task_id FROM dead_letter_details")}
    assert details == {other, pending}
    letters = {str(r["task_id"]) for r in await conn.fetch("SELECT task_id FROM dead_letters")}
    assert letters == {other, pending}
    assert [r["key"] for r in await conn.fetch("SELECT key FROM idempotency_keys")] == ["k1"]
    assert [str(r["id"]) for r in await conn.fetch("SELECT id FROM workers")] == [live]
