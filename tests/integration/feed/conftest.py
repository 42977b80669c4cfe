"""A bus with its streams, and feeds on it: each is what one api process has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from tests.contract.bus.conftest import bus, empty_bus, topology

from taskflow.bus.connect import Bus
from taskflow.engine.feed import Feed
from taskflow_api import feed_frames

__all__ = ["bus", "empty_bus", "feed", "open_feed", "topology"]

OpenFeed = Callable[[], Awaitable[Feed]]


@pytest.fixture
async def open_feed(bus: Bus) -> AsyncIterator[OpenFeed]:
    """Opens one more feed, on a connection of its own."""
    async with AsyncExitStack() as stack:

        async def open_one() -> Feed:
            beside = await stack.enter_async_context(bus.beside())
            return await stack.enter_async_context(Feed(beside, feed_frames.frame, feed_frames.mark))

        yield open_one


@pytest.fixture
async def feed(open_feed: OpenFeed) -> Feed:
    """A feed."""
    return await open_feed()
