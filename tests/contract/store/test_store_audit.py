"""What may never be: found in the rows, page by page, and mended only where it still is so."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import asyncpg
import pytest
from tests.contract.store import world
from tests.contract.store.conftest import Connect
from tests.contract.store.states import every_state

from taskflow.domain.attempt import ErrorInfo
from taskflow.kit.ids import new_id
from taskflow.store import audit, commands, doorbells, mend, stats
from taskflow.store.audit import FLAGS, Bound, Found, Scan

WHY = ErrorInfo("NeverClosed", "nobody closed it")


async def scan(conn: asyncpg.Connection, letters_kept_seconds: float = 1e6) -> Scan:
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        return await audit.scan_tasks(conn, letters_kept_seconds=letters_kept_seconds)


async def found(conn: asyncpg.Connection) -> dict[str, list[str]]:
    """What is wrong, by flag."""
    return {flag: sorted(held.ids) for flag, held in (await scan(conn)).flagged.items() if held.n}


async def test_nothing_is_wrong_with_what_a_healthy_system_leaves(conn: asyncpg.Connection) -> None:
    await every_state(conn)
    whole = await scan(conn)
    assert whole.flagged == dict.fromkeys(FLAGS, Found(0, []))
    assert await audit.scan_letters(conn) == Found(0, [])
    counted = await conn.fetch("SELECT queue, type, status, count(*) AS n FROM tasks GROUP BY 1, 2, 3")
    assert whole.counts == {(r["queue"], r["type"], r["status"]): r["n"] for r in counted}
    figures = {(t.queue, t.type, t.status): t.n for t in await stats.read_totals(conn)}
    assert figures.pop(("default", "demo", "accepted")) == sum(whole.counts.values()) == sum(figures.values())
    assert figures == whole.counts


async def test_nothing_is_there_in_an_empty_database(conn: asyncpg.Connection) -> None:
    assert await scan(conn) == Scan({}, {}, dict.fromkeys(FLAGS, Found(0, [])))
    assert await audit.scan_letters(conn) == Found(0, [])
    assert await audit.open_tries(conn, open_seconds=0) == []


@pytest.mark.parametrize(
    ("flags", "sabotage"),
    [
        (["successes_missing"], "UPDATE executions SET status = 'failed' WHERE task_id = $1"),
        (["successes_missing", "tries_missing"], "DELETE FROM executions WHERE task_id = $1"),
        (["tries_missing"], "UPDATE tasks SET number = 2 WHERE id = $1"),
        (["attempts_over"], "UPDATE executions SET attempt = 6 WHERE task_id = $1"),
        (["letters_missing"], "UPDATE tasks SET status = 'failed' WHERE id = $1"),
        (["successes_twice", "tries_missing"], """
            INSERT INTO executions (task_id, number, life, attempt, status, started_at, started_seq)
            SELECT task_id, 2, life, 1, 'succeeded', now(), 9 FROM executions WHERE task_id = $1"""),
    ],
)  # fmt: skip
async def test_what_is_broken_is_found(conn: asyncpg.Connection, flags: list[str], sabotage: str) -> None:
    await every_state(conn)
    [task] = await world.run(conn)
    await world.end(conn, [task], world.DONE)
    await conn.execute(sabotage, task.id)
    assert await found(conn) == {flag: [task.id] for flag in sorted(flags)}


async def test_two_lives_may_both_succeed(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn)
    await world.end(conn, [task], world.DONE)
    await conn.execute(
        "UPDATE tasks SET status = 'cancelled' WHERE id = $1", task.id
    )  # or it could not be replayed
    await commands.retry_tasks(conn, [task.id], commands.By("ann"))
    await world.end(conn, await world.claim(conn, task.worker_id, [task.id]), world.DONE)
    assert await found(conn) == {}


async def test_a_letter_may_be_gone_once_it_is_older_than_letters_are_kept(conn: asyncpg.Connection) -> None:
    [task_id] = await world.bury(conn)
    await conn.execute("DELETE FROM dead_letters")
    await conn.execute("UPDATE tasks SET finished_at = now() - interval '1 hour'")
    assert (await scan(conn, 3_500)).flagged["letters_missing"] == Found(0, [])
    assert (await scan(conn, 3_700)).flagged["letters_missing"] == Found(1, [task_id])


@pytest.mark.parametrize("page", [1, 2, 7])
async def test_pages_miss_nothing(
    conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    await every_state(conn)
    failed = await world.bury(conn, 4, queue="other")
    await conn.execute("DELETE FROM dead_letters WHERE task_id = ANY($1)", failed[:3])
    await conn.execute("UPDATE tasks SET status = 'cancelled' WHERE id = $1", failed[3])
    whole, letters = await scan(conn), await audit.scan_letters(conn)
    assert whole.flagged["letters_missing"] == Found(3, failed[:3])
    assert letters.n == 1
    monkeypatch.setattr(audit, "PAGE", page)
    monkeypatch.setattr(audit, "KEPT_MAX", 2)
    paged = await scan(conn)
    assert paged.counts == whole.counts
    assert paged.flagged["letters_missing"] == Found(3, failed[:2])
    assert await audit.scan_letters(conn) == letters


async def test_letters_without_a_failed_life(conn: asyncpg.Connection) -> None:
    ids = await world.bury(conn, 5)
    letters = {
        str(r["task_id"]): str(r["id"]) for r in await conn.fetch("SELECT id, task_id FROM dead_letters")
    }
    await conn.execute("UPDATE tasks SET life = 2, status = 'queued' WHERE id = $1", ids[0])
    await conn.execute("UPDATE tasks SET status = 'completed' WHERE id = $1", ids[1])
    await conn.execute("UPDATE tasks SET status = 'retrying' WHERE id = $1", ids[2])
    await conn.execute("DELETE FROM tasks WHERE id = $1", ids[3])
    orphaned = [letters[task_id] for task_id in ids[:4]]
    assert await audit.scan_letters(conn) == Found(4, sorted(orphaned))
    assert await mend.resolve_letters(conn, list(letters.values())) == dict(
        zip(orphaned, ["replayed", "discarded", "void", "discarded"], strict=True)
    )
    left = {str(r["id"]): r["status"] for r in await conn.fetch("SELECT id, status FROM dead_letters")}
    assert left == {
        orphaned[0]: "replayed", orphaned[1]: "discarded", orphaned[3]: "discarded", letters[ids[4]]: "pending",
    }  # fmt: skip
    assert await audit.scan_letters(conn) == Found(0, [])
    assert await mend.resolve_letters(conn, list(letters.values())) == {}


async def test_letters_are_written_for_failed_tasks_that_have_none(conn: asyncpg.Connection) -> None:
    spent = (await world.run(conn, max_attempts=1))[0]
    await world.end(conn, [spent], world.FAILED)
    poisoned, other, kept = await world.bury(conn, 3)
    await conn.execute("UPDATE tasks SET losses = 3, error = NULL WHERE id = $1", poisoned)
    before = await conn.fetchrow("SELECT * FROM dead_letters WHERE task_id = $1", kept)
    await conn.execute("DELETE FROM dead_letters WHERE task_id <> $1", kept)
    live = (await world.submit(conn))[0]
    ids = [spent.id, poisoned, other, kept, live]
    notices = await mend.write_letters(conn, ids, poison_losses_max=3)
    assert {notice.task_id: notice.reason for notice in notices} == {
        spent.id: "attempts_exhausted", poisoned: "poison", other: "permanent",
    }  # fmt: skip
    rows = await conn.fetch("SELECT * FROM dead_letters")
    assert {str(r["task_id"]) for r in rows} == {spent.id, poisoned, other, kept}
    assert {r["status"] for r in rows} == {"pending"}
    assert all(json.loads(r["error"])["message"] == world.ERROR.message for r in rows)
    assert before in rows
    assert await mend.write_letters(conn, ids, poison_losses_max=3) == []
    assert await found(conn) == {}


async def test_a_task_that_is_replayed_meanwhile_gets_no_letter(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    [task_id] = await world.bury(conn)
    await conn.execute("DELETE FROM dead_letters")
    other = await connect()
    async with conn.transaction():
        await commands.retry_tasks(conn, [task_id], commands.By("ann"))
        writing = asyncio.create_task(mend.write_letters(other, [task_id], poison_losses_max=3))
        done, _ = await asyncio.wait([writing], timeout=0.3)
        assert not done
    assert await writing == []


async def test_lost_doorbells_are_those_below_the_bound(conn: asyncpg.Connection) -> None:
    ids = await world.submit(conn, 4)
    other = await world.submit(conn, 2, queue="other", lane=0)
    await conn.execute(
        "UPDATE tasks SET rung_at = now() - interval '1 hour' WHERE id = ANY($1)", [*ids[:3], *other]
    )
    await doorbells.park(conn, other[:1])
    before = await conn.fetchval("SELECT now()") - timedelta(minutes=1)
    bounds = [Bound("default", 2, before), Bound("other", 0, before), Bound("other", 1, before)]
    lost = await audit.lost_doorbells(conn, bounds, examples=2)
    assert lost.n == 4
    assert len(lost.ids) == 3
    assert set(lost.ids) < {*ids[:3], other[1]}
    assert await audit.lost_doorbells(conn, bounds[2:], examples=2) == Found(0, [])


async def test_parked_tasks_that_somebody_serves(conn: asyncpg.Connection) -> None:
    ids = await world.submit(conn, 3)
    echo = await world.submit(conn, type="echo")
    await doorbells.park(conn, [*ids[:2], *echo])
    now = await conn.fetchval("SELECT now() + interval '1 second'")
    served = [("default", "demo"), ("other", "echo")]
    assert await audit.parked_though_served(conn, served, queued_before=now) == Found(2, ids[:2])
    earlier = now - timedelta(minutes=1)
    assert await audit.parked_though_served(conn, served, queued_before=earlier) == Found(0, [])


async def test_tries_left_open(conn: asyncpg.Connection) -> None:
    cancelled, replayed, closed = await world.run(conn, 3)
    await commands.cancel_tasks(conn, [cancelled.id, replayed.id, closed.id], commands.By("ann"))
    await commands.retry_tasks(conn, [replayed.id], commands.By("ann"))
    await conn.execute("UPDATE executions SET status = 'cancelled' WHERE task_id = $1", closed.id)
    assert await audit.open_tries(conn, open_seconds=60) == []
    await conn.execute(
        "UPDATE tasks SET finished_at = finished_at - interval '2 min', queued_at = now() - interval '2 min'"
    )
    tries = sorted([(cancelled.id, 1), (replayed.id, 1)])
    assert sorted(await audit.open_tries(conn, open_seconds=60)) == tries
    assert await mend.close_tries(conn, [*tries, (closed.id, 1)], WHY) == 2
    assert await audit.open_tries(conn, open_seconds=0) == []
    assert {s for _, _, _, s, _ in await world.executions(conn, cancelled.id)} == {"cancelled"}


async def test_corrections_add_to_what_moves_meanwhile(conn: asyncpg.Connection, connect: Connect) -> None:
    await world.submit(conn, 5)
    await stats.fold(conn)
    await conn.execute("UPDATE stat_totals SET n = n + 3 WHERE status = 'queued'")
    other = await connect()
    await world.bury(other, 2)
    await mend.correct_totals(conn, {("default", "demo", "queued"): -3, ("new", "demo", "accepted"): 1})
    await stats.fold(other)
    figures = {(t.queue, t.status): t.n for t in await stats.read_totals(conn)}
    assert figures == {
        ("default", "accepted"): 7, ("default", "queued"): 5, ("default", "failed"): 2, ("new", "accepted"): 1,
    }  # fmt: skip


async def test_owners_tasks_are_counted_and_corrected_by_owner(conn: asyncpg.Connection) -> None:
    ann, bob = sorted([new_id(), new_id()])
    await world.submit(conn, 2, owner_id=ann)
    await world.bury(conn, 3, owner_id=bob)
    await world.submit(conn, 5)
    whole = await scan(conn)
    assert whole.owned == {(ann, "default", "demo", "queued"): 2, (bob, "default", "demo", "failed"): 3}
    assert whole.counts == {("default", "demo", "queued"): 7, ("default", "demo", "failed"): 3}
    await mend.correct_owner_totals(
        conn, {(bob, "default", "demo", "failed"): -1, (ann, "new", "demo", "queued"): 4}
    )
    for _ in range(2):
        assert await stats.read_owned(conn) == {
            (ann, "default", "demo", "accepted"): 2, (ann, "default", "demo", "queued"): 2,
            (ann, "new", "demo", "queued"): 4,
            (bob, "default", "demo", "accepted"): 3, (bob, "default", "demo", "failed"): 2,
        }  # fmt: skip
        await stats.fold(conn)


async def test_one_at_a_time_corrects_figures(conn: asyncpg.Connection, connect: Connect) -> None:
    other = await connect()
    assert await mend.try_lock(conn)
    assert not await mend.try_lock(other)
    await mend.unlock(conn)
    assert await mend.try_lock(other)
    await mend.unlock(other)
