"""Limits that many share: never exceeded, used to the end, and nearly free of statements."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest
from tests.support.proxy import fault_proxy
from tests.support.waiting import wait_until

from taskflow.domain.errors import Overloaded, Unavailable
from taskflow.engine.limits import Limit, Limiter, Taken
from taskflow.store.connect import Database


@asynccontextmanager
async def limiters(url: str, count: int) -> AsyncIterator[list[Limiter]]:
    """So many, each as a program of its own would have it: with its own connections."""
    async with AsyncExitStack() as stack:
        databases = [await stack.enter_async_context(Database(url, application="test")) for _ in range(count)]
        yield [await stack.enter_async_context(Limiter(database)) for database in databases]


async def counted(url: str, limit: Limit) -> int:
    """What PostgreSQL has as taken of a limit."""
    conn = await asyncpg.connect(url)
    try:
        count = "SELECT coalesce(sum(n), 0) FROM rate_limits, unnest(counts) n WHERE subject = $1"
        return int(await conn.fetchval(count, limit.subject))
    finally:
        await conn.close()


async def exhaust(limiter: Limiter, limit: Limit, *, callers: int = 5) -> int:
    """Take one at a time until it is refused, from several callers; how many were taken."""

    async def call() -> int:
        taken = 0
        while (await limiter.take([limit])).allowed:
            taken += 1
            await asyncio.sleep(0)
        return taken

    return sum(await asyncio.gather(*(call() for _ in range(callers))))


@pytest.mark.parametrize("per_hour", [37, 2_000, 20_000])
async def test_ten_limiters_share_a_limit(database_url: str, per_hour: int) -> None:
    limit = Limit("key", "key:shared", per_hour)
    async with limiters(database_url, 10) as found:
        first = sum(await asyncio.gather(*(exhaust(limiter, limit) for limiter in found)))
        assert first <= per_hour
        total = first

        async def use_the_rest() -> bool:
            nonlocal total
            total += sum(await asyncio.gather(*(exhaust(limiter, limit, callers=1) for limiter in found)))
            return total >= per_hour

        await wait_until(use_the_rest, "what was borrowed and not used has come back, and is used", 10)
    assert total == per_hour


async def test_one_alone_can_use_all_of_it_for_few_statements(database_url: str) -> None:
    limit = Limit("key", "key:alone", 50_000)
    async with limiters(database_url, 1) as [limiter]:
        for _ in range(5_000):
            assert (await limiter.take([limit])).allowed
            await asyncio.sleep(0)
        conn = await asyncpg.connect(database_url)
        try:
            updates = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'rate_limits'"
            await wait_until(lambda: conn.fetchval(updates), "PostgreSQL has counted", 20)
            assert await conn.fetchval(updates) < 250
        finally:
            await conn.close()


class Overheard(Database):
    """Keeps the statements of its hot connections."""

    said: list[str]

    async def open_connection(self, *, hot: bool) -> asyncpg.Connection:
        conn = await super().open_connection(hot=hot)
        conn.add_query_logger(lambda record: self.said.append(record.query))
        return conn


async def test_who_is_refused_again_and_again_costs_few_statements(database_url: str) -> None:
    limit = Limit("key", "key:refused", 5)
    async with Overheard(database_url, application="test") as database, Limiter(database) as limiter:
        database.said = []
        assert await exhaust(limiter, limit, callers=1) == 5
        assert len(database.said) >= 3  # nothing there; the row; what is granted
        database.said.clear()
        for _ in range(3_000):
            assert not (await limiter.take([limit])).allowed
            await asyncio.sleep(0)
        assert len(database.said) <= 10, "about one a second"


async def test_who_waits_for_more_keeps_what_there_was(database_url: str) -> None:
    """While the statement is under way, others come."""
    limit = Limit("key", "key:enough", 100_000)
    with fault_proxy(database_url) as proxy:
        async with limiters(proxy.url, 1) as [limiter]:
            taken = 0
            while taken < 3_000:
                taken += (await limiter.take([limit])).allowed
                await asyncio.sleep(0)
            quiet_at = time.monotonic() + 0.4
            await wait_until(lambda: time.monotonic() > quiet_at, "hardly anything is needed ahead any more")
            stock = await counted(database_url, limit) - taken
            assert stock > 20
            proxy.hold()
            batch = asyncio.create_task(limiter.take([limit], stock + 5))
            await asyncio.wait([batch], timeout=0.05)
            others = [asyncio.create_task(limiter.take([limit])) for _ in range(stock)]
            await asyncio.wait(others, timeout=0.05)
            proxy.heal()
            assert (await batch).allowed
            assert all([(await other).allowed for other in others])


async def test_what_is_told_of_a_limit(database_url: str) -> None:
    limit = Limit("key", "key:told", 100)
    async with limiters(database_url, 1) as [limiter]:
        [first] = (await limiter.take([limit])).standings
        assert (first.name, first.per_hour, first.remaining) == ("key", 100, 99)
        assert 3_590 <= first.reset_seconds <= 3_661
        last = [await limiter.take([limit]) for _ in range(100)][-1]
        assert not last.allowed and last.standings[0].remaining == 0
        assert last.refused_by == limit and 3_590 <= last.retry_after_seconds <= 3_661


async def test_a_batch_gets_all_it_counts_or_nothing(database_url: str) -> None:
    limit = Limit("user", "user:batch", 100)
    async with limiters(database_url, 1) as [limiter]:

        async def take(count: int) -> Taken:
            return await limiter.take([limit], count)

        assert (await take(60)).allowed
        assert not (await take(41)).allowed
        assert (await take(40)).allowed
        assert not (await take(1)).allowed
        assert not (await limiter.take([Limit("user", "user:small", 10)], 11)).allowed


async def test_what_one_limit_refuses_costs_the_other_nothing(database_url: str) -> None:
    wide, narrow = Limit("key", "key:wide", 50), Limit("user", "user:narrow", 3)
    async with limiters(database_url, 1) as [limiter]:
        allowed = [(await limiter.take([wide, narrow])).allowed for _ in range(20)]
        assert allowed == [True] * 3 + [False] * 17
        assert await exhaust(limiter, wide, callers=1) == 47


async def test_what_is_not_used_comes_back_to_the_others(database_url: str) -> None:
    limit = Limit("key", "key:back", 1_000)
    async with limiters(database_url, 2) as [one, other]:
        assert await exhaust(one, Limit("key", "key:back", 500)) == 500
        taken = 0

        async def all_taken() -> bool:
            nonlocal taken
            taken += await exhaust(other, limit, callers=1)
            return taken == 500

        await wait_until(all_taken, "the other half is the other's", 10)


async def test_leaving_gives_back(database_url: str) -> None:
    limit = Limit("key", "key:left", 10_000)
    async with limiters(database_url, 1) as [limiter]:
        for _ in range(300):
            await limiter.take([limit])
    conn = await asyncpg.connect(database_url)
    try:
        assert await conn.fetchval("SELECT (SELECT sum(n) FROM unnest(counts) n) FROM rate_limits") == 300
    finally:
        await conn.close()


async def test_without_postgresql_nobody_is_let_in_uncounted(database_url: str) -> None:
    with fault_proxy(database_url) as proxy:
        async with limiters(proxy.url, 1) as [limiter]:
            proxy.cut()
            with pytest.raises(Unavailable):
                await limiter.take([Limit("key", "key:x", 10)])
            proxy.heal()
            assert (await limiter.take([Limit("key", "key:x", 10)])).allowed


async def test_what_one_limit_cannot_answer_costs_the_other_nothing(database_url: str) -> None:
    known, unknown = Limit("key", "key:known", 10_000), Limit("user", "user:unknown", 100)
    with fault_proxy(database_url) as proxy:
        async with limiters(proxy.url, 1) as [limiter]:
            taken = 0
            while taken < 200:
                taken += (await limiter.take([known])).allowed
                await asyncio.sleep(0)
            proxy.lose_question("store.rate_limits.borrow", times=1_000)
            with pytest.raises(Unavailable):
                await limiter.take([known, unknown])
        assert await counted(database_url, known) == taken


async def test_a_caller_who_goes_away_takes_nothing(database_url: str) -> None:
    one, other = Limit("key", "key:one", 100), Limit("user", "user:other", 100)
    with fault_proxy(database_url) as proxy:
        async with limiters(proxy.url, 1) as [limiter]:
            assert (await limiter.take([one])).allowed
            proxy.hold()
            calls = [asyncio.create_task(limiter.take(limits)) for limits in ([one], [one, other], [other])]
            await asyncio.wait(calls, timeout=0.1)
            for call in calls[:2]:
                call.cancel()
            proxy.heal()
            assert (await calls[2]).allowed
            assert all(call.cancelled() for call in calls[:2])
        assert (await counted(database_url, one), await counted(database_url, other)) == (1, 1)


async def test_what_is_borrowed_and_not_used_goes_back_though_its_subject_still_calls(
    database_url: str,
) -> None:
    limit = Limit("key", "key:slow", 100_000)
    async with limiters(database_url, 1) as [limiter]:
        taken = 0
        while taken < 3_000:
            taken += (await limiter.take([limit])).allowed
            await asyncio.sleep(0)
        assert await counted(database_url, limit) > taken + 20

        async def nothing_is_held() -> bool:
            nonlocal taken
            taken += (await limiter.take([limit])).allowed
            return await counted(database_url, limit) - taken <= 1

        await wait_until(nothing_is_held, "the rest of the slice goes back between calls", 4, interval=0.2)


async def test_a_subject_is_not_forgotten_while_its_callers_wait(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskflow.engine.limits.SUBJECTS_MAX", 1)
    with fault_proxy(database_url) as proxy:
        async with limiters(proxy.url, 1) as [limiter]:
            proxy.hold()
            first = asyncio.create_task(limiter.take([Limit("key", "key:first", 10)]))
            others: list[asyncio.Task[Taken]] = []

            async def has_room() -> bool:
                others.append(asyncio.create_task(limiter.take([Limit("key", "key:other", 10)])))
                await asyncio.wait(others[-1:], timeout=0.01)
                return not others[-1].done()

            await wait_until(
                has_room, "the first is quiet for so long that it may be forgotten", interval=0.1
            )
            proxy.heal()
            assert (await first).allowed and (await others[-1]).allowed
            refused = [other.exception() for other in others[:-1]]
            assert refused and all(isinstance(error, Overloaded) for error in refused)
