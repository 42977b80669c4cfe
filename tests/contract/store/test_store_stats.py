"""The figures: accepted = live + terminal + pruned, at every moment, whatever happens at once; of all and of each owner."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import timedelta

import asyncpg
from tests.contract.store import world
from tests.contract.store.conftest import Connect
from tests.contract.store.world import DONE, FAILED, LOST, PERMANENT, RELEASED

from taskflow.domain.account import By
from taskflow.domain.task import LOCAL_OWNER
from taskflow.domain.transitions import LIVE, Status
from taskflow.kit.clock import now
from taskflow.kit.ids import first_id_at, new_id
from taskflow.store import stats, tending
from taskflow.store.commands import cancel_tasks, retry_tasks
from taskflow.store.inserts import insert_tasks

STATUSES = set(Status)
ANN, BOB = new_id(), new_id()
OWNERS = (ANN, BOB, LOCAL_OWNER)


async def totals(conn: asyncpg.Connection, owner: str | None = None) -> Counter[str]:
    counts: Counter[str] = Counter()
    for total in await stats.read_totals(conn, owner):
        counts[total.status] += total.n
    return counts


async def check(conn: asyncpg.Connection) -> Counter[str]:
    """The law, and that the figures are the truth; so are each owner's."""
    async with conn.transaction(isolation="repeatable_read"):
        told = await totals(conn)
        await check_owners(conn)
        real = await conn.fetch("SELECT queue, type, status, count(*) AS n FROM tasks GROUP BY 1, 2, 3")
        by_key = {
            (t.queue, t.type, t.status): t.n for t in await stats.read_totals(conn) if t.status in STATUSES
        }
    assert {(r["queue"], r["type"], r["status"]): r["n"] for r in real} == by_key
    assert told["accepted"] == sum(told[status] for status in STATUSES) + told["pruned"]
    return told


async def check_owners(conn: asyncpg.Connection) -> None:
    real = await conn.fetch(
        "SELECT owner_id::text, queue, type, status, count(*) AS n FROM tasks WHERE owner_id <> $1 GROUP BY 1, 2, 3, 4",
        LOCAL_OWNER,
    )
    owned = await stats.read_owned(conn)
    rows = {place: n for place, n in owned.items() if place[-1] in STATUSES}
    assert rows == {(r["owner_id"], r["queue"], r["type"], r["status"]): r["n"] for r in real}
    for owner in (ANN, BOB):
        told = {(owner, t.queue, t.type, t.status): t.n for t in await stats.read_totals(conn, owner)}
        assert told == {place: n for place, n in owned.items() if place[0] == owner}
        counts = await totals(conn, owner)
        assert counts["accepted"] == sum(counts[status] for status in STATUSES) + counts["pruned"]
        waiting = sum(counts[status] for status in LIVE) - counts["running"]
        assert await stats.count_waiting(conn, owner) == waiting


async def test_every_kind_of_move_is_counted(conn: asyncpg.Connection) -> None:
    await world.submit(conn, 3, delay_seconds=600.0, owner_id=ANN)
    late = await world.submit(conn, 2, queue="mail", owner_id=BOB)
    await world.make_due(conn, late[:1], "expires_at")
    await tending.turn_tasks(conn, 10)
    for outcome in (DONE, FAILED, LOST, PERMANENT, RELEASED):
        mixed = [world.new_task(type="echo", owner_id=owner) for owner in (*OWNERS, ANN)]
        ids = sorted(row.id for row in await insert_tasks(conn, mixed))
        await world.end(conn, await world.claim(conn, await world.start_worker(conn), ids), outcome)
    failed = [str(r["id"]) for r in await conn.fetch("SELECT id FROM tasks WHERE status = 'failed'")]
    await retry_tasks(conn, failed[:2], By("x"))
    await cancel_tasks(conn, [late[1], failed[0]], By("x"))
    before = await check(conn)
    assert before["accepted"] == 25
    while await stats.fold(conn):
        assert await check(conn) == before
    assert await conn.fetchval("SELECT count(*) FROM stat_deltas") == 0
    assert (await totals(conn, ANN))["accepted"] == 13
    assert (await totals(conn, BOB))["accepted"] == 7
    assert (await totals(conn, LOCAL_OWNER)) == {}, "the built-in owner sees everybody's figures"

    await conn.execute(
        "UPDATE tasks SET finished_at = now() - interval '1 day' WHERE finished_at IS NOT NULL"
    )
    horizon = first_id_at(now() + timedelta(hours=1))
    gone = await tending.prune_tasks(conn, before_id=horizon, keep_seconds=60, limit=100)
    after = await check(conn)
    assert after["pruned"] == gone == 4 + 1 + 2
    assert after["accepted"] == 25


