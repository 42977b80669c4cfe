"""In which order a worker starts what lies in its intake: real doorbells, from a real server."""

from __future__ import annotations

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
from taskflow.engine.intake import FAIR_START, Intake
from taskflow.kit.ids import new_id

STAMP = datetime(2026, 11, 22, tzinfo=UTC)


class Worker:
    """An intake and what it asks its worker."""

    def __init__(self, bus: Bus, slots: int) -> None:
        self.free = slots
        self.arrivals = 0
        self.intake = Intake(
            bus, ["default"], free_slots=lambda: self.free, on_arrival=self._arrived, park_seconds=1
        )

    def _arrived(self) -> None:
        self.arrivals += 1


@pytest.fixture
async def bus(nats_url: str, bus_names: BusNames) -> AsyncIterator[Bus]:
    async with Bus(nats_url, Topology(*bus_names), name="test") as bus:
        await ensure_streams(bus)
        yield bus


@asynccontextmanager
async def working(bus: Bus, slots: int) -> AsyncIterator[Worker]:
    worker = Worker(bus, slots)
    async with worker.intake as intake:
        await intake.prepare()
        await intake.open(True)
        yield worker


async def rung(bus: Bus, lane: Lane, count: int) -> list[str]:
    """Ring one by one, so that each id has a message of its own."""
    ids = [new_id() for _ in range(count)]
    for value in ids:
        await ring(bus, [Doorbell(value, lane, "default", STAMP, 1)])
    return ids


async def test_highest_lane_first_and_first_come_first_within_it(bus: Bus) -> None:
    low = await rung(bus, Lane.LOW, 3)
    critical = await rung(bus, Lane.CRITICAL, 3)
    normal = await rung(bus, Lane.NORMAL, 3)
    high = await rung(bus, Lane.HIGH, 3)
    async with working(bus, 100) as worker:
        await wait_until(lambda: len(worker.intake) == 12, "all have arrived")
        taken = worker.intake.take(12)
        assert [entry.id for entry in taken] == critical + high + normal + low
        for entry in taken:
            await worker.intake.settle(entry)
        assert worker.intake.take(1) == []


async def test_every_sixteenth_start_goes_to_the_lowest_lane_that_waits(bus: Bus) -> None:
    low, high = await rung(bus, Lane.LOW, 4), await rung(bus, Lane.HIGH, 60)
    async with working(bus, 100) as worker:
        await wait_until(lambda: len(worker.intake) == 64, "all have arrived")
        taken = [entry for _ in range(64) for entry in worker.intake.take(1)]
        places = [place for place, entry in enumerate(taken, 1) if entry.lane == Lane.LOW]
        assert places == [FAIR_START, 2 * FAIR_START, 3 * FAIR_START, 4 * FAIR_START]
        assert [entry.id for entry in taken if entry.lane == Lane.LOW] == low
        assert [entry.id for entry in taken if entry.lane == Lane.HIGH] == high
        for entry in taken:
            await worker.intake.settle(entry)


async def test_a_closed_intake_gives_everything_back(bus: Bus) -> None:
    ids = await rung(bus, Lane.NORMAL, 5)
    async with working(bus, 10) as worker:
        await wait_until(lambda: len(worker.intake) == 5, "all have arrived")
        await worker.intake.open(False)
        assert len(worker.intake) == 0
        async with working(bus, 10) as other:
            await wait_until(lambda: len(other.intake) == 5, "another worker has them at once", 2)
            taken = other.intake.take(10)
            assert sorted(entry.id for entry in taken) == sorted(ids)
            for entry in taken:
                await other.intake.settle(entry)


async def test_a_full_worker_does_not_hoard(bus: Bus) -> None:
    async with working(bus, 4) as worker:
        ids = await rung(bus, Lane.LOW, 4)
        await wait_until(lambda: len(worker.intake) == 4, "they have arrived")
        worker.free = 0
        await worker.intake.tidy()
        assert len(worker.intake) == 0
        async with working(bus, 10) as other:
            await wait_until(lambda: len(other.intake) == 4, "a free worker has them", 2)
            assert sorted(entry.id for entry in other.intake.take(9)) == sorted(ids)


