"""A worker of many queues brings in what fits, from a real server: what comes and goes back is counted, never timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from tests.conftest import BusNames
from tests.support.waiting import wait_until

from taskflow.bus.connect import Bus
from taskflow.bus.publisher import Doorbell, ring
from taskflow.bus.streams import ensure_streams
from taskflow.bus.topology import Topology
from taskflow.domain.task import Lane
from taskflow.engine.intake import Intake
from taskflow.kit.ids import new_id

STAMP = datetime(2026, 11, 22, tzinfo=UTC)
QUEUES = [f"q{place}" for place in range(40)]
EACH = 15
SLOTS = 20


class Worker:
    """An intake whose slots are all busy between two rounds."""

    def __init__(self, bus: Bus) -> None:
        self.free = SLOTS
        self.started: list[tuple[str, str]] = []
        self.intake = Intake(
            bus, QUEUES, free_slots=lambda: self.free, on_arrival=lambda: None, park_seconds=1
        )

    async def round(self) -> None:
        """Fill the slots, give back what does not fit, and end what was started."""
        await wait_until(lambda: len(self.intake) > 0, "something has come")
        taken = self.intake.take(SLOTS)
        self.free -= len(taken)
        await self.intake.tidy()
        for entry in taken:
            await self.intake.settle(entry)
        self.started += [(entry.queue, entry.id) for entry in taken]
        self.free = SLOTS
        await self.intake.rearm()


@pytest.fixture
async def bus(nats_url: str, bus_names: BusNames) -> AsyncIterator[Bus]:
    async with Bus(nats_url, Topology(*bus_names), name="test") as bus:
        await ensure_streams(bus)
        yield bus


@asynccontextmanager
async def working(bus: Bus) -> AsyncIterator[Worker]:
    worker = Worker(bus)
    async with worker.intake as intake:
        await intake.prepare()
        await intake.open(True)
        yield worker


async def rung(bus: Bus, queues: list[str], count: int) -> list[tuple[str, str]]:
    """So many tasks of each queue, by turns, each with a message of its own."""
    bells = [Doorbell(new_id(), Lane.NORMAL, queue, STAMP, 1) for _ in range(count) for queue in queues]
    for start in range(0, len(bells), 99):
        await ring(bus, bells[start : start + 99])
    return [(bell.queue, bell.id) for bell in bells]


async def deliveries(bus: Bus, queues: list[str]) -> int:
    """How many messages the server has sent out, those included that came back."""
    topology = bus.topology
    infos = [
        await bus.jetstream.consumer_info(topology.stream, topology.task_consumer(Lane.NORMAL, queue))
        for queue in queues
    ]
    return sum(info.delivered.consumer_seq for info in infos if info.delivered)


async def test_a_worker_of_many_busy_queues_brings_what_fits(bus: Bus) -> None:
    tasks = await rung(bus, QUEUES, EACH)
    async with working(bus) as worker:
        while len(worker.started) < len(tasks):
            await worker.round()
        assert sorted(worker.started) == sorted(tasks)
        again = await deliveries(bus, QUEUES) - len(tasks)
        assert again <= len(tasks) // 4, f"{again} messages came in vain, for {len(tasks)}"


async def test_busy_queues_start_in_turns(bus: Bus) -> None:
    await rung(bus, QUEUES, EACH)
    async with working(bus) as worker:
        while len(worker.started) < 10 * len(QUEUES):
            await worker.round()
        assert min(Counter(queue for queue, _ in worker.started).get(queue, 0) for queue in QUEUES) >= 3


async def test_a_queue_that_wakes_among_idle_ones_has_all_the_slots(bus: Bus) -> None:
    async with working(bus) as worker:
        tasks = await rung(bus, QUEUES[-1:], 200)
        while len(worker.started) < len(tasks):
            await worker.round()
        assert set(worker.started) == set(tasks)
        assert await deliveries(bus, QUEUES[:-1]) == 0
