"""What waits in a worker between delivery and claim: a heap a lane, in it the queues take turns. Held by `intake`.

A queue's own entries keep the order of the stream, the oldest first. Between queues it does not count, else a queue with
an old backlog would keep all others from starting.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from taskflow.bus.puller import Delivery


class Entry(NamedTuple):
    """An id that waits here for a slot."""

    id: str
    lane: int
    queue: str
    delivery: Delivery
    since: float


class Heap:
    """The entries of one lane. Adding and taking cost the same however many wait."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Entry]] = {}
        self._turns: deque[str] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, entry: Entry) -> None:
        """Let an entry wait: what was given back, and comes again, before the younger of its queue."""
        waiting = self._queues.get(entry.queue)
        if waiting is None:
            self._queues[entry.queue] = deque((entry,))
            self._turns.append(entry.queue)
        elif waiting[-1].delivery.sequence <= entry.delivery.sequence:
            waiting.append(entry)
        else:
            waiting.insert(bisect_right(waiting, entry.delivery.sequence, key=_sequence), entry)
        self._count += 1

    def take(self) -> Entry:
        """The oldest of the queue whose turn it is."""
        queue = self._turns[0]
        entry = self._queues[queue].popleft()
        self._turns.rotate(-1)
        self._taken(queue, last=-1)
        return entry

    def shed(self) -> Entry:
        """The youngest of the queue whose turn is farthest; the next time, of the one before it."""
        queue = self._turns[-1]
        entry = self._queues[queue].pop()
        self._turns.rotate(1)
        self._taken(queue, last=0)
        return entry

    def drop(self, unwanted: Callable[[Entry], bool]) -> list[Entry]:
        """Take out what is not wanted here any more."""
        dropped = [entry for waiting in self._queues.values() for entry in waiting if unwanted(entry)]
        if dropped:
            kept = [entry for queue in self._turns for entry in self._queues[queue] if not unwanted(entry)]
            self._refill(kept)
        return dropped

    def _taken(self, queue: str, last: int) -> None:
        """The queue, just rotated to one end of the turns, has an entry less."""
        self._count -= 1
        if not self._queues[queue]:
            del self._queues[queue]
            del self._turns[last]

    def _refill(self, entries: Iterable[Entry]) -> None:
        self._queues.clear()
        self._turns.clear()
        self._count = 0
        for entry in entries:
            self.add(entry)


def _sequence(entry: Entry) -> int:
    return entry.delivery.sequence
