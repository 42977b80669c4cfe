"""Claim and record: won once, recorded once, with all that a move entails."""

from __future__ import annotations

import asyncio

import asyncpg
import msgspec
import pytest
from tests.contract.store import world
from tests.contract.store.conftest import Connect
from tests.contract.store.world import DONE, ERROR, FAILED, LOST, PERMANENT, RELEASED

from taskflow.domain.account import By
from taskflow.domain.attempt import Cancelled, Failed, Snoozed, Succeeded
from taskflow.domain.decide import decide
from taskflow.domain.task import LOCAL_OWNER, Claimed
from taskflow.kit.clock import now
from taskflow.kit.ids import new_id
from taskflow.store.commands import cancel_tasks
from taskflow.store.errors import Unstorable, translated
from taskflow.store.inserts import insert_tasks
from taskflow.store.moves import Record, claim_tasks, close_executions, read_remainder, record_outcomes
from taskflow.store.tasks import Wanted, read_tasks

PAYLOAD = '{"z":1,"a":1.0,"b":1e400,"c":100000000000000000000000,"d":"x\\u0000y","k":1,"k":2}'


async def test_a_submitted_task_is_queued_and_its_doorbell_due(conn: asyncpg.Connection) -> None:
    task = world.new_task(
        payload=PAYLOAD, tags=["a", 'b"c'], metadata='{"m":1}', name="n", lane=0, queue="mail"
    )
    [made] = await insert_tasks(conn, [task])
    row = await world.row(conn, task.id)
    assert (made.status, made.lane, made.queue, made.type) == ("queued", 0, "mail", "demo")
    assert made.rung_at == row["rung_at"] == row["queued_at"] == row["created_at"]
    assert (row["payload"], row["tags"], row["metadata"]) == (PAYLOAD, ["a", 'b"c'], '{"m":1}')
    assert (row["version"], row["life"], row["attempt"], row["number"], row["due_at"]) == (1, 1, 0, 0, None)


async def test_a_repeated_insert_changes_nothing(conn: asyncpg.Connection) -> None:
    first, second = world.new_task(), world.new_task()
    await insert_tasks(conn, [first])
    made = await insert_tasks(conn, [second, first])
    assert [row.id for row in made] == [second.id]
    assert await conn.fetchval("SELECT sum(n) FROM stat_deltas") == 2


async def test_a_task_for_later_is_scheduled(conn: asyncpg.Connection) -> None:
    later = now().replace(year=2037)
    past = now().replace(year=2020)
    at, after, before, at_once = (
        world.new_task(run_at=later), world.new_task(delay_seconds=60.0), world.new_task(run_at=past),
        world.new_task(delay_seconds=0.0),
    )  # fmt: skip
    made = {row.id: row for row in await insert_tasks(conn, [at, after, before, at_once])}
    assert [made[task.id].status for task in (at, after, before, at_once)] == [
        "scheduled", "scheduled", "queued", "queued",
    ]  # fmt: skip
    assert made[at.id].rung_at is None
    assert (await world.row(conn, at.id))["due_at"] == later
    delayed = await world.row(conn, after.id)
    assert (delayed["due_at"] - delayed["created_at"]).total_seconds() == 60
    assert delayed["run_at"] == delayed["due_at"]


async def test_an_unstorable_task_is_refused_as_such(conn: asyncpg.Connection) -> None:
    for fields in (
        {"name": "a\0b"},
        {"tags": ["\0"]},
        {"payload": "{"},
        {"metadata": "nope"},
        {"queue": "\ud800"},
    ):
        with pytest.raises(Unstorable), translated():
            await insert_tasks(conn, [world.new_task(**fields)])
    assert await conn.fetchval("SELECT count(*) FROM tasks") == 0


