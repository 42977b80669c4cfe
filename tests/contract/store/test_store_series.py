"""What happened by the minute and by the hour."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from tests.contract.store import world
from tests.contract.store.conftest import Connect
from tests.contract.store.plans import buffers, plan, prepare
from tests.contract.store.world import DONE, FAILED, LOST

from taskflow.domain.account import By
from taskflow.domain.series import STEPS, Window, window
from taskflow.kit.ids import new_id
from taskflow.store import series, stats, tending
from taskflow.store.commands import cancel_tasks, retry_tasks
from taskflow.store.series import Asked, Times

LONG_AGO = "date_trunc('minute', now()) - interval '{} minutes'"


async def put(conn: asyncpg.Connection, minutes_ago: int, queue: str, name: str, **figures: int) -> None:
    """A row of a minute."""
    columns = ", ".join(["step_seconds", "at", "queue", "type", *figures])
    values = ", ".join(["60", LONG_AGO.format(minutes_ago), "$1", "$2", *map(str, figures.values())])
    await conn.execute(f"INSERT INTO stat_series ({columns}) VALUES ({values})", queue, name)


async def test_the_rate_of_a_queue_is_that_of_its_last_full_minutes(conn: asyncpg.Connection) -> None:
    assert await series.started_per_second(conn, "mail") == 0.0
    await put(conn, 0, "mail", "demo", started=1_000_000)  # the minute under way
    await put(conn, 1, "mail", "demo", started=240)
    await put(conn, 5, "mail", "echo", started=60)
    await put(conn, 6, "mail", "demo", started=1_000_000)
    await put(conn, 1, "default", "demo", started=1_000_000)
    await put(conn, 1, "mail", "", started=1_000_000)  # the sum over its types
    await put(conn, 1, "", "", started=1_000_000)
    assert await series.started_per_second(conn, "mail") == 1.0
    assert await series.started_per_second(conn, "mail", minutes=1) == 4.0


def rows(found: list[series.Figures]) -> list[tuple[object, ...]]:
    return sorted(tuple(row)[:1] + tuple(row)[2:] for row in found)


async def last_day(conn: asyncpg.Connection, step_seconds: int = 60) -> Window:
    """The steps around now, by the clock that counts."""
    moment = await conn.fetchval("SELECT now()")
    return window(moment - timedelta(minutes=5), moment + timedelta(minutes=5), step_seconds)


async def test_every_kind_of_move_is_counted_in_every_step(conn: asyncpg.Connection) -> None:
    await world.submit(conn, 2, queue="mail", type="echo", delay_seconds=600.0)  # never started
    done = await world.run(conn, 3)
    await world.end(conn, done, DONE)
    again = await world.run(conn, 2)
    await world.end(conn, again, FAILED)  # to be retried
    buried = await world.bury(conn, 1)
    await retry_tasks(conn, buried, By("x"))  # no submit
    lost = await world.run(conn, 1)
    await world.end(conn, lost, LOST)  # goes back at once
    await cancel_tasks(conn, [again[0].id], By("x"))  # neither completed nor failed
    while await stats.fold(conn):
        pass

    for step in STEPS:
        window = await last_day(conn, step)
        assert rows(await series.read_figures(conn, Asked(window))) == [(None, 9, 7, 3, 1, 2, [], [])]
        assert rows(await series.read_figures(conn, Asked(window, ["mail", "default"], [], "queue"))) == [
            ("default", 7, 7, 3, 1, 2, [], []),
            ("mail", 2, 0, 0, 0, 0, [], []),
        ]
        assert rows(await series.read_figures(conn, Asked(window, ["mail"], ["demo"], None))) == []
        assert rows(await series.read_figures(conn, Asked(window, [], ["demo"], None))) == [
            (None, 7, 7, 3, 1, 2, [], []),
        ]


async def test_what_is_pruned_or_expires_is_told_nowhere(conn: asyncpg.Connection) -> None:
    """A page of old tasks that go would else leave rows without a figure."""
    await conn.execute(
        "INSERT INTO stat_deltas (n, queue, type, origin, target) VALUES (3, 'q', 't', 'completed', 'pruned')"
    )
    await conn.execute(
        "INSERT INTO stat_deltas (n, queue, type, origin, target) VALUES (3, 'q', 't', 'queued', 'expired')"
    )
    assert await stats.fold(conn) == 2
    assert await conn.fetchval("SELECT count(*) FROM stat_series") == 0


async def test_a_minute_that_was_folded_is_added_to(conn: asyncpg.Connection) -> None:
    put_delta = "INSERT INTO stat_deltas (at, n, queue, type, target) VALUES ($1, $2, 'q', $3, 'queued')"
    at = datetime(2026, 11, 22, 11, 59, 30, tzinfo=UTC)
    for name, n in (("a", 1), ("a", 10), ("b", 100)):
        await conn.execute(put_delta, at, n, name)
        await stats.fold(conn)
    await conn.execute(put_delta, at + timedelta(seconds=30), 1_000, "a")
    await stats.fold(conn)
    found = await conn.fetch("SELECT step_seconds, at, queue, type, submitted FROM stat_series")
    minute = {
        (r["at"].strftime("%H:%M"), r["type"]): r["submitted"] for r in found if r["step_seconds"] == 60
    }
    assert minute == {
        ("11:59", ""): 111,
        ("11:59", "a"): 11,
        ("11:59", "b"): 100,
        ("12:00", ""): 1000,
        ("12:00", "a"): 1000,
    }
    begun = {
        (r["step_seconds"], r["at"].strftime("%d %H:%M")): r["submitted"] for r in found if not r["type"]
    }
    assert begun == {
        (60, "22 11:59"): 111, (60, "22 12:00"): 1_000, (300, "22 11:55"): 111, (300, "22 12:00"): 1_000,
        (900, "22 11:45"): 111, (900, "22 12:00"): 1_000, (3_600, "22 11:00"): 111, (3_600, "22 12:00"): 1_000,
        (21_600, "22 06:00"): 111, (21_600, "22 12:00"): 1_000, (86_400, "22 00:00"): 1_111,
    }  # fmt: skip


async def test_times_are_added_bucket_by_bucket(conn: asyncpg.Connection) -> None:
    await series.add_times(conn, [Times("", "t", [1, 2], []), Times("", "", [1, 2], [])], seconds_ago=0)
    await series.add_times(
        conn, [Times("", "", [0, 1, 5], [7]), Times("", "t", [0, 1, 5], [7])], seconds_ago=0
    )
    await series.add_times(conn, [Times("", "t", [1], [1, 1])], seconds_ago=0)
    window = await last_day(conn, 86_400)
    assert rows(await series.read_figures(conn, Asked(window))) == [(None, 0, 0, 0, 0, 0, [1, 3, 5], [7])]
    assert rows(await series.read_figures(conn, Asked(window, [], ["t"], "type"))) == [
        ("t", 0, 0, 0, 0, 0, [2, 3, 5], [8, 1])
    ]
    assert await conn.fetchval("SELECT count(*) FROM stat_series") == 2 * len(STEPS)


async def test_times_belong_to_the_moment_they_were_measured(conn: asyncpg.Connection) -> None:
    await series.add_times(conn, [Times("", "", [1], [])], seconds_ago=3_600)
    ago = await conn.fetchval("SELECT now() - at FROM stat_series WHERE step_seconds = 60")
    assert timedelta(hours=1) <= ago < timedelta(hours=1, minutes=1)


async def test_folds_and_workers_write_at_once_and_none_is_lost(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    """Rows are written in one order by all: a deadlock would be an error here."""
    kinds = [(f"q{n % 5}", f"t{n}") for n in range(20)]

    async def tell(line: asyncpg.Connection, order: int) -> None:
        times = [Times(*kind, [1], [0, 1]) for kind in [*kinds, *(("", name) for _, name in kinds)]]
        times.append(Times("", "", [20], [0, 20]))
        for _ in range(10):
            await series.add_times(line, times[::order], seconds_ago=0)

    async def fold(line: asyncpg.Connection, order: int) -> None:
        for _ in range(10):
            for queue, name in kinds[::order]:
                await line.execute(
                    "INSERT INTO stat_deltas (n, queue, type, target) VALUES (1, $1, $2, 'queued')",
                    queue,
                    name,
                )
            await stats.fold(line)

    lines = [await connect() for _ in range(4)]
    await asyncio.gather(tell(lines[0], 1), tell(lines[1], -1), fold(lines[2], 1), fold(lines[3], -1))
    while await stats.fold(conn):
        pass
    window = await last_day(conn, 86_400)
    [whole] = await series.read_figures(conn, Asked(window))
    assert (whole.submitted, whole.waits, whole.runs) == (400, [400], [0, 400])
    parts = await series.read_figures(conn, Asked(window, [], [name for _, name in kinds], "type"))
    assert len(parts) == len(kinds)
    assert {(part.submitted, part.waits[0], part.runs[1]) for part in parts} == {(20, 20, 20)}


async def test_the_greatest_are_named_first(conn: asyncpg.Connection) -> None:
    for number in range(6):
        await put(conn, 1, f"q{number}", "", submitted=number % 3, started=number)
        await put(conn, 1, f"q{number}", "demo", started=1_000)
    await put(conn, 1, "", "", submitted=1_000)
    window = await last_day(conn)
    assert await series.rank_names(conn, Asked(window, [], [], "queue"), 3) == (["q5", "q4", "q2"], 6)
    assert await series.rank_names(conn, Asked(window, ["q1", "q0", "none"], [], "queue"), 3) == (
        ["q1", "q0"],
        2,
    )
    assert await series.rank_names(conn, Asked(window, [], ["echo"], "type"), 3) == ([], 0)
    await put(conn, 1, "", "demo", submitted=6_000)
    assert await series.rank_names(conn, Asked(window, [], [], "type"), 3) == (["demo"], 1)
    assert await series.rank_names(conn, Asked(window, ["q5"], [], "type"), 3) == (["demo"], 1)
    assert await series.rank_names(conn, Asked(window, [], ["demo"], "queue"), 2) == (["q0", "q1"], 6)


FILL = """
INSERT INTO stat_series (step_seconds, at, queue, type, submitted)
SELECT 60, date_trunc('minute', now()) - minutes * interval '1 minute', queue, type, 1
FROM generate_series(1, 60) AS m(minutes),
     (SELECT 'q' || n FROM generate_series(1, 20) AS n UNION ALL SELECT '') AS q(queue),
     (SELECT 't' || n FROM generate_series(1, 20) AS n UNION ALL SELECT '') AS t(type)"""


@pytest.mark.parametrize(("queue", "name"), [("", ""), ("q1", ""), ("", "t1"), ("q1", "t1")])
async def test_a_kept_plan_reads_the_rows_that_are_shown_and_no_others(
    conn: asyncpg.Connection, queue: str, name: str
) -> None:
    """A connection keeps a plan after a few calls, for whatever is asked then: hot ones do from the first."""
    await conn.execute(FILL)
    statement = "store.series.read_figures"
    await prepare(conn, {statement: series.READ_FIGURES})
    hour = "60, now() - interval '61 minutes', now()"
    told = await plan(
        conn, statement, f"{hour}, '{{\"{queue}\"}}', '{{\"{name}\"}}', NULL", options=", ANALYZE, BUFFERS"
    )
    assert told["Actual Rows"] == 60
    assert told.get("Rows Removed by Filter", 0) == 0
    assert buffers(told) < 1_000


async def test_what_is_old_goes_minutes_first(conn: asyncpg.Connection) -> None:
    old = (
        "INSERT INTO stat_series (step_seconds, at, queue, type) "
        "SELECT step, now() - $1::interval, '', '' FROM unnest($2::integer[]) AS s(step)"
    )
    for age in (timedelta(days=6), timedelta(days=8), timedelta(days=92)):
        await conn.execute(old, age, list(STEPS))
    assert await series.prune_series(conn, keep_seconds=7 * 86_400, limit=1) == 6
    assert await series.prune_series(conn, keep_seconds=7 * 86_400, limit=1) == 3
    assert await series.prune_series(conn, keep_seconds=7 * 86_400, limit=1) == 0
    left = await conn.fetch(
        "SELECT step_seconds, date_part('day', now() - at) AS days FROM stat_series ORDER BY 1, 2"
    )
    assert [tuple(row) for row in left] == [(60, 6), (300, 6), (900, 6)] + [
        (step, age) for step in (3_600, 21_600, 86_400) for age in (6, 8)
    ]


@pytest.mark.parametrize("years", [6, 100])
async def test_figures_may_be_kept_for_as_long_as_a_setting_may_say(
    conn: asyncpg.Connection, years: int
) -> None:
    """A sum of whole seconds would not fit into an integer, and end the scheduler."""
    await put(conn, 1, "q", "t", submitted=1)
    assert await series.prune_series(conn, keep_seconds=years * 365 * 86_400.0, limit=1) == 0


async def test_days_go_after_a_year_and_tickets_when_they_have_expired(conn: asyncpg.Connection) -> None:
    for age in (400, 401):
        await conn.execute(
            "INSERT INTO stat_days (day, queue, type) VALUES ((now() AT TIME ZONE 'UTC')::date - $1::integer, 'q', 't')",
            age,
        )
        await conn.execute(
            "INSERT INTO owner_days (day, owner_id) VALUES ((now() AT TIME ZONE 'UTC')::date - $1::integer, $2)",
            age,
            new_id(),
        )
    await stats.prune_days(conn, keep_days=400)
    for table in ("stat_days", "owner_days"):
        left = await conn.fetch(f"SELECT (now() AT TIME ZONE 'UTC')::date - day AS age FROM {table}")
        assert [row["age"] for row in left] == [400]
    for age in (-30, 30, 90):
        await conn.execute(
            "INSERT INTO stream_tickets (hash, expires_at) VALUES ($1, now() - $2 * interval '1 second')",
            str(age).encode(),
            age,
        )
    await tending.prune_rest(conn, keep_letters_seconds=60)
    assert await conn.fetchval("SELECT array_agg(hash ORDER BY hash) FROM stream_tickets") == [b"-30", b"30"]
