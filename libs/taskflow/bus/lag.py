"""How the bus stands: what its streams hold, and how far the workers have come with it. Asked with the scheduler's key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import nats.js.errors

from taskflow.bus.connect import Bus
from taskflow.bus.errors import translated
from taskflow.domain.task import LANE_NAMES, Lane
from taskflow.domain.views import ConsumerFacts, StreamFacts

_AT_ONCE = 50


def server_version(bus: Bus) -> str:
    """The version of the server we are connected to."""
    with translated():
        version = bus.client.connected_server_version
    return f"{version.major}.{version.minor}.{version.patch}"


async def read_streams(bus: Bus) -> list[StreamFacts]:
    """Our streams, the missing ones too."""
    return [await _stream(bus, config.name or "") for config in bus.topology.streams()]


async def _stream(bus: Bus, name: str) -> StreamFacts:
    with translated():
        try:
            info = await bus.jetstream.stream_info(name)
        except nats.js.errors.NotFoundError:
            return StreamFacts(name, None)
    config, state = info.config, info.state
    limit = max(config.max_bytes or 0, 0)
    return StreamFacts(name, state.messages, state.bytes, limit, config.num_replicas or 1)


async def read_consumers(bus: Bus, queues: Sequence[str]) -> list[ConsumerFacts]:
    """The consumers of these queues' lanes, as far as there are any."""
    places = [(queue, lane) for queue in queues for lane in Lane]
    found: list[ConsumerFacts] = []
    for start in range(0, len(places), _AT_ONCE):
        asked = [_consumer(bus, queue, lane) for queue, lane in places[start : start + _AT_ONCE]]
        found += [facts for facts in await asyncio.gather(*asked) if facts is not None]
    return found


async def _consumer(bus: Bus, queue: str, lane: Lane) -> ConsumerFacts | None:
    topology = bus.topology
    with translated():
        try:
            info = await bus.jetstream.consumer_info(topology.stream, topology.task_consumer(lane, queue))
        except nats.js.errors.NotFoundError:
            return None
    return ConsumerFacts(
        queue,
        LANE_NAMES[lane],
        info.num_pending or 0,
        info.num_ack_pending or 0,
        info.num_redelivered or 0,
        info.num_waiting or 0,
    )