async def test_a_claim_hands_over_all_that_an_attempt_needs(conn: asyncpg.Connection) -> None:
    worker = await world.start_worker(conn)
    ids = await world.submit(conn, payload=PAYLOAD, tags=["t"], metadata='{"m":1}', lane=1)
    [task] = await world.claim(conn, worker, ids)
    assert (task.version, task.number, task.life, task.attempt, task.worker_id) == (2, 1, 1, 1, worker)
    assert (task.payload, task.tags, task.metadata, task.lane) == (PAYLOAD, ["t"], '{"m":1}', 1)
    assert task.retry == world.SOON
    row = await world.row(conn, task.id)
    assert (row["status"], str(row["worker_id"]), row["seq"]) == ("running", worker, 2)
    assert row["started_seq"] == 2
    assert await world.executions(conn, task.id) == []


async def test_of_two_concurrent_claims_each_task_is_won_once(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    ids = await world.submit(conn, 300)
    lines = [await connect() for _ in range(4)]
    workers = [await world.start_worker(conn) for _ in lines]
    won = await asyncio.gather(*(world.claim(c, w, ids) for c, w in zip(lines, workers, strict=True)))
    assert sorted(task.id for tasks in won for task in tasks) == ids
    held = await conn.fetch("SELECT id, worker_id, version FROM tasks")
    assert {(str(r["id"]), str(r["worker_id"])) for r in held} == {
        (task.id, task.worker_id) for tasks in won for task in tasks
    }
    assert {r["version"] for r in held} == {2}


async def test_a_worker_without_a_live_lease_wins_nothing(conn: asyncpg.Connection) -> None:
    ids = await world.submit(conn, 2)
    worker = await world.start_worker(conn)
    await world.end_lease(conn, worker)
    assert await world.claim(conn, worker, ids) == []
    assert await world.claim(conn, new_id(), ids) == []
    remainder = await read_remainder(conn, worker, ids)
    assert {(r.status, r.lease_live) for r in remainder.values()} == {("queued", False)}


async def test_only_declared_types_that_have_not_expired_are_won(conn: asyncpg.Connection) -> None:
    worker = await world.start_worker(conn)
    [foreign] = await world.submit(conn, type="mail")
    [late] = await world.submit(conn, expires_at=now().replace(year=2020))
    [fine] = await world.submit(conn, expires_at=now().replace(year=2037))
    won = await world.claim(conn, worker, [foreign, late, fine, new_id()])
    assert [task.id for task in won] == [fine]
    remainder = await read_remainder(conn, worker, [foreign, late])
    assert {i: (r.status, r.type, r.expired, r.lease_live) for i, r in remainder.items()} == {
        foreign: ("queued", "mail", False, True), late: ("queued", "demo", True, True),
    }  # fmt: skip


async def test_what_is_not_queued_is_not_won(conn: asyncpg.Connection) -> None:
    worker = await world.start_worker(conn)
    tasks = await world.run(conn, 2)
    assert await world.claim(conn, worker, [task.id for task in tasks]) == []
    await world.end(conn, tasks, DONE)
    assert await world.claim(conn, worker, [task.id for task in tasks]) == []
    [scheduled] = await world.submit(conn, delay_seconds=60.0)
    assert await world.claim(conn, worker, [scheduled]) == []


async def test_success_is_kept_with_its_execution(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn)
    recorded = await world.end(conn, [task], Succeeded(PAYLOAD))
    assert recorded[task.id].moved.status == "completed"
    assert recorded[task.id].rung_at is None
    row = await world.row(conn, task.id)
    assert (row["status"], row["result"], row["error"], row["version"]) == ("completed", PAYLOAD, None, 3)
    assert row["finished_at"] is not None
    assert await world.executions(conn, task.id) == [(1, 1, 1, "succeeded", "completed")]


async def test_a_late_record_changes_nothing(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn)
    await world.end(conn, [task], LOST)
    [again] = await world.claim(conn, await world.start_worker(conn), [task.id])
    assert (again.version, again.number, again.attempt, again.losses) == (4, 2, 2, 1)
    before = await world.row(conn, task.id)
    assert await world.end(conn, [task], DONE) == {}
    stranger = msgspec.structs.replace(again, worker_id=task.worker_id)
    assert await world.end(conn, [stranger], DONE) == {}
    assert await world.end(conn, [msgspec.structs.replace(again, version=3)], DONE) == {}
    assert await world.row(conn, task.id) == before
    assert await world.executions(conn, task.id) == [(1, 1, 1, "lost", "queued")]


async def test_of_two_concurrent_records_one_counts(conn: asyncpg.Connection, connect: Connect) -> None:
    tasks = await world.run(conn, 100)
    other = await connect()
    done, lost = await asyncio.gather(world.end(conn, tasks, DONE), world.end(other, tasks, LOST))
    assert len(done) + len(lost) == 100
    assert not set(done) & set(lost)
    assert await conn.fetchval("SELECT count(*) FROM executions") == 100
    assert await conn.fetchval("SELECT count(*) FROM tasks WHERE status = 'completed'") == len(done)


async def test_there_is_one_execution_for_each_try(conn: asyncpg.Connection) -> None:
    ids = await world.submit(conn, max_attempts=3)
    worker = await world.start_worker(conn)
    seen = []
    for outcome in (RELEASED, FAILED, Snoozed(1), LOST, FAILED):
        await conn.execute("UPDATE tasks SET status = 'queued' WHERE status = 'retrying'")
        [task] = await world.claim(conn, worker, ids)
        seen.append((task.number, task.attempt))
        await world.end(conn, [task], outcome)
    assert seen == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)]
    assert await world.executions(conn, ids[0]) == [
        (1, 1, 1, "released", "queued"),
        (2, 1, 1, "failed", "retrying"),
        (3, 1, 2, "released", "retrying"),
        (4, 1, 2, "lost", "queued"),
        (5, 1, 3, "failed", "failed"),
    ]
    assert await world.status(conn, ids[0]) == "failed"


