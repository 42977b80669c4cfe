"""overview: what `taskflow info` tells of a system: the facts of the metrics, read once, without Prometheus."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from msgspec import Struct

from taskflow.bus.connect import Bus
from taskflow.bus.lag import read_consumers, read_streams, server_version
from taskflow.domain.task import LANE_NAMES
from taskflow.domain.transitions import LIVE
from taskflow.domain.views import ConsumerFacts, StreamFacts
from taskflow.store import census, stats, workers
from taskflow.store.census import Server
from taskflow.store.connect import Conn, Line

LETTERS_SECONDS_MAX = 8.0


class QueueFacts(Struct, frozen=True):
    """A queue: its live tasks by status, how long the oldest queued one has waited by priority, and who serves it."""

    name: str
    paused: bool
    tasks: dict[str, int]
    oldest_seconds: dict[str, float]
    workers: int
    slots: int
    slots_busy: int


class Facts(Struct, frozen=True):
    """What PostgreSQL knows."""

    server: Server
    ranges_end: datetime | None
    queues: list[QueueFacts]
    workers_by_version: dict[str, int]
    dead_letters_pending: int


class BusFacts(Struct, frozen=True):
    """What NATS knows."""

    version: str
    streams: list[StreamFacts]
    consumers: list[ConsumerFacts]


async def read_facts(line: Line) -> Facts:
    """Ask PostgreSQL, in one snapshot."""

    async def act(conn: Conn) -> Facts:
        async with conn.transaction(isolation="repeatable_read", readonly=True):
            return await _facts(conn)

    return await line.run(act)


async def _facts(conn: Conn) -> Facts:
    live = [row for row in await workers.read_workers(conn) if row.live]
    tasks: dict[str, Counter[str]] = {}
    for total in await stats.read_totals(conn):
        if total.status in LIVE:
            tasks.setdefault(total.queue, Counter())[total.status] += total.n
    oldest: dict[str, dict[str, float]] = {}
    for each in await census.read_waiting(conn):
        oldest.setdefault(each.queue, {})[LANE_NAMES[each.lane]] = round(each.oldest_seconds, 1)
    queues = []
    for name, paused in sorted((await census.read_paused(conn)).items()):
        serving = [row for row in live if name in row.queues and not row.drain]
        queues.append(
            QueueFacts(
                name,
                paused,
                dict(tasks.get(name, {})),
                oldest.get(name, {}),
                len(serving),
                sum(row.slots for row in serving),
                sum(row.running for row in serving),
            )
        )
    return Facts(
        await census.read_server(conn),
        await census.read_ranges_end(conn),
        queues,
        dict(Counter(row.version for row in live)),
        sum(each.n for each in await census.read_letters(conn, LETTERS_SECONDS_MAX)),
    )


async def read_bus(bus: Bus, queues: list[str]) -> BusFacts:
    """Ask NATS."""
    return BusFacts(server_version(bus), await read_streams(bus), await read_consumers(bus, queues))
