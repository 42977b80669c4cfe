"""deliver: doorbells from the bus into local heaps, and out of them in the order of the contract.

Demand follows the free slots, so that ids lie here only for moments: what is not claimed within a second goes back to
the bus for a worker that is free, and at once when the last slot fills, but for what will start within 50 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple, Self

from taskflow.bus.connect import Bus
from taskflow.bus.puller import Delivery, Puller
from taskflow.bus.streams import ensure_task_consumer
from taskflow.domain.task import Lane
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


class Entry(NamedTuple):
    """An id that waits here for a slot."""

    id: str
    lane: int
    queue: str
    delivery: Delivery
    since: float


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
        self._heaps: list[deque[Entry]] = [deque() for _ in Lane]
        self._doubtful: list[Entry] = []
        self.paused: set[str] = set()
        self._refusals: set[asyncio.Task[None]] = set()
        self._open = False
        self._starts = 0
        self._rate = _Rate()
        self._ids_per_message = 1.0
        self._stack = AsyncExitStack()
        self._pullers: dict[tuple[int, str], Puller] = {
            (lane, queue): self._puller(lane, queue, park_seconds) for queue in queues for lane in Lane
        }

    async def __aenter__(self) -> Self:
        for puller in self._pullers.values():
            await self._stack.enter_async_context(puller)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = False
        await self._stack.aclose()
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
        await self.give_back(self._drop(lambda entry: entry.queue in queues), None)
        await self.rearm()

    def take(self, count: int) -> list[Entry]:
        """Up to `count` entries: highest lane first, first come first within it, every 16th from the lowest lane."""
        taken: list[Entry] = []
        while len(taken) < count:
            waiting = [heap for heap in self._heaps if heap]
            if not waiting:
                break
            self._starts += 1
            heap = waiting[-1] if self._starts % FAIR_START == 0 else waiting[0]
            taken.append(heap.popleft())
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
            await entry.delivery.nak(delay)

    def doubtful(self) -> list[Entry]:
        """Ids of messages that came again, some of which may have been tried. `admit` those that still wait."""
        doubtful, self._doubtful = self._doubtful, []
        return doubtful

    def admit(self, entries: Sequence[Entry]) -> None:
        """Let entries wait here for a slot, in the order of the stream: what was given back comes before the younger."""
        for entry in entries:
            heap, sequence = self._heaps[entry.lane], entry.delivery.sequence
            if not heap or heap[-1].delivery.sequence <= sequence:
                heap.append(entry)
            else:
                younger = (n for n, other in enumerate(heap) if other.delivery.sequence > sequence)
                heap.insert(next(younger), entry)

    async def rearm(self) -> None:
        """Ask each lane for what could start soon: free slots, and what frees within 50 ms at the present rate."""
        room = self._free_slots() + self._ahead() if self._open else 0
        for (lane, queue), puller in self._pullers.items():
            room_here = room - sum(len(heap) for heap in self._heaps[: lane + 1])
            ids = 0 if queue in self.paused else max(0, room_here)
            await puller.demand(-(-ids // max(1, round(self._ids_per_message))))

    async def tidy(self) -> None:
        """Give back what has lain here too long, and what a full worker will not start soon."""
        late = time.monotonic() - HEAP_SECONDS_MAX
        stale = self._drop(lambda entry: entry.since < late)
        if self._free_slots() <= 0:
            stale += self._surplus()
        if stale:
            await self.give_back(stale, None)
        await self.rearm()

    def _ahead(self) -> int:
        return int(self._rate.per_second() * AHEAD_SECONDS)

    def _surplus(self) -> list[Entry]:
        """The lowest lanes go first, and of a lane the youngest."""
        surplus: list[Entry] = []
        count = len(self) - self._ahead()
        for heap in reversed(self._heaps):
            while heap and len(surplus) < count:
                surplus.append(heap.pop())
        return surplus

    def _emptied(self) -> list[Entry]:
        return self._drop(lambda _: True)

    def _drop(self, unwanted: Callable[[Entry], bool]) -> list[Entry]:
        dropped = [entry for entry in self._doubtful if unwanted(entry)]
        self._doubtful = [entry for entry in self._doubtful if not unwanted(entry)]
        for lane, heap in enumerate(self._heaps):
            if any(unwanted(entry) for entry in heap):
                dropped += [entry for entry in heap if unwanted(entry)]
                self._heaps[lane] = deque(entry for entry in heap if not unwanted(entry))
        return dropped

    def _refuse(self, delivery: Delivery, lane: int) -> None:
        """A pull that was parked before a pause or a drain may still bring something: it goes back. Rubbish just goes."""
        if not delivery.ids:
            log.warning("unreadable doorbell", subject=delivery.subject, bytes=len(delivery.payload))
        answer = delivery.nak(BUSY_DELAYS_SECONDS[Lane(lane)]) if delivery.ids else delivery.ack()
        refusal = asyncio.create_task(answer)
        self._refusals.add(refusal)
        refusal.add_done_callback(self._refusals.discard)

    def _puller(self, lane: int, queue: str, park_seconds: float) -> Puller:
        def delivered(_puller: Puller, delivery: Delivery) -> None:
            if not delivery.ids or queue in self.paused or not self._open:
                self._refuse(delivery, lane)
                return
            since = time.monotonic()
            self._ids_per_message += (len(delivery.ids) - self._ids_per_message) * 0.1
            entries = [Entry(value, lane, queue, delivery, since) for value in delivery.ids]
            if len(entries) > 1 and delivery.deliveries > 1:
                self._doubtful += entries
            else:
                self.admit(entries)
            self._on_arrival()

        async def missing() -> None:
            """The stream or consumer was made anew: un-acked deliveries of the old one are not to be acked."""
            await ensure_task_consumer(self._bus, lane, queue)
            for entry in self._drop(lambda entry: entry.lane == lane and entry.queue == queue):
                entry.delivery.settled = True

        topology = self._bus.topology
        return Puller(
            self._bus,
            stream=topology.stream,
            consumer=topology.task_consumer(lane, queue),
            on_delivery=delivered,
            on_missing=missing,
            park_seconds=park_seconds,
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