async def test_a_retry_waits_for_its_time_and_a_release_does_not(conn: asyncpg.Connection) -> None:
    waits, goes = await world.run(conn, 2)
    assert (await world.end(conn, [waits], FAILED))[waits.id].rung_at is None
    row = await world.row(conn, waits.id)
    assert row["status"] == "retrying"
    assert 58 < (row["due_at"] - now()).total_seconds() <= 60.1
    assert msgspec.json.decode(row["error"])["message"] == "no"
    rung_at = (await world.end(conn, [goes], RELEASED))[goes.id].rung_at
    row = await world.row(conn, goes.id)
    assert (row["status"], row["rung_at"], row["error"]) == ("queued", rung_at, None)
    assert row["rung_at"] > row["created_at"]


async def test_failing_for_good_writes_the_dead_letter_with_it(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn, queue="mail")
    recorded = (await world.end(conn, [task], PERMANENT))[task.id]
    letter = await conn.fetchrow("SELECT * FROM dead_letters")
    assert letter is not None
    assert (str(letter["id"]), str(letter["task_id"])) == (recorded.letter_id, task.id)
    assert (letter["life"], letter["attempts"], letter["reason"], letter["status"]) == (
        1,
        1,
        "permanent",
        "pending",
    )
    assert (letter["queue"], letter["type"], str(letter["worker_id"])) == ("mail", "demo", task.worker_id)
    assert msgspec.json.decode(letter["error"])["type"] == "ValueError"
    assert letter["handled_at"] is None


async def test_a_failed_row_set_back_by_hand_can_fail_again(conn: asyncpg.Connection) -> None:
    [task_id] = await world.bury(conn)
    await conn.execute(
        "UPDATE tasks SET status = 'queued', rung_at = now(), finished_at = NULL WHERE id = $1", task_id
    )
    again = await world.claim(conn, await world.start_worker(conn), [task_id])
    recorded = await world.end(conn, again, PERMANENT)
    letters = await conn.fetch("SELECT id::text AS id, status FROM dead_letters WHERE task_id = $1", task_id)
    assert [tuple(letter) for letter in letters] == [(recorded[task_id].letter_id, "pending")]