async def test_the_law_holds_while_everything_happens_at_once(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    dice = random.Random(7)
    ids: list[str] = []
    stop = asyncio.Event()

    async def live(line: asyncpg.Connection) -> None:
        worker = await world.start_worker(line)
        for _ in range(12):
            ids.extend(
                await world.submit(line, 20, type=dice.choice(["demo", "echo"]), owner_id=dice.choice(OWNERS))
            )
            some = dice.sample(ids, 20)
            won = await world.claim(line, worker, some)
            await world.end(line, won[:15], dice.choice([DONE, FAILED, LOST, PERMANENT, RELEASED]))
            await cancel_tasks(line, dice.sample(ids, 5), By("x"))
            await retry_tasks(line, dice.sample(ids, 5), By("x"))

    async def folding(line: asyncpg.Connection) -> None:
        while not stop.is_set():
            await stats.fold(line)
            await check(line)

    folders = [asyncio.create_task(folding(await connect())) for _ in range(2)]
    lives = [asyncio.create_task(live(await connect())) for _ in range(3)]
    try:
        await asyncio.gather(*lives)
    finally:
        stop.set()
    await asyncio.gather(*folders)
    assert (await check(conn))["accepted"] == len(ids) == 720


async def test_days_tell_the_last_week(conn: asyncpg.Connection) -> None:
    await world.end(conn, await world.run(conn, 3), DONE)
    await world.bury(conn, 2)
    await world.submit(conn, 1)
    unfolded = await stats.read_days(conn)
    assert len(unfolded) == 7
    assert [tuple(day)[1:] for day in unfolded] == [(0, 0, 0)] * 6 + [(6, 3, 2)]
    await stats.fold(conn)
    assert await stats.read_days(conn) == unfolded
    await conn.execute("UPDATE stat_days SET day = day - 6")
    assert [day.submitted for day in await stats.read_days(conn)] == [6, 0, 0, 0, 0, 0, 0]
    await conn.execute("UPDATE stat_days SET day = day - 1")
    assert sum(day.submitted for day in await stats.read_days(conn)) == 0
    days = [day.day for day in unfolded]
    assert days == sorted(days)


async def test_days_of_an_owner_tell_of_his_tasks(conn: asyncpg.Connection) -> None:
    await world.end(conn, await world.run(conn, 3, owner_id=ANN), DONE)
    await world.bury(conn, 2, owner_id=ANN)
    await world.submit(conn, 4, owner_id=BOB)
    await world.submit(conn, 8)
    for _ in range(2):
        days = {owner: await stats.read_days(conn, owner) for owner in (ANN, BOB)}
        assert [tuple(day)[1:] for day in days[ANN]] == [(0, 0, 0)] * 6 + [(5, 3, 2)]
        assert [tuple(day)[1:] for day in days[BOB]] == [(0, 0, 0)] * 6 + [(4, 0, 0)]
        assert [day.submitted for day in await stats.read_days(conn)] == [0] * 6 + [17]
        await stats.fold(conn)
    await conn.execute("UPDATE owner_days SET day = day - 7")
    assert sum(day.submitted for day in await stats.read_days(conn, ANN)) == 0


async def test_what_a_program_that_knows_no_owners_moves_is_counted_once(conn: asyncpg.Connection) -> None:
    await conn.execute(
        "INSERT INTO stat_deltas (n, queue, type, target) VALUES (3, 'default', 'demo', 'queued')"
    )
    assert await stats.read_owned(conn) == {}
    await stats.fold(conn)
    assert await totals(conn) == {"accepted": 3, "queued": 3}
    assert await stats.read_owned(conn) == {}
    assert await conn.fetchval("SELECT count(*) FROM owner_days") == 0
