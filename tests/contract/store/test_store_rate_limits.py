"""Limits by the hour: what is granted, what counts, and what comes back."""

from __future__ import annotations

import asyncio

import asyncpg
from tests.contract.store.conftest import Connect

from taskflow.store.rate_limits import Ask, Loan, borrow, give_back, prune_limits


async def granted(conn: asyncpg.Connection, wanted: int, per_hour: int = 10, subject: str = "s") -> Loan:
    """The answer to one ask."""
    return (await borrow(conn, [Ask(subject, wanted, 1, per_hour)]))[subject]


async def grow_old(conn: asyncpg.Connection, minutes: int, subject: str = "s") -> None:
    """So many minutes pass, for this subject."""
    await conn.execute(
        "UPDATE rate_limits SET minutes = ARRAY(SELECT m - $1::integer FROM unnest(minutes) m) WHERE subject = $2",
        minutes,
        subject,
    )


async def test_no_more_is_granted_than_is_left(conn: asyncpg.Connection) -> None:
    assert [(loan.granted, loan.left) for loan in [await granted(conn, n) for n in (3, 5, 4, 1)]] == [
        (3, 7), (5, 2), (2, 0), (0, 0),
    ]  # fmt: skip


async def test_what_is_too_little_is_not_granted(conn: asyncpg.Connection) -> None:
    await granted(conn, 4)
    [loan] = (await borrow(conn, [Ask("s", 9, 7, 10)])).values()
    assert (loan.granted, loan.left) == (0, 6)
    [loan] = (await borrow(conn, [Ask("s", 9, 6, 10)])).values()
    assert (loan.granted, loan.left) == (6, 0)


async def test_what_was_taken_counts_for_an_hour_and_comes_back_a_minute_at_a_time(
    conn: asyncpg.Connection,
) -> None:
    await granted(conn, 4)
    await grow_old(conn, 30)
    loan = await granted(conn, 6)
    assert (loan.granted, loan.left) == (6, 0)
    assert 29 * 60 <= loan.reset_seconds <= 31 * 60
    await grow_old(
        conn, 30
    )  # the first are 60 minutes old: they may have been taken in the last second of theirs
    assert (await granted(conn, 1)).granted == 0
    await grow_old(conn, 1)
    assert (await granted(conn, 9)).granted == 4
    row = await conn.fetchrow("SELECT cardinality(minutes) AS n, counts FROM rate_limits")
    assert (row["n"], row["counts"]) == (2, [6, 4])  # what does not count any more is gone


async def test_what_was_not_used_can_be_given_back(conn: asyncpg.Connection) -> None:
    loan = await granted(conn, 10)
    await give_back(conn, [("s", loan.minute, 7), ("unknown", loan.minute, 1)])
    assert (await granted(conn, 9)).granted == 7
    await give_back(conn, [("s", loan.minute, 100), ("s2", loan.minute, 1)])
    assert (await granted(conn, 20)).granted == 10  # never more than was taken


async def test_many_subjects_go_together(conn: asyncpg.Connection) -> None:
    asks = [Ask(f"s{number:02}", number, 1, 20) for number in range(30, 0, -1)]
    loans = await borrow(conn, asks)
    assert {subject: loan.granted for subject, loan in loans.items()} == {
        f"s{number:02}": min(number, 20) for number in range(1, 31)
    }


async def test_ten_at_once_share_one_limit(conn: asyncpg.Connection, connect: Connect) -> None:
    """In opposite orders of subjects, too: nobody waits for ever."""
    lines = [await connect() for _ in range(10)]

    async def take(line: asyncpg.Connection, number: int) -> int:
        total = 0
        for turn in range(40):
            asks = [Ask("a", 3, 1, 500), Ask("b", 1, 1, 100_000)]
            total += (await borrow(line, asks if (turn + number) % 2 else asks[::-1]))["a"].granted
        return total

    totals = await asyncio.gather(*(take(line, number) for number, line in enumerate(lines)))
    assert sum(totals) == 500
    assert (
        await conn.fetchval(
            "SELECT (SELECT sum(n) FROM unnest(counts) n) FROM rate_limits WHERE subject = 'b'"
        )
        == 400
    )


async def test_a_lower_limit_holds_at_once(conn: asyncpg.Connection) -> None:
    await granted(conn, 10)
    loan = await granted(conn, 1, per_hour=4)
    assert (loan.granted, loan.left) == (0, 0)


async def test_old_subjects_are_forgotten(conn: asyncpg.Connection) -> None:
    await granted(conn, 1)
    await granted(conn, 1, subject="young")
    await grow_old(conn, 63)
    assert [await prune_limits(conn, 10), await prune_limits(conn, 10)] == [1, 0]
    assert [row["subject"] for row in await conn.fetch("SELECT subject FROM rate_limits")] == ["young"]


async def test_a_clock_that_was_set_back_makes_no_bucket_twice(conn: asyncpg.Connection) -> None:
    """So it also is when a statement waited for its row while the minute changed."""
    loan = await granted(conn, 4)
    await grow_old(conn, -2)
    for _ in range(3):
        loan = await granted(conn, 1)
    minutes = await conn.fetchval("SELECT minutes FROM rate_limits")
    assert len(minutes) == len(set(minutes)) == 2
    await give_back(conn, [("s", loan.minute, 2)])
    assert (await granted(conn, 10)).granted == 5  # ten, less four, less three, and two came back
    await grow_old(conn, 63)
    assert await prune_limits(conn, 10) == 0


async def test_permits_go_back_to_the_minutes_they_were_granted_in(conn: asyncpg.Connection) -> None:
    await granted(conn, 6)
    await grow_old(conn, 1)
    loan = await granted(conn, 4)
    await give_back(
        conn,
        [("s", loan.minute, 1), ("s", loan.minute - 1, 2), ("s", loan.minute, 1), ("s", loan.minute - 5, 3)],
    )
    row = await conn.fetchrow("SELECT minutes, counts FROM rate_limits")
    assert dict(zip(row["minutes"], row["counts"], strict=True)) == {loan.minute - 1: 4, loan.minute: 2}
