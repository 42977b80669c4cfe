"""What happened by the minute and by the hour."""

from __future__ import annotations

import asyncpg

from taskflow.store import series

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
    await put(conn, 1, "", "", started=1_000_000)
    assert await series.started_per_second(conn, "mail") == 1.0
    assert await series.started_per_second(conn, "mail", minutes=1) == 4.0
