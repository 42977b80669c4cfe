"""What stands in a task's way, as rows tell it."""

from __future__ import annotations

import asyncpg
from tests.contract.store import world
from tests.contract.store.plans import (
    Scan,
    analyse,
    buffers,
    leave_unanalysed,
    parents,
    plan,
    prepare,
    scans,
)

from taskflow.domain.account import By
from taskflow.domain.attempt import Deferred, Failed
from taskflow.domain.callback import Target
from taskflow.kit.ids import new_id
from taskflow.store import audit_log, catalog, commands, doorbells, obstacles, push_hosts
from taskflow.store.connect import Database
from taskflow.store.push_hosts import Report

ANN, BOB = By("ann", "bad deploy"), By("bob")
HOST = "https://shop.example:443"
CROWD = 50_000


async def ahead(conn: asyncpg.Connection, task_id: str, limit: int = 100) -> int:
    return await obstacles.count_ahead(conn, task_id, limit)


async def test_a_place_is_told_to_its_owner(conn: asyncpg.Connection) -> None:
    mine, other = new_id(), new_id()
    [task_id] = await world.submit(conn, queue="mail", lane=1, owner_id=mine)
    for owner in (None, mine):
        assert await obstacles.read_place(conn, task_id, owner) == ("mail", 1, "queued")
    assert await obstacles.read_place(conn, task_id, other) is None
    assert await obstacles.read_place(conn, new_id()) is None


async def test_higher_lanes_and_earlier_ones_of_its_lane_go_ahead(conn: asyncpg.Connection) -> None:
    first = await world.submit(conn, 3)
    [own] = await world.submit(conn)
    await world.submit(conn, 2)  # later
    await world.submit(conn, 4, lane=3)
    assert await ahead(conn, own) == 3
    await world.submit(conn, 5, lane=0)  # later, and yet before it
    await world.submit(conn, 6, lane=0, queue="mail")
    await world.submit(conn, 7, lane=0, delay_seconds=60.0)
    assert await ahead(conn, own) == 8
    await doorbells.park(conn, first[:1])
    assert await ahead(conn, own) == 7


async def test_those_of_one_batch_go_by_their_ids(conn: asyncpg.Connection) -> None:
    ids = await world.submit(conn, 9)
    stamps = await conn.fetch("SELECT DISTINCT rung_at FROM tasks")
    assert len(stamps) == 1
    assert [await ahead(conn, task_id) for task_id in ids] == list(range(9))
    assert await ahead(conn, ids[8], limit=5) == 5


async def test_a_crowd_is_counted_by_index_up_to_the_limit(database: Database) -> None:
    """On connections as the api reads by, whose planner may do as it likes; a million would cost no more."""
    async with database.connection() as conn:
        [last] = await world.submit(conn, lane=3)
        template = await world.row(conn, last)
        columns = ", ".join(name for name in dict(template) if name not in {"id", "lane", "rung_at"})
        await conn.execute(
            f"INSERT INTO tasks (id, lane, rung_at, {columns}) "
            "SELECT overlay(gen_random_uuid()::text placing left(id::text, 18) from 1)::uuid, n % 4, "
            f"rung_at - (1 + n / 100) * interval '1 ms', {columns} FROM tasks, generate_series(1, {CROWD}) AS n"
        )
        assert await ahead(conn, last, CROWD * 2) == CROWD
        assert await ahead(conn, last, 10_000) == 10_000
        name = "store.obstacles.count_ahead"
        for make_ready in (leave_unanalysed, analyse):
            await make_ready(conn)
            await prepare(conn, {name: obstacles.COUNT_AHEAD})
            found = await plan(conn, name, f"'{last}', 10000", options=", ANALYZE, BUFFERS")
            await conn.execute(f'DEALLOCATE "{name}"')
            assert scans(found, await parents(conn)) == {
                Scan("tasks", "tasks_pkey"),
                Scan("tasks", "tasks_queued"),
            }
            print(f"{make_ready.__name__}: {buffers(found)} pages")
            assert buffers(found) < 2_000


async def test_a_parked_task_goes_after_all_that_are_rung(conn: asyncpg.Connection) -> None:
    ids = await world.submit(conn, 4)
    await doorbells.park(conn, ids[1:3])
    assert await ahead(conn, ids[2]) == 2


