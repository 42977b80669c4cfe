"""The newest events, in pages that all readers of a process share: each event is encoded once, each page joined once for
all who want the same of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from msgspec import Struct

from taskflow.domain.feed import NOWHERE, POSITIONS_MAX, Place, Wanted, place
from taskflow.domain.task import Moved

PAGE_EVENTS_MAX = 400
TICK_SECONDS = 0.05
"""How long a page gathers under load: readers are written to so often. Alone, an event goes at once."""
EVENTS_MAX = 32_768
BYTES_MAX = 16 * 1024 * 1024
WOKEN_AT_ONCE = 5
"""Readers that are written to in one turn of the event loop: so that other callers need not wait for all of them."""
BURST_BYTES_MAX = 256 * 1024
SPREAD_SECONDS = 0.04
"""If readers are to be written more than that, the groups come one after the other in that time: most of a tick."""
JOINED_PAGES_MAX = 8
"""Of how many of the newest pages the joined bytes are kept; who is further behind joins its own."""


Framing = Callable[[Place, Moved, int], bytes]
"""An event as readers get it: its id, what moved, and when the bus heard of it (nanoseconds since 1970)."""
Marking = Callable[[Place, str], bytes]
"""How readers are told to look again: the id from which on they are told the rest, and why."""


class Entry(Struct, gc=False):
    """An event as it is written to readers; without `move`, a mark for all of them."""

    place: Place
    frame: bytes
    move: Moved | None = None


class Page:
    """Some events one after the other."""

    __slots__ = ("_joined", "entries", "size")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.size = 0
        self._joined: dict[Wanted, bytes] = {}

    def add(self, entry: Entry) -> None:
        """One more."""
        self.entries.append(entry)
        self.size += len(entry.frame)

    def joined(self, wanted: Wanted, *, keep: bool) -> bytes:
        """The frames of what is wanted, for all who want the same."""
        found = self._joined.get(wanted)
        if found is None:
            found = frames(self.entries, wanted)
            if keep:
                self._joined[wanted] = found
        return found

    def forget(self) -> None:
        """Keep the events alone."""
        self._joined.clear()


def frames(entries: list[Entry], wanted: Wanted) -> bytes:
    """The frames of what is wanted, marks included."""
    return b"".join([e.frame for e in entries if e.move is None or wanted.takes(e.move)])


def entries_of(sequence: int, at_ns: int, moves: Sequence[Moved], framing: Framing) -> list[Entry]:
    """The events of a message of the stream, each encoded."""
    entries = []
    for position, move in enumerate(moves[:POSITIONS_MAX]):
        where = place(sequence, at_ns, position)
        entries.append(Entry(where, framing(where, move, at_ns), move))
    return entries


class Pages:
    """The newest pages by number, bounded in events and bytes. The one that gathers is closed by a timer, or when full."""

    def __init__(self) -> None:
        self._closed: deque[Page] = deque()
        self._first = 0
        self._open = Page()
        self._events = 0
        self._bytes = 0
        self._closed_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[asyncio.Future[None], None] = {}
        self.head = NOWHERE
        """The newest event there is."""

    @property
    def following(self) -> int:
        """The number of the page that gathers."""
        return self._first + len(self._closed)

    def add(self, entry: Entry) -> None:
        """One more event, or a mark."""
        self._open.add(entry)
        self.head = entry.place
        if len(self._open.entries) >= PAGE_EVENTS_MAX:
            self.close()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._closed_at + TICK_SECONDS, loop.time()), self.close)

    def mark(self, frame: bytes) -> None:
        """Tell all readers, unless they were told just before."""
        last = self._open.entries[-1] if self._open.entries else None
        if last is None or last.move is not None:
            self.add(Entry(self.head, frame))

    def close(self) -> None:
        """Give what has gathered to the readers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        page, self._open = self._open, Page()
        if not page.entries:
            return
        self._closed_at = asyncio.get_running_loop().time()
        self._closed.append(page)
        self._events += len(page.entries)
        self._bytes += page.size
        if len(self._closed) > JOINED_PAGES_MAX:
            self._closed[-JOINED_PAGES_MAX - 1].forget()
        while self._events > EVENTS_MAX or self._bytes > BYTES_MAX:
            self._drop()
        waiting, self._waiting = list(self._waiting), {}
        is_much = len(waiting) * page.size > BURST_BYTES_MAX
        self._wake(waiting, SPREAD_SECONDS * WOKEN_AT_ONCE / len(waiting) if is_much else 0.0)

    def _wake(self, waiting: list[asyncio.Future[None]], pause_seconds: float) -> None:
        for each in waiting[:WOKEN_AT_ONCE]:
            if not each.done():
                each.set_result(None)
        if rest := waiting[WOKEN_AT_ONCE:]:
            asyncio.get_running_loop().call_later(pause_seconds, self._wake, rest, pause_seconds)

    def _drop(self) -> None:
        page = self._closed.popleft()
        self._first += 1
        self._events -= len(page.entries)
        self._bytes -= page.size

    async def turned(self) -> None:
        """Until the page that gathers is closed."""
        closed = asyncio.get_running_loop().create_future()
        self._waiting[closed] = None
        try:
            await closed
        finally:
            self._waiting.pop(closed, None)

    def page(self, number: int) -> Page | None:
        """A closed page; None if it is no longer there. Not of one that gathers."""
        return self._closed[number - self._first] if number >= self._first else None

    def joined(self, number: int, wanted: Wanted) -> bytes | None:
        """What is wanted of a closed page; None if it is no longer there."""
        page = self.page(number)
        keep = self.following - number <= JOINED_PAGES_MAX
        return None if page is None else page.joined(wanted, keep=keep)

    def after(self, place: Place) -> tuple[int, list[Entry]] | None:
        """The number of the page that holds this event, and what follows it there; None if none does."""
        for number in range(self.following - 1, self._first - 1, -1):
            entries = self._closed[number - self._first].entries
            if entries[0].place.sequence <= place.sequence <= entries[-1].place.sequence:
                for n, entry in enumerate(entries):
                    if entry.place == place and entry.move is not None:
                        return number, entries[n + 1 :]
        return None

    def clear(self) -> None:
        """Forget all of it."""
        self.close()
        while self._closed:
            self._drop()
        self.head = NOWHERE
