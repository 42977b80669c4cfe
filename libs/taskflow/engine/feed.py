"""feed: all events of the system, live, for any number of readers: read once from the bus, for as long as anybody reads.

What it cannot know it says: after a gap, a lost connection, with an id that is unknown, and to who is too slow, it tells to
look again (`resync`). The complete record is each task's own history.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self

from taskflow.bus.announce import read_bulletin
from taskflow.bus.connect import Bus
from taskflow.bus.tail import Stored, Tail, TailBroken
from taskflow.domain.errors import Overloaded, Unavailable
from taskflow.domain.feed import Gaps, Wanted
from taskflow.engine.feed_pages import Entry, Framing, Marking, entries_of
from taskflow.engine.feed_reader import RESYNCS, Reader, Source
from taskflow.kit.logging import get_logger
from taskflow.kit.metrics import counter, gauge

log = get_logger(__name__)

READERS_MAX = 500
LINGER_SECONDS = 30.0
"""How long the bus is read after the last reader has left: many come back."""
RETRY_SECONDS = 0.5

READERS = gauge("taskflow_feed_readers", "Readers of the feed of all events.")
EVENTS = counter("taskflow_feed_events_total", "Events taken from the bus for readers of the feed.")


class Feed:
    """One a process. Enter it; `join` for each reader."""

    def __init__(
        self, bus: Bus, framing: Framing, marking: Marking, *, linger_seconds: float = LINGER_SECONDS
    ) -> None:
        self._bus = bus
        self._linger_seconds = linger_seconds
        self._framing = framing
        self._marking = marking
        self._source = Source(bus, framing, marking)
        self._pages = self._source.pages
        self._standing = self._source.standing
        self._gaps = Gaps()
        self._following: asyncio.Task[None] | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._sequence = 0
        self.readers = 0

    async def __aenter__(self) -> Self:
        READERS.set_function(lambda: self.readers)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        await self._stop()

    @contextlib.asynccontextmanager
    async def join(self, wanted: Wanted, after: str | None = None) -> AsyncIterator[Reader]:
        """A reader of what is wanted, from now on, or from after the event of this id. Raises Overloaded.

        It is read, and left, by one task.
        """
        if self.readers >= READERS_MAX:
            raise Overloaded(f"over {READERS_MAX} readers of the feed", retry_after_seconds=2)
        self.readers += 1
        try:
            self._start()
            reader = Reader(self._source, wanted, after)
            try:
                yield reader
            finally:
                await reader.close()
        finally:
            self.readers -= 1
            if not self.readers:
                self._leave_later()

    def _start(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if self._following is None or self._following.done() or self._following.cancelling():
            self._following = asyncio.create_task(self._follow_after(self._following), name="feed")

    def _leave_later(self) -> None:
        def leave() -> None:
            self._leaving = None
            if not self.readers and self._following is not None:
                self._standing.clear()  # who comes before the end waits for the next beginning
                self._following.cancel()

        self._leaving = asyncio.get_running_loop().call_later(self._linger_seconds, leave)

    async def _follow_after(self, before: asyncio.Task[None] | None) -> None:
        """One at a time: what one leaves behind it clears away."""
        if before is not None:
            await asyncio.wait([before])
        await self._follow()

    async def _stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def _follow(self) -> None:
        """For ever; after each break readers are told that they may have missed something."""
        missed = ""
        try:
            while True:
                try:
                    async with Tail(self._bus) as tail:
                        await self._begin(tail, missed)
                        while True:
                            self._take(await tail.page())
                except (TailBroken, Unavailable) as error:
                    log.warning("feed.broken", error=str(error))
                except Exception as error:  # else its readers would wait for ever
                    log.exception("feed.failed", error=str(error))
                missed = "reconnected"
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._standing.clear()
            self._pages.clear()
            self._gaps = Gaps()

    async def _begin(self, tail: Tail, missed: str) -> None:
        """At the newest message there is, which nobody is given who was not there before it."""
        newest = await tail.page() if tail.waiting else []
        self._sequence = newest[0].sequence if newest else 0
        if missed:
            self._gaps.pause()
        if missed or self._source.is_awaited:
            self._source.is_awaited = False
            self._mark(missed or "reconnected")
        for message in newest[:1]:
            entries, _ = self._read(message)
            if not entries or entries[-1].place != self._pages.head:
                self._add(entries)
        self._take(newest[1:])
        self._pages.close()
        self._standing.set()

    def _take(self, came: list[Stored]) -> None:
        for message in came:
            entries, has_missed = self._read(message)
            if has_missed or (self._sequence and message.sequence != self._sequence + 1):
                self._mark("gap")
            self._sequence = message.sequence
            self._add(entries)

    def _read(self, message: Stored) -> tuple[list[Entry], bool]:
        """Its events, and whether some were lost before it."""
        bulletin = read_bulletin(message.data)
        if bulletin is None:
            return [], False
        has_missed = self._gaps.missed(bulletin.by, bulletin.n, lost=bulletin.lost)
        return entries_of(message.sequence, message.at_ns, bulletin.moves, self._framing), has_missed

    def _add(self, entries: list[Entry]) -> None:
        EVENTS.inc(len(entries))
        for entry in entries:
            self._pages.add(entry)

    def _mark(self, reason: str) -> None:
        RESYNCS.labels(reason).inc()
        self._pages.mark(self._marking(self._pages.head, reason))
