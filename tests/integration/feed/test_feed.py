"""The feed of all events: nothing comes twice, nothing is missed without a word, and nobody slows anybody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from tests.integration.feed.conftest import OpenFeed
from tests.support.proxy import fault_proxy
from tests.support.waiting import wait_until

from taskflow.bus.announce import Announcer
from taskflow.bus.connect import Bus
from taskflow.bus.streams import ensure_streams
from taskflow.domain.feed import Wanted
from taskflow.domain.task import Moved, Said
from taskflow.engine import feed_pages, feed_reader
from taskflow.engine.feed import Feed
from taskflow.engine.feed_reader import Reader
from taskflow.kit.ids import new_id
from taskflow_api import feed_frames

ALL = Wanted()
ANN = "0190aaaa-0000-7000-8000-000000000001"


class Frame(NamedTuple):
    """One frame as a reader gets it."""

    event: str
    id: str
    data: dict[str, Any]


def parsed(text: bytes) -> Iterator[Frame]:
    for block in text.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            yield Frame(fields["event"], fields["id"], json.loads(fields["data"]))


async def take(reader: Reader, count: int) -> list[Frame]:
    """The next frames, at least so many."""
    got: list[Frame] = []
    async with asyncio.timeout(15):
        while len(got) < count:
            got += parsed(await reader.next(1))
    return got


@asynccontextmanager
async def reading(feed: Feed, wanted: Wanted = ALL, after: str | None = None) -> AsyncIterator[Reader]:
    """A reader that has begun."""
    async with feed.join(wanted, after) as reader:
        if after is None:
            assert await reader.next(1) == b""
        yield reader


def moves(count: int, first: int = 1, **more: Any) -> list[Moved]:
    """Moves that are told apart by `seq`."""
    return [Moved(new_id(), first + n, 1, "queued", "echo", "default", **more) for n in range(count)]


async def lose_connection(bus: Bus) -> None:
    """Lose it, and find another."""
    before = bus.connections
    bus.client._transport.close()  # type: ignore[union-attr]
    await wait_until(lambda: bus.connections > before, "it has connected again")


def seqs(frames: list[Frame]) -> list[int]:
    return [frame.data["seq"] for frame in frames]


async def test_events_come_in_order_each_once_to_all_and_are_joined_once(feed: Feed, bus: Bus) -> None:
    announcer = Announcer(bus)
    async with (
        reading(feed) as one,
        reading(feed) as other,
        reading(feed, Wanted(events=frozenset({"log"}))) as third,
    ):
        one_id = new_id()
        for n in range(1, 6):
            await announcer.publish([Moved(one_id, n, n, "running", "echo", "default", 3)])
        said = Said("log", 1, "info", "hello", None)
        await announcer.publish([Moved(one_id, 6, 5, "running", "echo", "default", 3, None, said)])
        texts = [await one.next(5), await other.next(5)]
        while b'"seq":6' not in texts[0]:
            texts = [texts[0] + await one.next(5), texts[1] + await other.next(5)]
        assert texts[0] == texts[1]
        got = list(parsed(texts[0]))
        assert seqs(got) == [1, 2, 3, 4, 5, 6]
        assert [frame.event for frame in got] == ["task"] * 5 + ["log"]
        first, last = got[0].data, got[-1].data
        assert first.pop("at").endswith("Z")
        assert first == {
            "task_id": one_id, "seq": 1, "version": 1, "status": "running", "type": "echo", "queue": "default",
            "priority": "low",
        }  # fmt: skip
        assert (last["level"], last["message"], last["number"]) == ("info", "hello", 1)
        assert seqs(await take(third, 1)) == [6]


async def test_a_reader_is_given_what_it_wants_and_may_see(feed: Feed, bus: Bus) -> None:
    announcer = Announcer(bus)
    told = [
        Moved(new_id(), 1, 1, "queued", "echo", "default"),
        Moved(new_id(), 2, 1, "queued", "mail", "bulk", 2, ANN),
        Moved(new_id(), 3, 1, "failed", "mail", "bulk", 2, ANN),
        Moved(new_id(), 4, 1, "running", "echo", "bulk", 2, ANN, Said("progress", 1, None, "half", 0.5)),
    ]
    wishes = {
        Wanted(owner=ANN): [2, 3, 4],
        Wanted(owner=new_id()): [],
        Wanted(types=frozenset({"mail"})): [2, 3],
        Wanted(queues=frozenset({"bulk"}), statuses=frozenset({"failed", "running"})): [3],
        Wanted(events=frozenset({"progress"})): [4],
        ALL: [1, 2, 3, 4],
    }
    for wanted, expected in wishes.items():
        async with reading(feed, wanted) as reader, reading(feed) as end:
            for move in told:
                await announcer.publish([move])
            await take(end, 4)
            got = list(parsed(await reader.next(0.2)))
            assert seqs(got) == expected, wanted
            await wait_until(lambda: reader.place == end.place, "it stands where all do")


async def test_who_comes_back_goes_on_here_and_at_any_other_api(bus: Bus, open_feed: OpenFeed) -> None:
    """Between two feeds and back, while several processes publish: none missing, none twice."""
    feeds = [await open_feed(), await open_feed()]
    count, processes = 1_500, 3

    async def publish(first: int) -> None:
        announcer = Announcer(bus)
        for start in range(first, first + count, 5):
            await announcer.publish(moves(5, start))
            await asyncio.sleep(0)

    got: list[Frame] = []
    async with reading(feeds[0]) as reader:
        await Announcer(bus).publish(moves(1, 0))
        [begun] = await take(reader, 1)
    publishing = asyncio.gather(*(publish(1 + n * count) for n in range(processes)))
    last, turn = begun.id, 0
    async with asyncio.timeout(30):
        while len(got) < count * processes:
            turn += 1
            async with reading(feeds[turn % 2], after=last) as reader:
                got += parsed(await reader.next(1))
            assert {frame.event for frame in got} <= {"task"}
            last = got[-1].id if got else last
    await publishing
    assert turn > 3
    assert sorted(seqs(got)) == list(range(1, count * processes + 1))
    assert len({frame.id for frame in got}) == len(got)


async def test_a_feed_that_nobody_has_read_yet_knows_what_was_before(bus: Bus, open_feed: OpenFeed) -> None:
    announcer = Announcer(bus)
    async with reading(await open_feed()) as reader:
        await announcer.publish(moves(40))
        got = await take(reader, 40)
    await announcer.publish(moves(400, 41))
    told = 440
    for n in (0, 7, 39):
        async with reading(await open_feed(), after=got[n].id) as reader:
            rest = await take(reader, told - n - 1)
            assert sorted(seqs(rest)) == sorted(set(range(1, told + 1)) - set(seqs(got[: n + 1])))
            told += 1
            await announcer.publish(moves(1, told))
            assert seqs(await take(reader, 1)) == [told]


async def test_an_unknown_id_is_told(feed: Feed, bus: Bus, open_feed: OpenFeed) -> None:
    announcer = Announcer(bus)
    async with reading(feed) as reader:
        await announcer.publish(moves(3))
        got = await take(reader, 3)
    sequence, index = map(int, got[-1].id.split("-"))
    for odd in (
        f"{sequence}-{index + 1_000}",
        f"{sequence + 1_000_000}-{index}",
        "0-0",
        f"{'9' * 20}-1",
        "1-9999999999",
    ):
        async with reading(await open_feed(), after=odd) as reader:
            frame, *_ = await take(reader, 1)
            assert (frame.event, frame.data) == ("resync", {"reason": "unknown"}), odd
            assert frame.id == got[-1].id
            await announcer.publish(moves(1, 9))
            assert seqs(await take(reader, 1)) == [9]
        got = [Frame("task", str(reader.place), {})]


async def test_an_id_of_a_stream_that_is_gone_is_unknown_though_its_sequence_is_there_again(
    bus: Bus, open_feed: OpenFeed
) -> None:
    """JetStream forgets a stream in memory when NATS restarts, and counts from the beginning."""
    announcer = Announcer(bus)
    feed = await open_feed()
    async with reading(feed) as reader:
        for n in range(1, 4):
            await announcer.publish(moves(1, n))
        got = await take(reader, 3)
        await bus.jetstream.delete_stream(bus.topology.events_stream)
        await ensure_streams(bus)
        for n in range(11, 16):
            await announcer.publish(moves(1, n))
        frame, *_ = await take(reader, 1)
        assert (frame.event, frame.data["reason"]) in {("resync", "reconnected"), ("resync", "gap")}
    assert got[1].id.startswith("2-")
    for back in (feed, await open_feed()):
        async with reading(back, after=got[1].id) as reader:
            [frame] = (await take(reader, 1))[:1]
            if (
                back is feed and frame.event == "task"
            ):  # it has the event itself still; then comes what it was told of
                assert frame.id == got[2].id
                continue
            assert (frame.event, frame.data["reason"]) == ("resync", "unknown")


async def test_news_that_were_lost_are_told(bus: Bus, open_feed: OpenFeed) -> None:
    announcer, other = Announcer(bus), Announcer(bus)
    async with reading(await open_feed()) as reader:
        await announcer.publish(moves(1, 1))
        await other.publish(moves(1, 2))
        announcer.skip()
        await other.publish(moves(1, 3))
        await announcer.publish(moves(1, 4))
        got = await take(reader, 5)
    assert [frame.event for frame in got] == ["task", "task", "task", "resync", "task"]
    assert got[3].data == {"reason": "gap"}
    async with reading(await open_feed(), after=got[0].id) as reader:
        told = await take(reader, 1)
        assert told[-1].event == "resync"


async def test_who_speaks_first_says_himself_what_he_could_not_tell(bus: Bus, open_feed: OpenFeed) -> None:
    announcer, other = Announcer(bus), Announcer(bus)
    announcer.skip()
    async with reading(await open_feed()) as reader:
        await other.publish(moves(1, 1))
        await announcer.publish(moves(1, 2))
        await announcer.publish(moves(1, 3))
        got = await take(reader, 4)
    assert [frame.event for frame in got] == ["task", "resync", "task", "task"]
    assert got[1].data == {"reason": "gap"}
    here = await open_feed()
    async with reading(here, after=got[0].id) as reader:
        [frame] = await take(reader, 1)
        assert (frame.event, frame.data) == ("resync", {"reason": "unknown"})
    async with reading(here, after=got[2].id) as reader:  # it has been told
        assert seqs(await take(reader, 1)) == [3]


async def test_news_sent_over_a_connection_that_is_lost_may_be_lost_with_it(
    bus: Bus, open_feed: OpenFeed
) -> None:
    async with bus.beside() as far:
        announcer, other = Announcer(far), Announcer(bus)
        async with reading(await open_feed()) as reader:
            await announcer.publish(moves(1, 1))
            await other.publish(moves(1, 2))
            await take(reader, 2)
            await lose_connection(far)
            await other.publish(moves(1, 3))
            got = await take(reader, 1)
            await announcer.publish(moves(1, 4))
            got += await take(reader, 1)
            assert seqs(got) == [3, 4]  # who has heard all of his knows that nothing was lost
        async with reading(await open_feed(), after=got[0].id) as reader:
            assert (await take(reader, 1))[0].event == "resync"


async def test_a_feed_that_opens_amid_news_tells_of_no_gap(bus: Bus) -> None:
    announcer = Announcer(bus)

    async def publish() -> None:
        while True:
            for move in moves(100):
                await announcer.publish([move])
            await asyncio.sleep(0)

    publishing = asyncio.create_task(publish())
    try:
        for _ in range(10):
            async with Feed(bus, feed_frames.frame, feed_frames.mark) as feed, reading(feed) as reader:
                assert {frame.event for frame in await take(reader, 300)} == {"task"}
    finally:
        publishing.cancel()


async def test_who_is_too_slow_is_told_and_holds_up_nobody(feed: Feed, bus: Bus) -> None:
    announcer = Announcer(bus)
    total = feed_pages.EVENTS_MAX + 4_232
    async with reading(feed) as slow, reading(feed) as quick:
        await announcer.publish(moves(1, 0))
        assert seqs(await take(slow, 1)) == [0]
        got: list[Frame] = await take(quick, 1)
        for start in range(0, total, 500):
            await announcer.publish(moves(500, start))
            got += await take(quick, 500)
        assert len(got) == total + 1 and {frame.event for frame in got} == {"task"}
        frame, *rest = await take(slow, 1)
        assert (frame.event, frame.data) == ("resync", {"reason": "slow"}) and not rest
        assert frame.id == got[-1].id
        await announcer.publish(moves(1, 5))
        assert seqs(await take(slow, 1)) == [5]


async def test_a_lost_connection_is_told_and_the_feed_goes_on(feed: Feed, bus: Bus) -> None:
    announcer = Announcer(bus)
    async with reading(feed) as reader:
        await announcer.publish(moves(1, 1))
        await take(reader, 1)
        feed_bus = feed._bus
        await lose_connection(feed_bus)
        frame = (await take(reader, 1))[0]
        assert (frame.event, frame.data) == ("resync", {"reason": "reconnected"})
        await wait_until(lambda: feed_bus.connected, "it is connected")
        await announcer.publish(moves(1, 2))
        assert 2 in seqs([f for f in await take(reader, 1) if f.event == "task"])


@pytest.mark.parametrize("after_another", [False, True])
async def test_who_begins_before_the_feed_stands_is_told(
    bus: Bus, nats_url: str, monkeypatch: pytest.MonkeyPatch, after_another: bool
) -> None:
    """Also while the feed is about to end, which the reader before had left."""
    monkeypatch.setattr(feed_reader, "STAND_SECONDS", 0.2)
    announcer = Announcer(bus)
    with fault_proxy(nats_url) as proxy:
        async with (
            Bus(proxy.url, bus.topology, name="test") as far,
            Feed(far, feed_frames.frame, feed_frames.mark, linger_seconds=0) as feed,
        ):
            if after_another:
                async with reading(feed) as reader:
                    await announcer.publish(moves(1, 0))
                    await take(reader, 1)
            proxy.hold()
            if after_another:
                await wait_until(
                    lambda: feed._following and feed._following.cancelling(), "it ends", interval=0
                )
            async with reading(feed) as reader:
                for n in range(1, 4):
                    await announcer.publish(moves(1, n))
                proxy.heal()
                frame, *_ = await take(reader, 1)
                assert (frame.event, frame.data) == ("resync", {"reason": "reconnected"})


async def test_news_that_no_program_of_ours_tells_do_not_end_the_feed(feed: Feed, bus: Bus) -> None:
    announcer = Announcer(bus)
    async with reading(feed) as reader:
        no_lane = b'{"by":"x","n":1,"moves":[["1",1,1,"queued","echo","default",99]]}'
        await bus.publish(bus.topology.shard_subject(0), no_lane)
        await announcer.publish(moves(1, 2))
        got = await take(reader, 2)
    assert [frame.event for frame in got] == ["resync", "task"]


async def test_the_bus_is_read_only_while_somebody_reads_the_feed(bus: Bus) -> None:
    announcer = Announcer(bus)

    async def consumers() -> int:
        return (await bus.jetstream.stream_info(bus.topology.events_stream)).state.consumer_count

    async with Feed(bus, feed_frames.frame, feed_frames.mark, linger_seconds=0) as feed:
        for n in range(1, 4):
            async with reading(feed) as reader:
                await announcer.publish(moves(1, n))
                [frame] = await take(reader, 1)
                assert frame.data["seq"] == n
                assert await consumers() >= 1
        await wait_until(lambda: feed._following is not None and feed._following.done(), "nobody reads it")
        async with reading(feed, after=frame.id) as reader:
            await announcer.publish(moves(1, 4))
            assert seqs(await take(reader, 1)) == [4]
