"""deliver: doorbells from the bus into local heaps, and out of them in the order of the contract.

Demand follows the free slots (`demand` shares them among the queues), so that ids lie here only for moments: what is not
claimed within a second goes back to the bus for a worker that is free, and at once when the last slot fills, but for what
will start within 50 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Self

from taskflow.bus.connect import Bus
from taskflow.bus.puller import Delivery, Puller, Watch
from taskflow.bus.streams import ensure_task_consumer
from taskflow.domain.task import Lane
from taskflow.engine.demand import Demand
from taskflow.engine.heaps import Entry, Heap
from taskflow.engine.meters import DELIVERED, GIVEN_BACK
from taskflow.kit.logging import get_logger

log = get_logger(__name__)

HEAP_SECONDS_MAX = 1.0
AHEAD_SECONDS = 0.05
FAIR_START = 16
"""Every so many starts, one goes to the lowest lane that waits."""
BUSY_DELAYS_SECONDS = {Lane.CRITICAL: 0.01, Lane.HIGH: 0.02, Lane.NORMAL: 0.05, Lane.LOW: 0.1}
"""How long what a full worker gives back stays on the server, so that it does not come straight back to it.

Short for the urgent: when every worker is full, this is what it waits beside the next slot that frees.
"""
_FIRST, _AGAIN = DELIVERED.labels("false"), DELIVERED.labels("true")
QUIET_SECONDS = 0.02
"""The pulls of quiet queues are parked so long for each of them, that they cost next to nothing however many there are."""


class Intake:
    """The pullers of a worker's queues, and the heaps between them and the claim.

    `free_slots()` is asked whenever demand is reckoned; `on_arrival()` is called when something lies here.
    """

    def __init__(
        self,
        bus: Bus,
        queues: Sequence[str],
        *,
        free_slots: Callable[[], int],
        on_arrival: Callable[[], None],
        park_seconds: float,
    ) -> None:
        self._bus = bus
        self._free_slots = free_slots
        self._on_arrival = on_arrival
        self._heaps = [Heap() for _ in Lane]
        self._doubtful: list[Entry] = []
        self.paused: set[str] = set()
        self._refusals: set[asyncio.Task[None]] = set()
        self._open = False
        self._starts = 0
        self._rate = _Rate()
        self._park_seconds = park_seconds
        self._quiet_seconds = max(park_seconds, QUIET_SECONDS * len(queues) * len(Lane))
        self._pullers: dict[tuple[int, str], Puller] = {
            (lane, queue): self._puller(lane, queue) for queue in queues for lane in Lane
        }
        self._watch = Watch(bus, self._pullers.values(), park_seconds)
        self._demands = [Demand(queues, self._outstanding(lane)) for lane in Lane]

    async def __aenter__(self) -> Self:
        await self._watch.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = False
        await self._watch.__aexit__()
        await self.give_back(self._emptied(), 0)

    @property
    def fetching(self) -> bool:
        """Whether every pull is answered by the server: the worker's readiness."""
        return self._bus.connected and all(puller.fetching for puller in self._pullers.values())

    def __len__(self) -> int:
        return sum(len(heap) for heap in self._heaps)

    async def prepare(self) -> None:
        """Make the consumers of this worker's queues."""
        for lane, queue in self._pullers:
            await ensure_task_consumer(self._bus, lane, queue)

    async def open(self, accept: bool) -> None:
        """Begin to take deliveries, or stop and give back what lies here."""
        if accept == self._open:
            return
        self._open = accept
        if not accept:
            await self.give_back(self._emptied(), 0)
        await self.rearm()

    async def pause(self, queues: set[str]) -> None:
        """Do not pull these queues; what lies here of them goes back."""
        if queues == self.paused:
            return
        self.paused = queues
        for demand in self._demands:
            demand.pause(queues)
        await self.give_back(self._drop(lambda entry: entry.queue in queues), None)
        await self.rearm()

    def take(self, count: int) -> list[Entry]:
        """Up to `count` entries: highest lane first, within it the queues in turns, every 16th from the lowest lane."""
        taken: list[Entry] = []
        while len(taken) < count:
            waiting = [heap for heap in self._heaps if heap]
            if not waiting:
                break
            self._starts += 1
            heap = waiting[-1] if self._starts % FAIR_START == 0 else waiting[0]
            taken.append(heap.take())
        self._rate.add(len(taken))
        return taken

    async def settle(self, entry: Entry) -> None:
        """This id was tried; a delivery is acked after its last one."""
        entry.delivery.untried -= 1
        if entry.delivery.untried <= 0:
            await entry.delivery.ack()

    async def give_back(self, entries: Sequence[Entry], delay_seconds: float | None) -> None:
        """Return the messages of entries to the bus, whole, so that they keep their place and their stamp.

        They stay there for `delay_seconds`; None: as long as a full worker's stay, by lane.

        Ids that were tried already come again with the rest; `doubtful` is where they are sorted out.
        """
        for entry in {id(entry.delivery): entry for entry in entries}.values():
            delay = BUSY_DELAYS_SECONDS[Lane(entry.lane)] if delay_seconds is None else delay_seconds
            GIVEN_BACK.inc()
            await entry.delivery.nak(delay)

    def doubtful(self) -> list[Entry]:
        """Ids of messages that came again, some of which may have been tried. `admit` those that still wait."""
        doubtful, self._doubtful = self._doubtful, []
        return doubtful

    def admit(self, entries: Sequence[Entry]) -> None:
        """Let entries wait here for a slot, in the order of the stream: what was given back comes before the younger."""
        for entry in entries:
            self._heaps[entry.lane].add(entry)

    async def rearm(self) -> None:
        """Ask each lane for what could start soon: free slots, and what frees within 50 ms at the present rate."""
        for lane, demand in enumerate(self._demands):
            for ask in demand.plan(self._room(lane)):
                puller = self._pullers[lane, ask.queue]
                if ask.turn:
                    await puller.sweep(ask.messages)
                else:
                    await puller.demand(ask.messages, self._parked_for(lane, ask.queue))

    async def tidy(self) -> None:
        """Give back what has lain here too long, and what a full worker will not start soon."""
        late = time.monotonic() - HEAP_SECONDS_MAX
        if stale := self._drop(lambda entry: entry.since < late):
            await self.give_back(stale, None)
        await self.shed()

    async def shed(self) -> None:
        """Give back what a full worker will not start soon; else ask for more."""
        if self._free_slots() <= 0 and (surplus := self._surplus()):
            await self.give_back(surplus, None)
        await self.rearm()

    def _room(self, lane: int) -> int:
        """What may be asked for in this lane: all that what waits, or is on its way, here and in higher lanes leaves."""
        if not self._open:
            return 0
        room = self._free_slots() + self._ahead()
        for above in range(lane + 1):
            room -= len(self._heaps[above]) + self._demands[above].asked
        return room

    def _outstanding(self, lane: int) -> Callable[[str], int]:
        return lambda queue: self._pullers[lane, queue].outstanding

    def _parked_for(self, lane: int, queue: str) -> float:
        return self._park_seconds if self._demands[lane].lively(queue) else self._quiet_seconds

    def _ahead(self) -> int:
        return int(self._rate.per_second() * AHEAD_SECONDS)

    def _surplus(self) -> list[Entry]:
        """The lowest lanes go first, and of a lane the youngest."""
        surplus: list[Entry] = []
        count = len(self) - self._ahead()
        for heap in reversed(self._heaps):
            while heap and len(surplus) < count:
                surplus.append(heap.shed())
        return surplus

    def _emptied(self) -> list[Entry]:
        return self._drop(lambda _: True)

    def _drop(self, unwanted: Callable[[Entry], bool]) -> list[Entry]:
        dropped = [entry for entry in self._doubtful if unwanted(entry)]
        self._doubtful = [entry for entry in self._doubtful if not unwanted(entry)]
        for heap in self._heaps:
            dropped += heap.drop(unwanted)
        return dropped

    def _refuse(self, delivery: Delivery, lane: int) -> None:
        """A pull that was parked before a pause or a drain may still bring something: it goes back. Rubbish just goes."""
        if not delivery.ids:
            log.warning("doorbell.discarded", subject=delivery.subject, bytes=len(delivery.payload))
        GIVEN_BACK.inc(bool(delivery.ids))
        answer = delivery.nak(BUSY_DELAYS_SECONDS[Lane(lane)]) if delivery.ids else delivery.ack()
        refusal = asyncio.create_task(answer)
        self._refusals.add(refusal)
        refusal.add_done_callback(self._refusals.discard)

    def _delivered(self, lane: int, queue: str, delivery: Delivery) -> None:
        self._demands[lane].delivered(queue, len(delivery.ids))
        (_AGAIN if delivery.deliveries > 1 else _FIRST).inc()
        if not delivery.ids or queue in self.paused or not self._open:
            self._refuse(delivery, lane)
            return
        since = time.monotonic()
        entries = [Entry(value, lane, queue, delivery, since) for value in delivery.ids]
        if len(entries) > 1 and delivery.deliveries > 1:
            self._doubtful += entries
        else:
            self.admit(entries)
        self._on_arrival()

    def _ended(self, lane: int, queue: str) -> tuple[int, float]:
        messages = self._demands[lane].ended(queue, self._room(lane))
        return messages, self._parked_for(lane, queue)

    async def _missing(self, lane: int, queue: str) -> None:
        """The stream or consumer was made anew: un-acked deliveries of the old one are not to be acked."""
        await ensure_task_consumer(self._bus, lane, queue)
        for entry in self._drop(lambda entry: entry.lane == lane and entry.queue == queue):
            entry.delivery.settled = True

    def _puller(self, lane: int, queue: str) -> Puller:
        topology = self._bus.topology
        return Puller(
            self._bus,
            stream=topology.stream,
            consumer=topology.task_consumer(lane, queue),
            on_delivery=lambda _puller, delivery: self._delivered(lane, queue, delivery),
            on_missing=lambda: self._missing(lane, queue),
            on_end=lambda: self._ended(lane, queue),
            park_seconds=self._park_seconds,
        )


class _Rate:
    """Starts per second, over the last second or so."""

    def __init__(self) -> None:
        self._count = 0
        self._since = time.monotonic()
        self._last = 0.0

    def add(self, count: int) -> None:
        self._roll()
        self._count += count

    def per_second(self) -> float:
        self._roll()
        span = time.monotonic() - self._since
        return max(self._last, self._count / max(span, 0.25))

    def _roll(self) -> None:
        span = time.monotonic() - self._since
        if span >= 0.5:
            self._last = self._count / span if span < 2 else 0.0
            self._count, self._since = 0, time.monotonic()
