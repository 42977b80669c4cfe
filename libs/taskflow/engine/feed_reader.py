"""One reader of the feed: what is wanted of each page as it closes; before that, if it comes back, what it has missed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from taskflow.bus.announce import read_bulletin
from taskflow.bus.connect import Bus
from taskflow.bus.tail import Stored, Tail, TailBroken
from taskflow.domain.errors import Unavailable
from taskflow.domain.feed import Gaps, Place, Wanted, parse_place
from taskflow.engine.feed_pages import (
    PAGE_EVENTS_MAX,
    Entry,
    Framing,
    Marking,
    Pages,
    entries_of,
    frames,
)
from taskflow.kit.logging import get_logger
from taskflow.kit.metrics import counter

log = get_logger(__name__)

STAND_SECONDS = 2.0
"""How long a reader waits for the feed to stand, and for an event that another process has told of a moment ago."""
CATCHING_UP_MAX = 8
CATCH_UP_SECONDS = 60.0
MESSAGES_AT_ONCE = 50
"""Of the stream, for one who catches up."""
PART_BYTES_MAX = 256 * 1024
"""What is written at once to one who catches up: a little more than that at most, as of who keeps up."""

RESYNCS = counter("taskflow_feed_resyncs_total", "How often readers were told to look again.", ["reason"])


class Source:
    """What the readers of a process share."""

    def __init__(self, bus: Bus, framing: Framing, marking: Marking) -> None:
        self.bus = bus
        self.framing = framing
        self.marking = marking
        self.pages = Pages()
        self.standing = asyncio.Event()
        self.is_awaited = False
        """Whether some reader has begun before the feed stood: it may miss what is told until then."""
        self.catching_up = asyncio.Semaphore(CATCHING_UP_MAX)

    def resync(self, reason: str) -> bytes:
        """What tells one reader to look again; what follows is told from the newest event on."""
        RESYNCS.labels(reason).inc()
        self.pages.close()
        return self.marking(self.pages.head, reason)


class Unknown(Exception):
    """What a reader has missed cannot be told."""


class Reader:
    """`after`: the id of the last event it had; None: it begins now."""

    def __init__(self, source: Source, wanted: Wanted, after: str | None) -> None:
        self._source = source
        self._pages = source.pages
        self._wanted = wanted
        self._after = after
        self._missed: AsyncGenerator[bytes, None] | None = None
        self._number: int | None = None
        self.place: Place | None = None
        """The newest event that it was given, or that it does not want."""

    async def next(self, patience_seconds: float) -> bytes:
        """What there is to write, as soon as there is anything; nothing if there is nothing for so long."""
        until = asyncio.get_running_loop().time() + patience_seconds
        while True:
            if self._number is not None:
                found = self._page(self._number)
            elif self._missed is None:
                begun = await self._begin()
                if begun is not None:
                    return begun
                continue
            else:
                found = await self._catch_up(self._missed)
            if found:
                return found
            if self._number is not None and self._number >= self._pages.following:
                try:
                    async with asyncio.timeout_at(until):
                        await self._pages.turned()
                except TimeoutError:
                    return b""

    def _page(self, number: int) -> bytes:
        if number >= self._pages.following:
            return b""
        page = self._pages.page(number)
        if page is None:
            return self._resync("slow")
        self._number = number + 1
        self.place = page.entries[-1].place
        return self._pages.joined(number, self._wanted) or b""

    def _resync(self, reason: str) -> bytes:
        text = self._source.resync(reason)
        self._number, self.place = self._pages.following, self._pages.head
        return text

    async def _begin(self) -> bytes | None:
        """Now, which may have to be told; or after the event it had: then there is something to catch up on (None)."""
        if not (standing := await self._stands()):
            self._source.is_awaited = True
        self._pages.close()
        if self._after is None:
            self._number, self.place = self._pages.following, self._pages.head
            return b""
        after = parse_place(self._after)
        if after is None or not standing:
            return self._resync("unknown")
        self._missed = self._since(after)
        return None

    async def _stands(self) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._source.standing.wait(), STAND_SECONDS)
        return self._source.standing.is_set()

    async def close(self) -> None:
        """Leave, by the task that has read."""
        if self._missed is not None:
            await self._missed.aclose()

    async def _catch_up(self, missed: AsyncGenerator[bytes, None]) -> bytes:
        try:
            return await anext(missed)
        except (Unknown, TailBroken, Unavailable, TimeoutError):
            return self._resync("unknown")
        except StopAsyncIteration:
            return b""
        except Exception as error:  # else it would come back, with the same id and to the same end
            log.exception("feed.catch_up_failed", error=str(error))
            return self._resync("unknown")

    async def _since(self, after: Place) -> AsyncGenerator[bytes, None]:
        """What it has missed, until it has come to the pages, from which it then goes on. Raises Unknown."""
        await self._reached(after)
        rest = self._joins(after)
        if rest is None:
            until = asyncio.get_running_loop().time() + CATCH_UP_SECONDS
            async with (
                self._slot(until),
                Tail(self._source.bus, after.sequence, at_once=MESSAGES_AT_ONCE) as tail,
            ):
                if not tail.waiting:
                    raise Unknown
                past = _Past(after, self._source.framing)
                while rest is None:
                    # Not around what is yielded: there the reader is written to, whom this is not to break off.
                    async with asyncio.timeout_at(until):
                        came = await tail.page()
                    for entries in past.parts(came):
                        if text := frames(entries, self._wanted):
                            yield text
                        await asyncio.sleep(0)
                        if asyncio.get_running_loop().time() > until:
                            raise TimeoutError
                    await self._reached(past.last)
                    rest = self._joins(past.last)
        yield rest

    @contextlib.asynccontextmanager
    async def _slot(self, until: float) -> AsyncIterator[None]:
        async with asyncio.timeout_at(until):
            await self._source.catching_up.acquire()
        try:
            yield
        finally:
            self._source.catching_up.release()

    def _joins(self, last: Place) -> bytes | None:
        """What follows this event in its page, if it is there: the next page is then where the reader is."""
        self._pages.close()
        found = self._pages.after(last)
        if found is None:
            return None
        number, entries = found
        self._number = number + 1
        self.place = entries[-1].place if entries else last
        return frames(entries, self._wanted)

    async def _reached(self, last: Place) -> None:
        """Until the pages go so far, or are not going to."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STAND_SECONDS):
                while self._pages.head < last:
                    await self._pages.turned()


