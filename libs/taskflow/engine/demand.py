"""How much of a lane's free room each queue may ask the bus for. Pure; held by `intake`, one a lane.

Asking every queue for all the room would bring, with a hundred queues, a hundred times what fits. So a queue is *quiet*
or *lively*. Each quiet one parks a pull for its even share among all queues, often a single message. The lively ones, that
lately delivered, share the whole room: evenly, with parked pulls, while a share is worth it; else in turns, a few ids
each, with pulls that end at once, so that room that is not used is known to be free again.

Only queues of which something was heard since are looked at; the cost does not grow with those that are silent.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

TURN_IDS = 8
"""A turn: fewer would be a request a message, more would make the others wait."""
TURNS_AT_ONCE = 8
"""Turns are smaller where there is little room, so that so many queues have one at a time."""


class Ask(NamedTuple):
    """What to ask for now. In a turn: of what lies there already, without waiting for more."""

    queue: str
    messages: int
    turn: bool


class _Source:
    """A queue, as this lane knows it."""

    __slots__ = ("came", "ids_per_message", "turn_ids")

    def __init__(self) -> None:
        self.ids_per_message = 0.0
        self.turn_ids = 0
        self.came = False

    def saw(self, ids: int) -> None:
        known = self.ids_per_message
        self.ids_per_message = known + (ids - known) * 0.1 if known else ids
        self.came = True

    def messages(self, ids: int) -> int:
        """How many messages bring so many ids: at least one."""
        return max(1, -(-ids // max(1, round(self.ids_per_message))))


class Demand:
    """The queues of one lane. `outstanding(queue)` is what was asked of it and has not come."""

    def __init__(self, queues: Collection[str], outstanding: Callable[[str], int]) -> None:
        self._sources = {queue: _Source() for queue in queues}
        self._outstanding = outstanding
        self._lively: set[str] = set()
        self._stirred: OrderedDict[str, None] = OrderedDict.fromkeys(queues)
        self._paused: Collection[str] = ()
        self.asked = 0
        """Ids that turns under way may still bring."""

    def pause(self, queues: Collection[str]) -> None:
        """Ask nothing of these; of those that were paused until now, again."""
        resumed = [queue for queue in self._paused if queue not in queues and queue in self._sources]
        self._paused = queues
        for queue in resumed:
            self._stir(queue)

    def delivered(self, queue: str, ids: int) -> None:
        """A message has come: there may be more."""
        source = self._sources[queue]
        source.saw(ids)
        self._lively.add(queue)
        self._use(source, ids if self._outstanding(queue) else source.turn_ids)
        self._stir(queue)

    def ended(self, queue: str, room: int) -> int:
        """A pull of this queue is over and brought less than was asked for. How many messages to park a pull for."""
        source = self._sources[queue]
        if source.turn_ids or not source.came:
            self._lively.discard(queue)
        source.came = False
        self._use(source, source.turn_ids)
        if room <= 0:
            self._stir(queue)
            return 0
        self._stirred.pop(queue, None)
        return 0 if queue in self._paused else source.messages(self._share(queue, room))

    def lively(self, queue: str) -> bool:
        """Whether it delivered lately."""
        return queue in self._lively

    def plan(self, room: int) -> Iterator[Ask]:
        """What to ask for, of those that stirred since, first come first. Each is to be asked before the next is taken."""
        turn = self._turn(room)
        while room > 0 and self._stirred:
            queue, _ = self._stirred.popitem(last=False)
            if queue in self._paused:
                continue
            source = self._sources[queue]
            if not turn or queue not in self._lively:
                yield Ask(queue, source.messages(self._share(queue, room)), turn=False)
            elif not self._outstanding(queue):
                source.turn_ids = max(min(turn, room), 1)
                self.asked += source.turn_ids
                room -= source.turn_ids
                yield Ask(queue, source.messages(source.turn_ids), turn=True)

    def _turn(self, room: int) -> int:
        """How many ids a turn is to bring; 0 if there is room enough without turns."""
        turn = max(1, min(TURN_IDS, room // TURNS_AT_ONCE))
        crowded = len(self._lively) * turn > room
        return max(turn, room // max(1, len(self._stirred))) if crowded else 0

    def _share(self, queue: str, room: int) -> int:
        return room // (len(self._lively) if queue in self._lively else len(self._sources))

    def _use(self, source: _Source, ids: int) -> None:
        used = min(source.turn_ids, ids)
        source.turn_ids -= used
        self.asked -= used

    def _stir(self, queue: str) -> None:
        """In its place, if it waits for its turn already."""
        self._stirred[queue] = None