async def test_the_newest_try_and_the_letter_are_told(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn, max_attempts=2)
    before = await obstacles.read_standing(conn, task.id)
    assert before is not None
    assert (before.tried, before.error, before.letter, before.host) == (None, None, None, None)
    await world.end(conn, [task], world.FAILED)
    tried = await obstacles.read_standing(conn, task.id)
    assert tried is not None
    assert (tried.tried, tried.error and tried.error.type, tried.letter) == ("failed", "ValueError", None)
    await world.make_due(conn, [task.id])
    await commands.retry_tasks(conn, [task.id], ANN)
    [again] = await world.claim(conn, await world.start_worker(conn), [task.id])
    await world.end(conn, [again], Failed(world.ERROR))
    spent = await obstacles.read_standing(conn, task.id)
    assert spent is not None
    assert spent.letter is not None
    letter_id = await conn.fetchval("SELECT id::text FROM dead_letters")
    assert spent.letter == (letter_id, "attempts_exhausted", 2, "pending")
    await commands.retry_tasks(conn, [task.id], ANN)
    next_life = await obstacles.read_standing(conn, task.id)
    assert next_life is not None
    assert next_life.letter is None
    assert next_life.rung_at is not None
    await doorbells.park(conn, [task.id])
    parked = await obstacles.read_standing(conn, task.id)
    assert parked is not None
    assert parked.rung_at is None


async def test_the_host_of_a_push_is_told(conn: asyncpg.Connection) -> None:
    owner = new_id()
    [task_id] = await world.submit(
        conn, type="http.push", owner_id=owner, target=Target(f"{HOST}/work", HOST)
    )
    worker = await world.start_worker(conn, types=["http.push"])
    [task] = await world.claim_pushed(conn, worker, [task_id], types=["http.push"])
    await world.end(conn, [task], Deferred(5.0, "has failed 5 times in a row"))
    well = await obstacles.read_standing(conn, task_id)
    assert well is not None
    assert (well.host, well.host_state, well.tried) == (HOST, None, "released")
    reports = [Report((owner, HOST), 5, arrived=False, error="no"), Report((new_id(), HOST), 1, False, "no")]
    await push_hosts.report(conn, reports, opens_after=5, open_seconds=60, open_seconds_max=600)
    ill = await obstacles.read_standing(conn, task_id)
    assert ill is not None
    assert ill.host_state is not None
    assert ill.host_state[:2] == (5, 1)
    assert 50 < ill.host_state.open_seconds <= 60


async def test_pauses_tell_who_paused_first_and_why(conn: asyncpg.Connection) -> None:
    await catalog.add_queues(conn, ["mail", "demo"])
    await catalog.declare_types(
        conn, [catalog.Declaration(name, None, None, None, None) for name in ("demo", "other")]
    )

    async def pause_queue(by: By, paused: bool) -> None:
        await catalog.set_queue_paused(conn, "demo", paused)
        await audit_log.write_audit(conn, by, f"queue.{'paused' if paused else 'resumed'}", "demo")

    assert await obstacles.read_pauses(conn, "demo", ["demo", "other"]) == []
    await catalog.pause_type(conn, "demo", "ann", "bad deploy")
    [unaudited] = await obstacles.read_pauses(conn, "mail", ["demo"])
    assert unaudited == ("type", "demo", "ann", "bad deploy", None)
    await audit_log.write_audit(conn, ANN, "type.paused", "demo")
    for by, paused in ((ANN, True), (ANN, False), (BOB, True), (ANN, True)):
        await pause_queue(by, paused)
    queue, kind = await obstacles.read_pauses(conn, "demo", ["demo", "other"])
    assert queue[:4] == ("queue", "demo", "bob", None)
    assert kind[:4] == ("type", "demo", "ann", "bad deploy")
    assert queue.since is not None
    assert kind.since is not None
    assert kind.since < queue.since
    assert await obstacles.read_pauses(conn, "mail", ["other"]) == []
    await catalog.resume_type(conn, "demo")
    assert [pause.kind for pause in await obstacles.read_pauses(conn, "demo", ["demo"])] == ["queue"]


async def test_slots_are_busy_until_handlers_have_ended(conn: asyncpg.Connection) -> None:
    worker, other = await world.start_worker(conn), await world.start_worker(conn)
    await world.claim(conn, other, await world.submit(conn, 4))
    held = await world.claim(conn, worker, await world.submit(conn, 3))
    assert await obstacles.count_busy(conn, [worker]) == 3
    assert await obstacles.count_busy(conn, [worker, other]) == 7
    await commands.cancel_tasks(conn, [held[0].id], ANN)
    assert await obstacles.count_busy(conn, [worker]) == 3
    await world.end(conn, held[1:], world.DONE)
    assert await obstacles.count_busy(conn, [worker]) == 1
    assert await obstacles.count_busy(conn, []) == 0
    pushed = await world.submit(conn, type="http.push", target=Target(f"{HOST}/work", HOST))
    assert len(await world.claim_pushed(conn, other, pushed, types=["http.push"])) == 1
    assert await obstacles.count_busy(conn, [other]) == 4


async def test_what_waits_is_told_by_the_figures(conn: asyncpg.Connection) -> None:
    await world.submit(conn, 5)
    await world.submit(conn, 2, queue="mail")
    await world.submit(conn, 2, delay_seconds=60.0)
    assert await obstacles.count_waiting(conn, "default") == 5
    await world.run(conn, 3)
    assert await obstacles.count_waiting(conn, "default") == 5
    assert await obstacles.count_waiting(conn, "nowhere") == 0
