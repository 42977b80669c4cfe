"""Who comes back to the feed after long: what was missed comes piece by piece, and a slow or unlucky reader is told."""

from __future__ import annotations

import asyncio

import pytest
from tests.integration.feed.conftest import OpenFeed
from tests.integration.feed.test_feed import Frame, moves, parsed, reading, seqs, take
from tests.support.waiting import wait_until

from taskflow.bus.announce import Announcer
from taskflow.bus.connect import Bus
from taskflow.engine import feed_reader
from taskflow.engine.feed import Feed


async def begun_before(feed: Feed, announcer: Announcer, messages: int, events: int) -> Frame:
    """An event that a reader had, after which so much was told."""
    async with reading(feed) as reader:
        await announcer.publish(moves(1, 0))
        [had] = await take(reader, 1)
    for n in range(messages):
        await announcer.publish(moves(events, 1 + n * events))
    return had


async def test_what_was_missed_comes_piece_by_piece(bus: Bus, open_feed: OpenFeed) -> None:
    """In one piece it would hold up everybody, and lie in memory for as long as its reader takes it slowly."""
    had = await begun_before(await open_feed(), Announcer(bus), 60, 500)
    got: list[Frame] = []
    async with reading(await open_feed(), after=had.id) as reader, asyncio.timeout(30):
        while len(got) < 30_000:
            text = await reader.next(1)
            assert len(text) <= 2 * feed_reader.PART_BYTES_MAX
            got += parsed(text)
    assert {frame.event for frame in got} == {"task"}
    assert sorted(seqs(got)) == list(range(1, 30_001))


async def test_who_catches_up_too_slowly_is_told_and_reads_on(
    bus: Bus, open_feed: OpenFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_reader, "CATCH_UP_SECONDS", 0.5)
    announcer = Announcer(bus)
    had = await begun_before(await open_feed(), announcer, 600, 5)
    async with reading(await open_feed(), after=had.id) as reader:
        assert (await take(reader, 1))[0].event == "task"
        over = asyncio.get_running_loop().time() + 0.6
        await wait_until(lambda: asyncio.get_running_loop().time() > over, "the reader has taken its time")
        frame, *rest = await take(reader, 1)
        while frame.event == "task":
            frame, *rest = await take(reader, 1)
        assert (frame.event, frame.data) == ("resync", {"reason": "unknown"}) and not rest
        await announcer.publish(moves(1, 9_999))
        assert seqs(await take(reader, 1)) == [9_999]


async def test_who_finds_no_place_to_catch_up_is_told(
    bus: Bus, open_feed: OpenFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_reader, "CATCH_UP_SECONDS", 0.5)
    had = await begun_before(await open_feed(), Announcer(bus), 2, 5)
    feed = await open_feed()
    for _ in range(feed_reader.CATCHING_UP_MAX):
        await feed._source.catching_up.acquire()
    async with reading(feed, after=had.id) as reader:
        assert (await take(reader, 1))[0].data == {"reason": "unknown"}


async def test_news_that_no_program_of_ours_tells_do_not_keep_a_reader_from_coming_back(
    bus: Bus, open_feed: OpenFeed
) -> None:
    announcer = Announcer(bus)
    had = await begun_before(await open_feed(), announcer, 1, 1)
    no_lane = b'{"by":"x","n":1,"moves":[["1",1,1,"queued","echo","default",99]]}'
    await bus.publish(bus.topology.shard_subject(0), no_lane)
    await announcer.publish(moves(1, 2))
    async with reading(await open_feed(), after=had.id) as reader:
        assert (await take(reader, 1))[0].data == {"reason": "unknown"}
        await announcer.publish(moves(1, 3))
        assert seqs(await take(reader, 1)) == [3]
