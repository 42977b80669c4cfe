"""What the whole system looks like at a moment: figures for metrics, each cheap however many tasks are stored."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from taskflow.kit.clock import now
from taskflow.store.connect import Conn, one_row
from taskflow.store.partitions import RANGE, range_start, range_starts


class Server(NamedTuple):
    """PostgreSQL's version, and the numbers of the migrations that were applied."""

    version: str
    migrations: list[int]


class Load(NamedTuple):
    """The size of the database, and who is connected to its server. Of roles that are not ours it may not tell all."""

    database: str
    size_bytes: int
    connections: int
    connections_max: int
    oldest_transaction_seconds: float | None


class Waiting(NamedTuple):
    """How long the oldest queued task of one (queue, lane) has waited; parked ones are asked for beside the others."""

    queue: str
    lane: int
    oldest_seconds: float


class Letters(NamedTuple):
    """Pending dead letters of a queue, by why they were given up."""

    queue: str
    reason: str
    n: int


# A loose index scan: two probes per (queue, lane), for the doorbell rung first and for (up to a thousand of) the parked.
READ_WAITING = """-- store.census.read_waiting
WITH RECURSIVE heads AS (
    (SELECT queue, lane FROM tasks WHERE status = 'queued' ORDER BY queue, lane LIMIT 1)
    UNION ALL
    SELECT n.queue, n.lane
    FROM heads h, LATERAL (
        SELECT t.queue, t.lane FROM tasks t
        WHERE t.status = 'queued' AND (t.queue, t.lane) > (h.queue, h.lane) ORDER BY t.queue, t.lane LIMIT 1) n
)
SELECT h.queue, h.lane, extract(epoch FROM clock_timestamp() - min(o.queued_at))::float8 AS oldest_seconds
FROM heads h, LATERAL (
    (SELECT t.queued_at FROM tasks t WHERE t.status = 'queued' AND t.queue = h.queue AND t.lane = h.lane
     ORDER BY t.rung_at LIMIT 1)
    UNION ALL
    (SELECT t.queued_at FROM tasks t WHERE t.status = 'queued' AND t.queue = h.queue AND t.lane = h.lane
       AND t.rung_at = 'infinity' LIMIT 1000)) o
GROUP BY h.queue, h.lane"""

READ_LETTERS = """-- store.census.read_letters
SELECT queue, reason, count(*) AS n FROM dead_letters WHERE status = 'pending' GROUP BY queue, reason"""

READ_PAUSED = """-- store.census.read_paused
SELECT name, paused FROM queues"""


READ_SERVER = """-- store.census.read_server
SELECT current_setting('server_version') AS version,
       ARRAY(SELECT version::integer FROM schema_migrations ORDER BY 1) AS migrations"""


READ_LOAD = """-- store.census.read_load
SELECT current_database() AS database, pg_database_size(current_database()) AS size_bytes,
       count(*) FILTER (WHERE backend_type = 'client backend')::integer AS connections,
       current_setting('max_connections')::integer AS connections_max,
       extract(epoch FROM clock_timestamp() - min(xact_start) FILTER (WHERE pid <> pg_backend_pid()))::float8
           AS oldest_transaction_seconds
FROM pg_stat_activity"""


async def read_load(conn: Conn) -> Load:
    """How big the database is, and how busy its server."""
    return Load(*await one_row(conn, READ_LOAD))


async def read_server(conn: Conn) -> Server:
    """What PostgreSQL is, and how far its schema is."""
    return Server(*await one_row(conn, READ_SERVER))


async def read_waiting(conn: Conn) -> list[Waiting]:
    """Every (queue, lane) with something waiting."""
    return [
        Waiting(r["queue"], r["lane"], max(0.0, r["oldest_seconds"])) for r in await conn.fetch(READ_WAITING)
    ]


async def read_letters(conn: Conn, within_seconds: float) -> list[Letters]:
    """Pending dead letters, counted; `TimeoutError` if that takes longer."""
    return [Letters(*row) for row in await conn.fetch(READ_LETTERS, timeout=within_seconds)]


async def read_paused(conn: Conn) -> dict[str, bool]:
    """Every queue, and whether it is paused."""
    return {row["name"]: row["paused"] for row in await conn.fetch(READ_PAUSED)}


async def read_ranges_end(conn: Conn) -> datetime | None:
    """Until when, from now on, ids have a range to go to without a hole; None if there is none now."""
    starts = set(await range_starts(conn))
    end = range_start(now())
    while end in starts:
        end += RANGE
    return end if end > now() else None
