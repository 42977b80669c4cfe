"""Ringing and pulling: ids arrive with their stamp, whatever happens to stream, consumer and connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from tests.contract.bus.hands import STAMP, bells, pulling
from tests.support.logs import logged
from tests.support.waiting import wait_until

from taskflow.bus import puller
from taskflow.bus.announce import Announcer, publish_control, subscribe_control, subscribe_moves
from taskflow.bus.connect import Bus
from taskflow.bus.publisher import publish_notice, ring
from taskflow.bus.streams import ensure_streams, read_watermark
from taskflow.bus.topology import Topology, event_shard
from taskflow.domain.task import Lane, Moved
from taskflow.kit.ids import new_id


async def waiting(bus: Bus) -> int:
    """Messages in the stream of tasks."""
    info = await bus.jetstream.stream_info(bus.topology.stream)
    return int(info.state.messages)


async def test_a_doorbell_arrives_with_its_stamp_and_goes_when_acked(bus: Bus) -> None:
    [bell] = bells(1)
    async with pulling(bus) as hands:
        assert await ring(bus, [bell]) == 1
        await hands.hold(1, "it came")
        [delivery] = hands.taken
        assert (delivery.ids, delivery.untried, delivery.payload) == ([bell.id], 1, bell.id.encode())
        assert (await read_watermark(bus, Lane.NORMAL, "default")).stamp == STAMP
        assert (delivery.deliveries, delivery.subject) == (1, "tasks.normal")
        await delivery.ack()
        await delivery.nak()  # is settled: no second answer
        await wait_until(lambda: _empty(bus), "the message is gone")
    assert hands.ids == [bell.id]


async def _empty(bus: Bus) -> bool:
    return await waiting(bus) == 0


async def test_a_bulk_shares_messages_under_the_oldest_stamp(bus: Bus) -> None:
    rung = bells(2_000)
    assert await ring(bus, rung) == 2_000
    assert await waiting(bus) == 100
    async with pulling(bus, 200) as hands:
        await hands.hold(100, "all came")
        assert sorted(hands.ids) == sorted(bell.id for bell in rung)
        assert hands.ids[:20] == [bell.id for bell in rung[:20]]
        assert {len(delivery.ids) for delivery in hands.taken} == {20}
        assert (await read_watermark(bus, Lane.NORMAL, "default")).stamp == STAMP
        await hands.taken[0].ack()
        await wait_until(
            lambda: _oldest(bus, rung[20].rung_at), "the second message has the stamp of its first id"
        )
        await hands.ack_all()


async def _oldest(bus: Bus, stamp: datetime) -> bool:
    return (await read_watermark(bus, Lane.NORMAL, "default")).stamp == stamp


async def test_each_subject_has_its_own_messages(bus: Bus) -> None:
    mixed = [*bells(2), *bells(1, Lane.HIGH), *bells(1, Lane.NORMAL, "mail")]
    assert await ring(bus, mixed) == 4
    assert await ring(bus, []) == 0
    async with pulling(bus) as hands:
        await hands.hold(2, "those of this consumer came")
        assert hands.ids == [bell.id for bell in mixed[:2]]
    assert await waiting(bus) == 4


async def test_a_doorbell_rung_twice_by_mistake_is_one(bus: Bus) -> None:
    [bell] = bells(1)
    await ring(bus, [bell])
    await ring(bus, [bell])
    assert await waiting(bus) == 1
    again = type(bell)(bell.id, bell.lane, bell.queue, bell.rung_at)
    await ring(bus, [again])
    await ring(bus, [again])
    assert await waiting(bus) == 3


async def test_what_is_given_back_comes_again_after_its_delay(bus: Bus) -> None:
    now, later = bells(2)
    await ring(bus, [now])
    await ring(bus, [later])
    async with pulling(bus) as hands:
        await hands.hold(2, "both came")
        began = time.monotonic()
        await hands.taken[1].nak(0.5)
        await hands.taken[0].nak()
        await hands.hold(3, "the first is back")
        assert time.monotonic() - began < 0.4
        await hands.hold(4, "the second is back")
        assert time.monotonic() - began >= 0.45
        assert hands.ids == [now.id, later.id, now.id, later.id]
        assert [delivery.deliveries for delivery in hands.taken] == [1, 1, 2, 2]
        await hands.ack_all()


async def test_no_more_comes_than_was_asked_for(bus: Bus) -> None:
    for bell in bells(20):
        await ring(bus, [bell])
    async with pulling(bus, 6) as hands:
        await hands.hold(6, "six came")
        assert hands.puller.outstanding == 0
        await hands.puller.demand(0)
        async with pulling(bus, 100) as other:
            await other.hold(14, "the rest went to another worker")
        assert len(hands.taken) == 6


async def test_two_pullers_share_and_none_gets_what_the_other_has(bus: Bus) -> None:
    async with pulling(bus, 100) as one, pulling(bus, 100) as other:
        rung = bells(40)
        for bell in rung:
            await ring(bus, [bell])
        await wait_until(lambda: len(one.taken) + len(other.taken) == 40, "all came")
        assert sorted(one.ids + other.ids) == sorted(bell.id for bell in rung)
        assert one.taken
        assert other.taken
        await one.ack_all()
        await other.ack_all()


async def test_a_parked_pull_is_renewed_when_its_time_is_over(bus: Bus) -> None:
    async with pulling(bus, 5, park_seconds=0.2) as hands:
        seen = {hands.puller.seen_at}

        def renewed() -> bool:
            seen.add(hands.puller.seen_at)
            return len(seen) > 6

        await wait_until(renewed, "the server answered for several rounds")
        assert hands.puller.fetching
        [bell] = bells(1)
        await ring(bus, [bell])
        await hands.hold(1, "it came at once", 0.5)
        await hands.ack_all()


async def test_a_stopped_puller_takes_nothing_more(bus: Bus) -> None:
    async with pulling(bus) as hands:
        await wait_until(lambda: hands.puller.outstanding > 0, "a pull is parked")
    rung = bells(5)
    for bell in rung:
        await ring(bus, [bell])
    async with pulling(bus) as other:
        await other.hold(5, "all go to the other at once", 2)
        assert sorted(other.ids) == sorted(bell.id for bell in rung)
        assert {delivery.deliveries for delivery in other.taken} == {1}
        await other.ack_all()
    assert hands.taken == []


async def test_pulling_goes_on_after_the_consumer_was_deleted(bus: Bus, topology: Topology) -> None:
    async with pulling(bus) as hands:
        await wait_until(lambda: hands.puller.outstanding > 0, "a pull is parked")
        await bus.jetstream.delete_consumer(topology.stream, topology.task_consumer(Lane.NORMAL, "default"))
        [bell] = bells(1)
        await ring(bus, [bell])
        await hands.hold(1, "it came through the consumer made anew", 5)
        assert hands.misses >= 1
        await hands.ack_all()


async def test_pulling_goes_on_though_making_the_consumer_anew_broke_off(
    bus: Bus, topology: Topology
) -> None:
    with logged(puller) as lines:
        async with pulling(bus) as hands:
            hands.breaks_off = True
            await wait_until(lambda: hands.puller.outstanding > 0, "a pull is parked")
            await bus.jetstream.delete_consumer(
                topology.stream, topology.task_consumer(Lane.NORMAL, "default")
            )
            await wait_until(lambda: hands.misses, "it was tried")
            hands.breaks_off = False
            [bell] = bells(1)
            await ring(bus, [bell])
            await hands.hold(1, "it came through the consumer made anew", 5)
            await hands.ack_all()
    assert "a fault of ours" in repr(lines), "that it broke off is told"


async def test_pulling_goes_on_after_the_stream_was_deleted_and_made_anew(
    bus: Bus, topology: Topology
) -> None:
    async with pulling(bus) as hands:
        await wait_until(lambda: hands.puller.outstanding > 0, "a pull is parked")
        await bus.jetstream.delete_stream(topology.stream)
        await wait_until(lambda: not hands.puller.fetching, "the puller knows")
        assert await ensure_streams(bus) == [topology.stream]
        [bell] = bells(1)
        await ring(bus, [bell])
        await hands.hold(1, "it came", 8)
        assert hands.puller.fetching
        await hands.ack_all()


async def test_moves_are_heard_by_shard_in_order(bus: Bus) -> None:
    task_id = new_id()
    heard: list[Moved] = []
    await subscribe_moves(bus, event_shard(task_id), heard.append)
    moves = [Moved(task_id, seq, seq, "queued", "demo", "default") for seq in range(1, 1_201)]
    other = next(i for i in iter(new_id, "") if event_shard(i) != event_shard(task_id))
    announcer = Announcer(bus)
    await announcer.publish([*moves[:700], Moved(other, 1, 1, "queued", "demo", "default"), *moves[700:]])
    await wait_until(lambda: len(heard) >= 1_200, "all moves were heard")
    assert heard == moves
    await bus.publish(bus.topology.shard_subject(event_shard(task_id)), b"not json")
    await announcer.publish(moves[:1])
    await wait_until(lambda: len(heard) == 1_201, "what cannot be read harms nobody")


async def test_commands_are_heard_by_all(bus: Bus) -> None:
    heard: list[tuple[str, object]] = []

    def ear(name: str) -> Callable[[dict[str, Any]], Awaitable[None]]:
        async def act(body: dict[str, Any]) -> None:
            heard.append((name, body["id"]))

        return act

    await subscribe_control(bus, "cancel", ear("a"))
    await subscribe_control(bus, "cancel", ear("b"))
    await bus.publish(bus.topology.control_subject("cancel"), b"[")
    await publish_control(bus, "pause", {"id": 1})
    await publish_control(bus, "cancel", {"id": 2})
    await wait_until(lambda: len(heard) == 2, "both heard it")
    assert sorted(heard) == [("a", 2), ("b", 2)]


async def test_a_notice_is_kept_until_it_is_handled_and_is_one(bus: Bus, topology: Topology) -> None:
    for _ in range(2):
        await publish_notice(bus, b"{}", "t:1")
    await publish_notice(bus, b"{}", "t:2")
    info = await bus.jetstream.stream_info(topology.dlq_stream)
    assert info.state.messages == 2


async def test_many_rings_at_once_are_all_confirmed(bus: Bus) -> None:
    parts = [bells(300) for _ in range(8)]
    assert await asyncio.gather(*(ring(bus, part) for part in parts)) == [300] * 8