class _Past:
    """Reads the stream again after an event, which must be the very one that the reader had."""

    def __init__(self, after: Place, framing: Framing) -> None:
        self._framing = framing
        self._gaps = Gaps()
        self._sequence = 0
        self._begun = False
        self.last = after

    def parts(self, came: list[Stored]) -> Iterator[list[Entry]]:
        """The events of these messages that come after it, some at a time. Raises Unknown after a gap."""
        part: list[Entry] = []
        size = 0
        for message in came:
            part += (found := self._read(message))
            size += sum(len(entry.frame) for entry in found)
            if len(part) >= PAGE_EVENTS_MAX or size >= PART_BYTES_MAX:
                yield part
                part, size = [], 0
        yield part

    def _read(self, message: Stored) -> list[Entry]:
        bulletin = read_bulletin(message.data)
        moves = bulletin.moves if bulletin is not None else []
        has_missed = bulletin is not None and self._gaps.missed(bulletin.by, bulletin.n, lost=bulletin.lost)
        found = entries_of(message.sequence, message.at_ns, moves, self._framing)
        if not self._begun:
            if all(entry.place != self.last for entry in found):
                raise Unknown
            self._begun = True
            found = [entry for entry in found if entry.place.position > self.last.position]
        elif has_missed or message.sequence != self._sequence + 1:
            raise Unknown
        self._sequence = message.sequence
        if found:
            self.last = found[-1].place
        return found
