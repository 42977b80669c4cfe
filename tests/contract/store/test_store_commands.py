"""Cancel, retry, replay: guarded by status, one winner of every race."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from tests.contract.store import world
from tests.contract.store.conftest import Connect
from tests.contract.store.world import DONE, FAILED, LOST
from tests.support.waiting import wait_until

from taskflow.domain.account import By
from taskflow.domain.transitions import LIVE, Status
from taskflow.kit.clock import now
from taskflow.kit.ids import new_id
from taskflow.store.commands import cancel_tasks, discard_letters, replay_letters, retry_tasks
from taskflow.store.history import Line, append_lines


async def in_status(conn: asyncpg.Connection, status: Status) -> str:
    """A task that came into this status the usual way."""
    match status:
        case Status.SCHEDULED:
            return (await world.submit(conn, delay_seconds=600.0))[0]
        case Status.QUEUED:
            return (await world.submit(conn))[0]
        case Status.FAILED:
            return (await world.bury(conn))[0]
    [task] = await world.run(conn)
    if status is Status.COMPLETED:
        await world.end(conn, [task], DONE)
    elif status is Status.RETRYING:
        await world.end(conn, [task], FAILED)
    elif status is Status.CANCELLED:
        await cancel_tasks(conn, [task.id], By("x"))
    elif status is Status.EXPIRED:
        await conn.execute("UPDATE tasks SET status = 'expired', finished_at = now() WHERE id = $1", task.id)
    return task.id


@pytest.mark.parametrize("status", list(Status))
async def test_cancel_ends_what_is_live(conn: asyncpg.Connection, status: Status) -> None:
    task_id = await in_status(conn, status)
    before = await world.row(conn, task_id)
    commands = await cancel_tasks(conn, [task_id], By("someone"))
    after = await world.row(conn, task_id)
    if status not in LIVE:
        assert (commands, after) == ([], before)
        return
    assert [(c.origin, c.moved.status, c.moved.version) for c in commands] == [
        (status, "cancelled", before["version"] + 1)
    ]
    assert (after["status"], after["due_at"]) == ("cancelled", None)
    assert after["finished_at"] is not None
    event = await conn.fetchrow("SELECT seq, status, data FROM task_events ORDER BY seq DESC")
    assert event is not None
    assert (event["seq"], event["status"]) == (after["seq"], "cancelled")
    assert event["data"] == f'{{"by":"someone","from":"{status}"}}'


@pytest.mark.parametrize("status", list(Status))
async def test_retry_queues_what_may_be_queued(conn: asyncpg.Connection, status: Status) -> None:
    task_id = await in_status(conn, status)
    before = await world.row(conn, task_id)
    commands = await retry_tasks(conn, [task_id], By("someone"))
    after = await world.row(conn, task_id)
    if status in {Status.QUEUED, Status.RUNNING, Status.COMPLETED}:
        assert (commands, after) == ([], before)
        return
    [command] = commands
    replayed = status in {Status.FAILED, Status.CANCELLED, Status.EXPIRED}
    assert (command.origin, command.moved.status, command.new_life) == (status, "queued", replayed)
    assert command.rung_at == after["rung_at"]
    assert abs((after["rung_at"] - after["queued_at"]).total_seconds()) < 0.1
    assert (after["life"], after["version"]) == (1 + replayed, before["version"] + 1)
    assert after["attempt"] == (0 if replayed else before["attempt"])
    assert after["due_at"] is None


async def test_a_new_life_begins_clean(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn, expires_at=now().replace(year=2037), payload='{"a":1}', max_attempts=1)
    await append_lines(conn, [Line(task.id, task.number, task.worker_id, now(), None, "half", 0.5)])
    await world.end(conn, [task], LOST)
    await retry_tasks(conn, [task.id], By("x"))
    row = await world.row(conn, task.id)
    assert (row["life"], row["attempt"], row["losses"], row["snoozes"], row["number"]) == (2, 0, 0, 0, 1)
    for column in ("result", "error", "started_at", "finished_at", "due_at", "run_at", "expires_at", "worker_id",
                   "progress"):  # fmt: skip
        assert row[column] is None, column
    assert row["payload"] == '{"a":1}'
    assert await world.executions(conn, task.id) == [(1, 1, 1, "lost", "failed")]
    [again] = await world.claim(conn, await world.start_worker(conn), [task.id])
    assert (again.life, again.attempt, again.number) == (2, 1, 2)


async def test_of_many_parallel_retries_one_counts(conn: asyncpg.Connection, connect: Connect) -> None:
    ids = await world.bury(conn, 20)
    lines = [await connect() for _ in range(6)]
    done = await asyncio.gather(*(retry_tasks(line, ids, By(str(n))) for n, line in enumerate(lines)))
    assert sorted(command.moved.id for commands in done for command in commands) == ids
    assert {r["life"] for r in await conn.fetch("SELECT life FROM tasks")} == {2}


async def test_cancel_and_claim_race_to_one_winner_by_version(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    worker, other = await world.start_worker(conn), await connect()
    for _ in range(15):
        ids = await world.submit(conn, 20)
        won, cancelled = await asyncio.gather(
            world.claim(conn, worker, ids), cancel_tasks(other, ids, By("x"))
        )
        running = {task.id for task in won}
        assert {c.moved.id for c in cancelled} == set(ids)
        for command in cancelled:
            assert (command.origin == "running") == (command.moved.id in running)
            assert command.moved.version == (3 if command.moved.id in running else 2)
            tries = await world.executions(conn, command.moved.id)
            assert tries == ([(1, 1, 1, "started", "cancelled")] if command.moved.id in running else [])
        await conn.execute("UPDATE executions SET status = 'cancelled'")


async def test_cancel_and_record_race_to_one_winner(conn: asyncpg.Connection, connect: Connect) -> None:
    other = await connect()
    for _ in range(10):
        tasks = await world.run(conn, 20)
        ids = [task.id for task in tasks]
        recorded, cancelled = await asyncio.gather(
            world.end(conn, tasks, DONE), cancel_tasks(other, ids, By("x"))
        )
        assert sorted([*recorded, *(c.moved.id for c in cancelled)]) == sorted(ids)
        for task in tasks:
            [one] = await world.executions(conn, task.id)
            assert one[3:] == (
                ("succeeded", "completed") if task.id in recorded else ("started", "cancelled")
            )


async def test_a_replay_by_letter_needs_the_letter_of_this_life(conn: asyncpg.Connection) -> None:
    [task_id] = await world.bury(conn)
    letter = str(await conn.fetchval("SELECT id FROM dead_letters"))
    assert await replay_letters(conn, [new_id()], By("x")) == []
    [command] = await replay_letters(conn, [letter], By("x"), '{"mended":1e400}')
    assert command.new_life
    assert (await world.row(conn, task_id))["payload"] == '{"mended":1e400}'
    assert await conn.fetchval("SELECT status FROM dead_letters") == "replayed"
    assert await conn.fetchval("SELECT resolved_at IS NOT NULL FROM dead_letters")
    assert await replay_letters(conn, [letter], By("x")) == []


async def test_a_retry_by_task_marks_its_pending_letter(conn: asyncpg.Connection) -> None:
    one, other = await world.bury(conn, 2)
    await retry_tasks(conn, [one], By("x"))
    letters = await conn.fetch("SELECT task_id, status FROM dead_letters")
    assert {str(r["task_id"]): r["status"] for r in letters} == {one: "replayed", other: "pending"}


async def test_parallel_replays_of_one_letter_are_one(conn: asyncpg.Connection, connect: Connect) -> None:
    for _ in range(10):
        [task_id] = await world.bury(conn)
        letter = str(await conn.fetchval("SELECT id FROM dead_letters WHERE task_id = $1", task_id))
        lines = [await connect() for _ in range(2)]
        by_letter, by_task = await asyncio.gather(
            replay_letters(lines[0], [letter], By("l")),
            retry_tasks(lines[1], [task_id], By("t")),
        )
        assert len(by_letter) + len(by_task) == 1
        assert (await world.row(conn, task_id))["life"] == 2
        for line in lines:
            await line.close()


async def test_a_retry_that_waited_for_the_failure_marks_its_letter_too(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    """The letter is written while the retry waits for the row: it must be seen all the same."""
    [task] = await world.run(conn)
    other = await connect()
    async with conn.transaction():
        await world.end(conn, [task], world.PERMANENT)
        retry = asyncio.create_task(retry_tasks(other, [task.id], By("x")))
        await wait_until(lambda: _waits_for_a_lock(conn), "the retry waits")
    assert [command.new_life for command in await retry] == [True]
    letter = await conn.fetchrow("SELECT life, status FROM dead_letters")
    assert letter is not None
    assert tuple(letter) == (1, "replayed")


async def _waits_for_a_lock(conn: asyncpg.Connection) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await conn.fetchval(waiting))


async def test_a_discard_and_a_replay_of_one_letter_are_one(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    other = await connect()
    for _ in range(15):
        [task_id] = await world.bury(conn)
        letter = str(await conn.fetchval("SELECT id FROM dead_letters WHERE task_id = $1", task_id))
        replayed, discarded = await asyncio.gather(
            replay_letters(conn, [letter], By("l")), discard_letters(other, [letter], By("d"))
        )
        assert len(replayed) + len(discarded) == 1
        assert await world.status(conn, task_id) == ("queued" if replayed else "failed")


async def test_unknown_ids_are_no_matter(conn: asyncpg.Connection) -> None:
    assert await cancel_tasks(conn, [new_id()], By("x")) == []
    assert await retry_tasks(conn, [], By("x")) == []
