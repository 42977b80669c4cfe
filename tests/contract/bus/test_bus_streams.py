"""The topology on a real server: made once, mended, asked for its oldest doorbell."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.contract.bus.hands import STAMP, bells, pulling
from tests.support.waiting import wait_until

from taskflow.bus.connect import Bus
from taskflow.bus.errors import BusAway, StreamMissing
from taskflow.bus.publisher import ring
from taskflow.bus.streams import (
    ensure_dlq_consumer,
    ensure_streams,
    ensure_task_consumer,
    parse_stamp,
    read_watermark,
    stamp_text,
)
from taskflow.bus.topology import Topology, event_shard, ids_per_message
from taskflow.domain.task import Lane
from taskflow.kit.ids import new_id


async def configs(bus: Bus) -> list[dict[str, Any]]:
    """How the server has our streams."""
    found = [await bus.jetstream.stream_info(config.name or "") for config in bus.topology.streams()]
    return [info.config.as_dict() | {"created": str(info.created)} for info in found]


async def test_streams_are_made_once_and_then_left_alone(empty_bus: Bus, topology: Topology) -> None:
    names = [topology.stream, topology.dlq_stream, topology.events_stream]
    assert await ensure_streams(empty_bus) == names
    made = await configs(empty_bus)
    asked: list[str] = []

    async def heard(message: Any) -> None:
        asked.append(message.subject)

    await empty_bus.subscribe("$JS.API.STREAM.UPDATE.*", heard)
    assert await ensure_streams(empty_bus) == []
    assert await configs(empty_bus) == made
    await empty_bus.client.flush()
    assert asked == []


async def test_what_differs_is_mended_and_what_is_gone_is_made(bus: Bus, topology: Topology) -> None:
    as_made = await configs(bus)
    info = await bus.jetstream.stream_info(topology.dlq_stream)
    info.config.max_bytes = 1024**2
    info.config.max_age = 3_600
    await bus.jetstream.update_stream(info.config)
    assert await ensure_streams(bus) == []
    assert await configs(bus) == as_made
    await bus.jetstream.delete_stream(topology.stream)
    assert await ensure_streams(bus) == [topology.stream]


async def test_consumers_are_made_as_often_as_asked(bus: Bus, topology: Topology) -> None:
    for _ in range(2):
        await ensure_task_consumer(bus, Lane.HIGH, "mail")
        await ensure_dlq_consumer(bus)
    info = await bus.jetstream.consumer_info(topology.stream, topology.task_consumer(Lane.HIGH, "mail"))
    config = info.config
    assert (config.filter_subject, config.max_deliver, config.max_ack_pending) == ("tasks.high.mail", -1, -1)
    assert config.ack_wait == 5


async def test_a_consumer_without_its_stream_is_a_miss(empty_bus: Bus) -> None:
    with pytest.raises(StreamMissing):
        await ensure_task_consumer(empty_bus, Lane.LOW, "default")
    with pytest.raises(StreamMissing):
        await ensure_dlq_consumer(empty_bus)
    with pytest.raises(StreamMissing):
        await read_watermark(empty_bus, Lane.LOW, "default")


async def test_the_watermark_is_the_oldest_doorbell_that_is_not_acked(bus: Bus) -> None:
    assert (await read_watermark(bus, Lane.NORMAL, "default")).stamp is None
    for bell in bells(3):
        await ring(bus, [bell])
    await ring(bus, bells(1, Lane.HIGH, stamp=STAMP - timedelta(hours=1)))
    assert (await read_watermark(bus, Lane.NORMAL, "default")).stamp == STAMP
    async with pulling(bus, 10) as hands:
        await hands.hold(3, "the doorbells came")
        assert (await read_watermark(bus, Lane.NORMAL, "default")).stamp == STAMP

        async def stamp() -> Any:
            return (await read_watermark(bus, Lane.NORMAL, "default")).stamp

        await hands.taken[1].ack()
        await hands.taken[0].ack()
        youngest = STAMP + timedelta(microseconds=2)
        await wait_until(lambda: _equals(stamp, youngest), "the youngest is the oldest that is left")
        await hands.taken[2].ack()
        await wait_until(lambda: _equals(stamp, None), "no doorbell is left")


async def _equals(read: Any, expected: Any) -> bool:
    return bool(await read() == expected)


async def test_the_watermark_without_a_consumer_counts_every_doorbell(bus: Bus) -> None:
    assert (await read_watermark(bus, Lane.LOW, "mail")).stamp is None
    await ring(bus, bells(1, Lane.LOW, "mail"))
    assert (await read_watermark(bus, Lane.LOW, "mail")).stamp == STAMP
    assert (await read_watermark(bus, Lane.LOW, "default")).stamp is None


async def test_a_doorbell_without_a_stamp_is_older_than_all(bus: Bus, topology: Topology) -> None:
    await bus.jetstream.publish(topology.task_subject(Lane.NORMAL, "default"), b"someone else's")
    stamp = (await read_watermark(bus, Lane.NORMAL, "default")).stamp
    assert stamp is not None
    assert stamp.year == 1970


def test_stamps_survive_as_text_to_the_microsecond() -> None:
    assert parse_stamp(stamp_text(STAMP)) == STAMP
    for text in (None, "", "x", "1e9", "9" * 40):
        assert parse_stamp(text) is None


async def test_names_are_the_contracts(topology: Topology) -> None:
    assert topology.task_subject(Lane.CRITICAL, "default") == "tasks.critical"
    assert topology.task_subject(Lane.LOW, "mail") == "tasks.low.mail"
    assert topology.task_consumer(Lane.LOW, "mail") == f"{topology.consumer}-low-mail"
    assert topology.dlq_subject == "tasks.dlq"
    ids = [new_id() for _ in range(200)]
    assert all(topology.event_subject(i) == topology.shard_subject(event_shard(i)) for i in ids)
    assert len({event_shard(i) for i in ids}) > 12


def test_only_many_tasks_share_messages() -> None:
    counts = (1, 50, 199, 200, 1_000, 2_000, 100_000)
    assert [ids_per_message(count, count) for count in counts] == [1, 1, 1, 2, 10, 20, 20]
    # Spread over 100 queues, over 500, and over more queues than tasks.
    assert [ids_per_message(count, 5_000) for count in (50, 10, 1)] == [10, 2, 1]
    # Where even the smallest worker has room for more.
    assert [ids_per_message(40, 40, slots) for slots in (0, 1, 10, 100)] == [1, 1, 2, 5]


async def test_a_bus_that_never_connected_says_so_at_once(topology: Topology, free_port: int) -> None:
    async with Bus(f"nats://127.0.0.1:{free_port}", topology, name="test") as bus:
        assert not bus.connected
        for act in (
            ensure_streams(bus),
            ring(bus, bells(1)),
            bus.publish("x", b""),
            read_watermark(bus, 0, "default"),
        ):
            with pytest.raises(BusAway):
                await act
