"""Connections that are lost are found again, and what an error means is told where it arises."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg
import pytest
from tests.contract.store import world
from tests.support.waiting import wait_until

from taskflow.kit.batcher import Verdict
from taskflow.kit.metrics import REGISTRY
from taskflow.store.connect import Conn, Database, Line
from taskflow.store.errors import AnswerLost, Contention, DatabaseAway, Unstorable, translated, verdict
from taskflow.store.inserts import insert_tasks

OTHERS = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
KILL_OTHERS = f"SELECT pg_terminate_backend(pid) {OTHERS}"
SLEEPERS = f"SELECT count(*) {OTHERS} AND query LIKE '%pg_sleep(60)%'"


def stand_still(seconds: float) -> None:
    """What a stopped process does: nothing, while answers arrive."""
    time.sleep(seconds)


def nowhere(port: int) -> str:
    return f"postgresql://x@127.0.0.1:{port}/x"


def counted(what: str) -> float:
    return REGISTRY.get_sample_value(f"taskflow_postgres_connections_{what}_total") or 0.0


async def backend(conn: Conn) -> int:
    return int(await conn.fetchval("SELECT pg_backend_pid()"))


async def test_a_line_keeps_its_connection_and_opens_another_when_it_is_lost(
    conn: asyncpg.Connection, database: Database
) -> None:
    async with Line(database) as line:
        first = await line.run(backend)
        assert await line.run(backend) == first
        assert line.openings == 1
        await conn.execute(KILL_OTHERS)

        async def again() -> int:
            try:
                return await line.run(backend)
            except AnswerLost:
                return 0

        second = await wait_until(again, "the line has another connection")
        assert second != first
        assert line.openings == 2


async def test_a_statement_cut_off_half_way_has_no_known_answer(
    conn: asyncpg.Connection, database: Database
) -> None:
    async with Line(database) as line:
        hanging = asyncio.create_task(line.run(lambda c: c.execute("SELECT pg_sleep(60)")))
        await wait_until(lambda: conn.fetchval(SLEEPERS), "it is under way")
        await conn.execute(KILL_OTHERS)
        with pytest.raises(AnswerLost):
            await hanging
        assert await line.run(backend)


async def test_a_connection_ended_between_two_round_trips_of_one_statement_has_no_known_answer(
    database: Database,
) -> None:
    async with Line(database) as line:

        async def ended_while_the_answer_lies_unread(conn: asyncpg.Connection) -> None:
            statement = asyncio.create_task(conn.fetchval("SELECT $1::int + 1", 1))
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0, conn.terminate)
            stand_still(0.2)
            await statement

        with pytest.raises(AnswerLost, match="ended meanwhile"):
            await line.run(ended_while_the_answer_lies_unread)
        assert await line.run(backend)


async def test_a_pooled_connection_ended_meanwhile_says_so(database: Database) -> None:
    with pytest.raises(DatabaseAway, match="ended meanwhile"):
        async with database.connection() as conn:
            statement = asyncio.create_task(conn.fetchval("SELECT $1::int + 2", 1))
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0, conn.terminate)
            stand_still(0.2)
            await statement
    async with database.connection() as conn:
        assert await backend(conn)


async def test_a_process_that_stood_still_reads_the_answer_that_lies_there(database: Database) -> None:
    async with Line(database, patience_seconds=0.3) as line:
        first = await line.run(backend)
        asked = asyncio.create_task(line.run(lambda c: c.fetchval("SELECT $1::int + 3", 1)))
        await asyncio.sleep(0)
        stand_still(1)
        assert await asked == 4
        assert await line.run(backend) == first


async def test_a_statement_without_an_answer_ends_its_connection(database: Database) -> None:
    async with Line(database, patience_seconds=0.3) as line:
        with pytest.raises(AnswerLost):
            await line.run(lambda c: c.execute("SELECT pg_sleep(60)"))
        assert database.doubted_at


async def test_a_cancelled_caller_leaves_no_half_read_connection(database: Database) -> None:
    async with Line(database) as line:
        first = await line.run(backend)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(line.run(lambda c: c.execute("SELECT pg_sleep(60)")), 0.1)
        assert await line.run(backend) != first


async def test_a_fault_of_the_data_keeps_the_connection(database: Database) -> None:
    async with Line(database) as line:
        first = await line.run(backend)
        with pytest.raises(Unstorable):
            await line.run(lambda c: c.execute("SELECT 'x'::json"))
        assert await line.run(backend) == first


async def test_a_line_is_used_by_one_caller_at_a_time(database: Database) -> None:
    async with Line(database) as line:
        assert len(set(await asyncio.gather(*(line.run(backend) for _ in range(20))))) == 1


async def test_the_pool_finds_its_server_again(conn: asyncpg.Connection, database: Database) -> None:
    async with database.connection() as pooled:
        first = await backend(pooled)
    await conn.execute(KILL_OTHERS)

    async def again() -> int:
        try:
            async with database.connection() as pooled:
                return await backend(pooled)
        except DatabaseAway:
            return 0

    assert await wait_until(again, "the pool answers again") != first


async def test_a_server_that_is_away_says_so(free_port: int) -> None:
    async with Database(nowhere(free_port), application="test") as away:
        with pytest.raises(DatabaseAway):
            await away.open_connection(hot=True)
        with pytest.raises(DatabaseAway):
            async with away.connection():
                pass
        async with Line(away) as line:
            with pytest.raises(DatabaseAway):
                await line.run(backend)


async def test_lost_and_refused_connections_are_counted_and_slow_statements_are_not(
    conn: asyncpg.Connection, database: Database, free_port: int
) -> None:
    async def cut(hanging: asyncio.Task[Any]) -> None:
        await wait_until(lambda: conn.fetchval(SLEEPERS), "it is under way")
        await conn.execute(KILL_OTHERS)
        with pytest.raises(DatabaseAway):
            await hanging

    async def sleep_pooled() -> None:
        async with database.connection() as pooled:
            await pooled.execute("SELECT pg_sleep(60)")

    async def too_long(line: asyncpg.Connection) -> None:
        await line.execute("SET statement_timeout = '50ms'")
        await line.execute("SELECT pg_sleep(60)")

    async with Line(database) as line, Database(nowhere(free_port), application="test") as away:
        lost = counted("lost")
        with pytest.raises(DatabaseAway, match="statement timeout"):
            await line.run(too_long)
        assert counted("lost") == lost
        await cut(asyncio.create_task(line.run(lambda c: c.execute("SELECT pg_sleep(60)"))))
        assert counted("lost") == lost + 1
        await cut(asyncio.create_task(sleep_pooled()))
        assert counted("lost") == lost + 2
        opened, failed = counted("opened"), counted("failed")
        for attempt in (lambda: away.open_connection(hot=True), lambda: _enter(away)):
            with pytest.raises(DatabaseAway):
                await attempt()
        assert counted("failed") == failed + 2
        await _enter(database)
        assert counted("opened") == opened + 1


async def _enter(database: Database) -> None:
    async with database.connection():
        pass


async def test_hot_lines_plan_for_ranges_that_nobody_has_analysed(database: Database) -> None:
    async with Line(database) as line, Line(database, hot=False) as cool:
        shown = [await one.run(lambda c: c.fetchval("SHOW enable_seqscan")) for one in (line, cool)]
        assert shown == ["off", "on"]
        for one in (line, cool):
            assert await one.run(lambda c: c.fetchval("SHOW timezone")) == "UTC"
            assert await one.run(lambda c: c.fetchval("SHOW statement_timeout")) == "30s"


async def test_a_transaction_commits_or_leaves_nothing(conn: asyncpg.Connection, database: Database) -> None:
    async def insert(fault: Exception | None = None) -> None:
        async with database.transaction() as inner:
            await insert_tasks(inner, [world.new_task()])
            if fault:
                raise fault

    with pytest.raises(ValueError, match="stop"):
        await insert(ValueError("stop"))
    assert await conn.fetchval("SELECT count(*) FROM tasks") == 0
    await insert()
    assert await conn.fetchval("SELECT count(*) FROM tasks") == 1


@pytest.mark.parametrize(
    ("statement", "kind", "judged"),
    [
        ("SELECT 'x'::json", Unstorable, Verdict.HALVE),
        ("SELECT 1/0", Unstorable, Verdict.HALVE),
        ("SELECT '\\u0000'::jsonb", Unstorable, Verdict.HALVE),
        ("INSERT INTO tasks (id) VALUES (gen_random_uuid())", Unstorable, Verdict.HALVE),
        ("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$", Contention, Verdict.REPEAT),
        ("DO $$ BEGIN RAISE SQLSTATE '55P03'; END $$", Contention, Verdict.REPEAT),
        ("DO $$ BEGIN RAISE SQLSTATE '57014'; END $$", DatabaseAway, Verdict.REPEAT),
        ("DO $$ BEGIN RAISE SQLSTATE '53300'; END $$", DatabaseAway, Verdict.REPEAT),
        ("SELECT nothing FROM nowhere", asyncpg.UndefinedTableError, Verdict.FAIL),
    ],
)
async def test_errors_are_told_by_what_can_be_done(
    conn: asyncpg.Connection, statement: str, kind: type[Exception], judged: Verdict
) -> None:
    with pytest.raises(kind) as caught, translated():
        await conn.execute(statement)
    assert verdict(caught.value) is judged
