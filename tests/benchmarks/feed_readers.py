"""Readers of the feed, a process of their own: `python -m tests.benchmarks.feed_readers`.

On stdin come the orders, a line, and once it has said on stdout that all of them stand, a line with the times; what they
were told goes to stdout.

They share the cores with what they measure, so they are cheap: events are counted, not read, but for the first of all that
came at once, whose age is the greatest. Only the first reader looks at every id.
"""

from __future__ import annotations

import re
import resource
import select
import socket
import sys
import time
from datetime import datetime

import msgspec
from msgspec import Struct, field
from tests.benchmarks.feed_publisher import FIRST

_MINE = b'"type":"feed.'
_RESYNC = b"event: resync"
_KEPT = len(_MINE) - 1
_FIRST = re.compile(rb'"seq":(\d+),[^\n]*?"at":"([^"]+)"')
_ID = re.compile(rb"event: \w+\nid: (\d+)-(\d+)\n")
_READ_BYTES = 512 * 1024
_SMALL_BYTES = 64 * 1024


class Wish(Struct):
    """One reader: what it asks for; how long after the beginning, and for how long, it does not read."""

    query: str = ""
    headers: list[str] = []
    stops_after_seconds: float = 0.0
    stops_seconds: float = 0.0

    @property
    def what(self) -> str:
        """What it wants, in words that are the same for all who want the same."""
        return " ".join([self.query, *self.headers])


class Orders(Struct, kw_only=True):
    """Whom to read from, and what."""

    host: str
    port: int
    readers: list[Wish]


class Times(Struct, kw_only=True):
    """Event 0 is due at `begins`, the others at this rate; it is read `until`."""

    begins: float
    rate: float
    until: float


class Told(Struct):
    """What one reader was told.

    `behind_seconds` is the greatest age of an event by the time in it, `due_seconds` that since it was due to be
    published, `last_seconds` the age of what came last.
    """

    events: int = 0
    resyncs: int = 0
    disordered: int = 0
    bytes: int = 0
    behind_seconds: float = 0.0
    due_seconds: float = 0.0
    last_seconds: float = 0.0
    broke_off: bool = False


class Done(Struct):
    """All of them, in order, and the processor time that it took."""

    told: list[Told]
    cpu_seconds: float = 0.0
    ages: list[float] = field(default_factory=list)
    """The ages met by all readers but those who stop, each the greatest of what came at once."""


class Reader:
    """One connection."""

    def __init__(self, orders: Orders, wish: Wish, *, looks_at_ids: bool) -> None:
        self.wish = wish
        self.told = Told()
        self.ages: list[float] = []
        self._rest = b""
        self._last = (0, 0)
        self._looks_at_ids = looks_at_ids
        self.socket = socket.socket()
        if wish.stops_seconds:  # not the kernel but the api is to notice
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BYTES)
        self.socket.connect((orders.host, orders.port))
        head = "".join(f"{header}\r\n" for header in wish.headers)
        request = f"GET /api/v1/events{wish.query} HTTP/1.1\r\nHost: {orders.host}\r\n{head}\r\n"
        self.socket.sendall(request.encode())
        answer = b""
        while b"\nid: " not in answer:  # the feed stands
            answer += self.socket.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200"), answer
        self.socket.setblocking(False)

    def read(self, times: Times) -> bool:
        """Take what there is; False at the end."""
        data = self.socket.recv(_READ_BYTES)
        now = time.time()
        seen = self._rest + data
        self._rest = seen[-_KEPT:]
        # What is kept is shorter than either by one at least, so that nothing is counted twice.
        self.told.events += seen.count(_MINE)
        self.told.resyncs += seen.count(_RESYNC)
        self.told.bytes += len(data)
        self._age(data, now, times)
        if self._looks_at_ids:
            self._look(data)
        return bool(data)

    def _age(self, data: bytes, now: float, times: Times) -> None:
        found = _FIRST.search(data)
        if found is None or int(found[1]) < FIRST:
            return
        told = self.told
        told.last_seconds = now - datetime.fromisoformat(found[2].decode()).timestamp()
        due = times.begins + (int(found[1]) - FIRST) / times.rate
        told.behind_seconds = max(told.behind_seconds, told.last_seconds)
        told.due_seconds = max(told.due_seconds, now - due)
        self.ages.append(round(told.last_seconds, 4))

    def _look(self, data: bytes) -> None:
        for sequence, index in _ID.findall(data):
            place = (int(sequence), int(index))
            self.told.disordered += place <= self._last
            self._last = place


def read_all(readers: list[Reader], times: Times) -> Done:
    """Read until the time is over."""
    by_number = {reader.socket.fileno(): reader for reader in readers}
    poll = select.epoll()
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    turns = _turns(readers, times.begins)
    while (now := time.time()) < times.until:
        while turns and turns[0][0] <= now:
            _, number, events = turns.pop(0)
            poll.modify(number, events)
        for number, _ in poll.poll(0.2):
            if not by_number[number].read(times):
                by_number[number].told.broke_off = True
                poll.unregister(number)
    used = resource.getrusage(resource.RUSAGE_SELF)
    ages = [age for reader in readers if not reader.wish.stops_seconds for age in reader.ages]
    return Done([reader.told for reader in readers], used.ru_utime + used.ru_stime, ages)


def _turns(readers: list[Reader], begins: float) -> list[tuple[float, int, int]]:
    """When which reader stops and goes on."""
    found = []
    for reader in readers:
        if wish := reader.wish if reader.wish.stops_seconds else None:
            number, at = reader.socket.fileno(), begins + wish.stops_after_seconds
            found += [(at, number, 0), (at + wish.stops_seconds, number, select.EPOLLIN)]
    return sorted(found)


def main() -> None:
    """Connect, say so, read, tell."""
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    readers = [Reader(orders, wish, looks_at_ids=n == 0) for n, wish in enumerate(orders.readers)]
    print("standing", flush=True)
    times = msgspec.json.decode(sys.stdin.buffer.readline(), type=Times)
    sys.stdout.buffer.write(msgspec.json.encode(read_all(readers, times)))


if __name__ == "__main__":
    main()