async def test_a_queued_row_has_a_stamp(conn: asyncpg.Connection) -> None:
    [task_id] = await world.submit(conn)
    with pytest.raises(asyncpg.CheckViolationError, match="tasks_rung"):
        await conn.execute("UPDATE tasks SET rung_at = NULL WHERE id = $1", task_id)


async def test_one_bad_row_is_told_apart_from_its_batch(conn: asyncpg.Connection) -> None:
    good, bad = await world.run(conn, 2)
    for outcome in (
        Succeeded("NaN"),
        Succeeded('"\0"'),
        Failed(msgspec.structs.replace(ERROR, message="\ud800")),
    ):
        with pytest.raises((Unstorable, msgspec.EncodeError, UnicodeError)), translated():
            await record_outcomes(conn, [_record(good, DONE), _record(bad, outcome)])
    assert await world.status(conn, good.id) == "running"
    await world.end(conn, [good], DONE)
    assert await world.status(conn, good.id) == "completed"


async def test_cancel_of_a_running_task_leaves_its_try_open_until_it_ends(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn)
    [command] = await cancel_tasks(conn, [task.id], By("someone"))
    assert (command.origin, command.worker_id, command.moved.status) == (
        "running",
        task.worker_id,
        "cancelled",
    )
    assert await world.executions(conn, task.id) == [(1, 1, 1, "started", "cancelled")]
    assert await world.end(conn, [task], DONE) == {}
    assert await world.status(conn, task.id) == "cancelled"

    stranger = msgspec.structs.replace(task, worker_id=new_id())
    assert await close_executions(conn, [_record(stranger, Cancelled())]) == set()
    assert await close_executions(conn, [_record(task, Cancelled(ERROR))]) == {(task.id, task.number)}
    assert await close_executions(conn, [_record(task, Cancelled())]) == set()
    assert await world.executions(conn, task.id) == [(1, 1, 1, "cancelled", "cancelled")]
    assert await conn.fetchval("SELECT finished_at IS NOT NULL FROM executions")


async def test_tasks_read_as_callers_see_them(conn: asyncpg.Connection) -> None:
    [done] = await world.run(conn, payload=PAYLOAD)
    await world.end(conn, [done], Succeeded("[1.0]"))
    [waiting] = await world.submit(conn, delay_seconds=60.0)
    found = await read_tasks(conn, [Wanted(done.id), Wanted(waiting), Wanted(new_id())])
    assert set(found) == {Wanted(done.id), Wanted(waiting)}
    assert await read_tasks(conn, [Wanted(waiting, LOCAL_OWNER), Wanted(waiting, new_id())]) == {
        Wanted(waiting, LOCAL_OWNER): found[Wanted(waiting)]
    }
    task = found[Wanted(done.id)]
    assert (bytes(task.payload), task.result and bytes(task.result)) == (PAYLOAD.encode(), b"[1.0]")
    assert (task.priority, task.status, task.worker_id) == ("normal", "completed", done.worker_id)
    assert task.next_attempt_at is None
    assert found[Wanted(waiting)].next_attempt_at == found[Wanted(waiting)].run_at
    assert msgspec.json.decode(msgspec.json.encode(found[Wanted(waiting)]))["metadata"] == {}


def _record(task: Claimed, outcome: Succeeded | Failed | Cancelled) -> Record:
    return Record(task, decide(task, outcome, now(), roll=0, poison_losses_max=3))


async def test_types_are_needed_to_claim(conn: asyncpg.Connection) -> None:
    ids = await world.submit(conn)
    assert await claim_tasks(conn, await world.start_worker(conn), ids, []) == ([], [])
