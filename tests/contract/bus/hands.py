"""What a worker does with a puller, and doorbells to ring."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from tests.support.waiting import wait_until

from taskflow.bus.connect import Bus
from taskflow.bus.publisher import Doorbell
from taskflow.bus.puller import Delivery, Puller
from taskflow.bus.streams import ensure_task_consumer
from taskflow.domain.task import Lane
from taskflow.kit.ids import new_id

STAMP = datetime(2026, 11, 22, 12, 0, 0, 123_456, tzinfo=UTC)


def bells(
    count: int, lane: Lane = Lane.NORMAL, queue: str = "default", stamp: datetime = STAMP
) -> list[Doorbell]:
    """Doorbells of new tasks, each a microsecond younger than the one before."""
    return [
        Doorbell(new_id(), lane, queue, stamp + timedelta(microseconds=place), 1) for place in range(count)
    ]


class Hands:
    """Takes deliveries of lane `normal` of queue `default`."""

    def __init__(self, bus: Bus, park_seconds: float = 0.5) -> None:
        self._bus = bus
        self.taken: list[Delivery] = []
        self.misses = 0
        self.breaks_off = False
        self.puller = Puller(
            bus,
            stream=bus.topology.stream,
            consumer=bus.topology.task_consumer(Lane.NORMAL, "default"),
            on_delivery=lambda _puller, delivery: self.taken.append(delivery),
            on_missing=self._make,
            park_seconds=park_seconds,
        )

    async def _make(self) -> None:
        self.misses += 1
        if self.breaks_off:
            raise ValueError("a fault of ours")
        await ensure_task_consumer(self._bus, Lane.NORMAL, "default")

    @property
    def ids(self) -> list[str]:
        """All ids that came, as often as they came."""
        return [task_id for delivery in self.taken for task_id in delivery.ids]

    async def ack_all(self) -> None:
        for delivery in self.taken:
            await delivery.ack()

    async def hold(self, count: int, description: str, timeout: float = 10) -> None:
        """Until so many messages have come."""
        await wait_until(lambda: len(self.taken) >= count, description, timeout)


@asynccontextmanager
async def pulling(bus: Bus, messages: int = 100, park_seconds: float = 0.5) -> AsyncIterator[Hands]:
    """Hands that want so many messages."""
    hands = Hands(bus, park_seconds)
    async with hands.puller:
        await hands.puller.demand(messages)
        yield hands
