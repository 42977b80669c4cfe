"""The figures: accepted = live + terminal + pruned, at every moment, whatever happens at once."""

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
from taskflow.domain.transitions import Status
from taskflow.kit.clock import now
from taskflow.kit.ids import first_id_at
from taskflow.store import stats, tending
from taskflow.store.commands import cancel_tasks, retry_tasks

STATUSES = set(Status)


async def totals(conn: asyncpg.Connection) -> Counter[str]:
    counts: Counter[str] = Counter()
    for total in await stats.read_totals(conn):
        counts[total.status] += total.n
    return counts


async def check(conn: asyncpg.Connection) -> Counter[str]:
    """The law, and that the figures are the truth."""
    async with conn.transaction(isolation="repeatable_read"):
        told = await totals(conn)
        real = await conn.fetch("SELECT queue, type, status, count(*) AS n FROM tasks GROUP BY 1, 2, 3")
        by_key = {
            (t.queue, t.type, t.status): t.n for t in await stats.read_totals(conn) if t.status in STATUSES
        }
    assert {(r["queue"], r["type"], r["status"]): r["n"] for r in real} == by_key
    assert told["accepted"] == sum(told[status] for status in STATUSES) + told["pruned"]
    return told


async def test_every_kind_of_move_is_counted(conn: asyncpg.Connection) -> None:
    await world.submit(conn, 3, delay_seconds=600.0)
    late = await world.submit(conn, 2, queue="mail")
    await world.make_due(conn, late[:1], "expires_at")
    await tending.turn_tasks(conn, 10)
    for outcome in (DONE, FAILED, LOST, PERMANENT, RELEASED):
        await world.end(conn, await world.run(conn, 4, type="echo"), outcome)
    failed = [str(r["id"]) for r in await conn.fetch("SELECT id FROM tasks WHERE status = 'failed'")]
    await retry_tasks(conn, failed[:2], By("x"))
    await cancel_tasks(conn, [late[1], failed[0]], By("x"))
    before = await check(conn)
    assert before["accepted"] == 25
    while await stats.fold(conn):
        assert await check(conn) == before
    assert await conn.fetchval("SELECT count(*) FROM stat_deltas") == 0

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
            ids.extend(await world.submit(line, 20, type=dice.choice(["demo", "echo"])))
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
