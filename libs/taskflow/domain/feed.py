"""The feed of all events: who wants which of them, and the ids by which a reader goes on where it was."""

from __future__ import annotations

import re

from msgspec import Struct

from taskflow.domain.task import Moved

POSITIONS_MAX = 1_000
"""Events of one message on the bus."""
_CHECKS = 1_000_000
_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,10})", re.ASCII)


class Place(Struct, frozen=True, order=True):
    """An event's id, `<sequence of the events stream>-<index>`.

    The index holds the event's position in its message, and the microseconds at which the message was stored: the stream
    lives in memory, so that after a restart of NATS the same sequence is another message. Who comes back with an id of
    before is told that it is unknown rather than given what is not the rest of what it read.
    """

    sequence: int
    index: int

    def __str__(self) -> str:
        return f"{self.sequence}-{self.index}"

    @property
    def position(self) -> int:
        """Which event of its message it is, from 0."""
        return self.index % POSITIONS_MAX


NOWHERE = Place(0, 0)
"""Before the first event of a stream that is empty: an id that is never known again."""


def place(sequence: int, at_ns: int, position: int) -> Place:
    """Where the event stands that is at `position` in the message stored at `at_ns` (nanoseconds since 1970)."""
    return Place(sequence, at_ns // 1000 % _CHECKS * POSITIONS_MAX + position)


def parse_place(text: str) -> Place | None:
    """An id as text; None if it is none."""
    found = _ID.fullmatch(text)
    return Place(int(found[1]), int(found[2])) if found else None


class Wanted(Struct, frozen=True):
    """What a reader wants of the feed; an empty set: any. `owner`: only what is his; None: anybody's."""

    owner: str | None = None
    types: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()

    def takes(self, move: Moved) -> bool:
        """Whether this is among it. With statuses wanted, what handlers said is not."""
        return (
            (self.owner is None or self.owner == move.owner)
            and (not self.types or move.type in self.types)
            and (not self.queues or move.queue in self.queues)
            and (not self.statuses or (move.said is None and move.status in self.statuses))
            and (not self.events or event_of(move) in self.events)
        )


def event_of(move: Moved) -> str:
    """What kind of event it is: `task`, `log` or `progress`."""
    return "task" if move.said is None else move.said.event


class Gaps:
    """Tells, by the numbers that processes give their bulletins, when one of them was lost."""

    def __init__(self, processes_max: int = 10_000) -> None:
        self._processes_max = processes_max
        self._last: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def missed(self, by: str, n: int, *, lost: bool = False) -> bool:
        """Whether some of this process's were lost before this one. Where none was heard before it, the process itself
        must know: it says that some may be `lost`.
        """
        last = self._last.pop(by, None)
        self._last[by] = n if last is None else max(n, last)
        if len(self._last) > self._processes_max:
            del self._last[next(iter(self._last))]
        if last is None:
            return self._before.pop(by, None) != n - 1 and lost
        return n > last + 1

    def pause(self) -> None:
        """Nothing was heard for a while: what was lost meanwhile is known to be."""
        if self._last:
            self._before, self._last = self._last, {}
