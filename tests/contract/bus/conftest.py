"""A bus with its streams, on a real server, under names no other test uses."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.conftest import BusNames

from taskflow.bus.connect import Bus
from taskflow.bus.streams import ensure_streams, ensure_task_consumer
from taskflow.bus.topology import Topology
from taskflow.domain.task import Lane


@pytest.fixture
def topology(bus_names: BusNames) -> Topology:
    return Topology(*bus_names)


@pytest.fixture
async def empty_bus(nats_url: str, topology: Topology) -> AsyncIterator[Bus]:
    """Connected, to a server without our streams."""
    async with Bus(nats_url, topology, name="test") as bus:
        assert bus.connected
        yield bus


@pytest.fixture
async def bus(empty_bus: Bus) -> Bus:
    """With streams, and the consumer of lane `normal` of queue `default`."""
    await ensure_streams(empty_bus)
    await ensure_task_consumer(empty_bus, Lane.NORMAL, "default")
    return empty_bus
