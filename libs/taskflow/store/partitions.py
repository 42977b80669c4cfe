"""Ranges of ids: tasks and what belongs to them live in partitions of seven days by their ids, made ahead and on demand.
Webhook deliveries, too, by ids of their own: an event of an old task may be of today.

`CREATE ... LIKE` and `ATTACH` take no lock that stops inserts, where `CREATE ... PARTITION OF` would.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from taskflow.kit.ids import first_id_at, id_time

if TYPE_CHECKING:
    from taskflow.store.connect import Conn  # `taskflow migrate` is installed without what it measures with

TABLES = (
    "tasks", "executions", "task_logs", "task_events", "dead_letter_details", "webhook_deliveries",
    "webhook_attempts",
)  # fmt: skip
RANGE = timedelta(days=7)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCK = 0x7461736B  # one maker of ranges at a time

HAS_RANGE = """-- store.partitions.has_range
SELECT to_regclass($1) IS NOT NULL"""

# A new range is analysed by nobody for a while, and its rows die three times a life.
_MAKE = """
CREATE TABLE {name} (LIKE {table} INCLUDING ALL)
    WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1,
          autovacuum_vacuum_insert_scale_factor = 0.2);
ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{end}');
"""


def range_start(moment: datetime) -> datetime:
    """The start of the range that holds ids made at `moment`."""
    return EPOCH + (moment - EPOCH) // RANGE * RANGE


async def ensure_ranges(conn: Conn, moments: Iterable[datetime]) -> int:
    """Make the ranges that hold ids made at `moments`, where they are missing. Returns how many were made."""
    made = 0
    for start in sorted({range_start(moment) for moment in moments}):
        if await conn.fetchval(HAS_RANGE, _name(TABLES[-1], start)):
            continue
        async with conn.transaction():
            await conn.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
            for table in TABLES:
                made += await _make(conn, table, start)
    return made


async def ensure_ranges_ahead(conn: Conn, *, ranges: int = 3) -> int:
    """Make the range of now, the one before (clocks differ) and `ranges` to come."""
    now: datetime = await conn.fetchval("SELECT now()")
    return await ensure_ranges(conn, [now + RANGE * step for step in range(-1, ranges + 1)])


async def ensure_ranges_of(conn: Conn, ids: Iterable[str]) -> int:
    """Make the ranges that hold these ids."""
    return await ensure_ranges(conn, {range_start(id_time(value)) for value in ids})


# $1 'tasks'
LIST_RANGES = """-- store.partitions.list_ranges
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = $1::regclass ORDER BY c.relname"""


async def drop_empty_ranges(conn: Conn, before: datetime) -> int:
    """Drop ranges that ended before `before` and hold no task any more, in all tables together.

    A range lives and dies in all tables at once: the executions of a task must always find theirs, and dead letters may
    be kept longer than tasks. The lock that a drop needs is waited for only briefly; what cannot be had now is dropped
    another time.
    """
    dropped = 0
    for start in await range_starts(conn):
        if start + RANGE <= before:
            dropped += await _drop_if_empty(conn, f"{start:%Y%m%d}")
    return dropped


async def range_starts(conn: Conn) -> list[datetime]:
    """When each range of tasks begins, the oldest first."""
    days = [record["relname"].removeprefix("tasks_") for record in await conn.fetch(LIST_RANGES, "tasks")]
    return [datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC) for day in days]


async def _drop_if_empty(conn: Conn, day: str) -> int:
    async with conn.transaction():
        await conn.execute("SET LOCAL lock_timeout = '200ms'")
        await conn.execute(f"LOCK TABLE tasks_{day} IN ACCESS EXCLUSIVE MODE")
        if await conn.fetchval(
            f"SELECT EXISTS (SELECT FROM tasks_{day}) OR EXISTS (SELECT FROM dead_letter_details_{day}) "
            f"OR EXISTS (SELECT FROM webhook_deliveries_{day})"
        ):
            return 0
        await conn.execute("DROP TABLE " + ", ".join(f"{table}_{day}" for table in TABLES))
    return 1


def _name(table: str, start: datetime) -> str:
    return f"{table}_{start:%Y%m%d}"


async def _make(conn: Conn, table: str, start: datetime) -> int:
    name = _name(table, start)
    if await conn.fetchval(HAS_RANGE, name):
        return 0
    first, end = first_id_at(start), first_id_at(start + RANGE)
    await conn.execute(_MAKE.format(name=name, table=table, first=first, end=end))
    return 1