async def test_ids_of_a_message_given_back_in_part_come_again_to_be_sorted_out(bus: Bus) -> None:
    """20 ids a message, which goes back whole: the next worker asks which of them still wait."""
    ids = {new_id() for _ in range(2_000)}
    await ring(bus, [Doorbell(value, Lane.NORMAL, "default", STAMP, 1) for value in sorted(ids)])
    async with working(bus, 20) as worker:
        await wait_until(lambda: len(worker.intake) >= 20, "a message has arrived")
        *tried, rest = worker.intake.take(7)
        assert {len(entry.delivery.ids) for entry in tried} == {20}
        assert {id(entry.delivery) for entry in tried} == {id(rest.delivery)}
        for entry in tried:
            await worker.intake.settle(entry)
        await worker.intake.give_back([rest], 0)
        await worker.intake.open(False)
    done = {entry.id for entry in tried}
    seen: set[str] = set()
    doubted: set[str] = set()
    async with working(bus, 5_000) as other:

        async def all_seen() -> bool:
            doubtful = other.intake.doubtful()
            doubted.update(entry.id for entry in doubtful)
            other.intake.admit([entry for entry in doubtful if entry.id not in done])
            again = [entry for entry in doubtful if entry.id in done]
            taken = other.intake.take(5_000)
            for entry in [*again, *taken]:
                await other.intake.settle(entry)
            seen.update(entry.id for entry in taken)
            return seen | done == ids

        await wait_until(all_seen, "every id that was not tried is here")
        assert not seen & done
        assert set(rest.delivery.ids) <= doubted
        await wait_until(lambda: _empty(bus), "every message was acked")


async def _empty(bus: Bus) -> bool:
    return bool((await bus.jetstream.stream_info(bus.topology.stream)).state.messages == 0)


async def test_what_is_no_id_is_let_go(bus: Bus) -> None:
    for rubbish in (b"", b"hello", b"019ab000-0000-7000-8000-00000000000x", b"\xff\x00"):
        await bus.jetstream.publish(bus.topology.task_subject(Lane.NORMAL, "default"), rubbish)
    async with working(bus, 10) as worker:
        await wait_until(lambda: _empty(bus), "the rubbish is gone")
        assert len(worker.intake) == 0


async def test_what_comes_for_a_pause_or_a_close_goes_on_to_others(bus: Bus) -> None:
    """A pull that is parked at the server still answers after the pause; that must start nothing."""
    for stop in ("pause", "close"):
        async with working(bus, 10) as worker, working(bus, 10) as other:
            await wait_until(lambda: _parked(worker) and _parked(other), "both have a pull parked")
            if stop == "pause":
                await worker.intake.pause({"default"})
            else:
                await worker.intake.open(False)
            ids = await rung(bus, Lane.HIGH, 8)
            await wait_until(lambda: len(other.intake) == 8, f"all go to the other worker ({stop})", 3)
            assert len(worker.intake) == 0
            taken = other.intake.take(8)
            assert sorted(entry.id for entry in taken) == sorted(ids)
            for entry in taken:
                await other.intake.settle(entry)


async def test_a_paused_queue_is_pulled_again_once_the_pause_ends(bus: Bus) -> None:
    async with working(bus, 10) as worker:
        await worker.intake.pause({"default"})
        ids = await rung(bus, Lane.HIGH, 3)
        await worker.intake.pause(set())
        await wait_until(lambda: len(worker.intake) == 3, "they come once the pause ends")
        for entry in worker.intake.take(3):
            assert entry.id in ids
            await worker.intake.settle(entry)


def _parked(worker: Worker) -> bool:
    return all(puller.outstanding for puller in worker.intake._pullers.values())
