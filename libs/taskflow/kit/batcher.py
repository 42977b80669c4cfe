"""Natural batching: while one round trip is in flight, the next batch gathers; when it returns, all goes together.

No timer: alone, an item goes at once; under load, hundreds share one commit. Bounded in items and bytes. Transient
errors repeat the batch; on a fault of the data the batch is halved until the culprit stands alone.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import Generic, Self, TypeVar

CLOSE_SECONDS = 10.0
"""How long a closing batcher goes on trying."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Placed = tuple[Item, asyncio.Future[Answer] | None]
"""An item, and who waits for its answer."""


class Verdict(Enum):
    """What an error of a batch means."""

    REPEAT = auto()
    """Nothing is wrong with the items: try again."""
    HALVE = auto()
    """Some item cannot be taken: find it."""
    FAIL = auto()
    """The whole batch fails."""


class Full(Exception):
    """The batcher holds as many items as it may."""


class Batcher(Generic[Item, Answer]):
    """Gathers items and hands them to `act`, which answers them in the same order.

    `verdict(error)` judges errors of `act`. A batch is repeated for `repeat_seconds` (None: as long as it takes),
    then its items get the error. `size(item)` gives bytes. `flights` batches may be under way at once.
    Of what was put by `add`, nobody awaits the answer: `on_refused(item, error)` hears of what could not be done.
    `on_trip(items, seconds)` hears of every batch that went through.
    """

    def __init__(
        self,
        act: Callable[[list[Item]], Awaitable[Sequence[Answer]]],
        *,
        verdict: Callable[[Exception], Verdict],
        items_max: int = 500,
        bytes_max: int = 8 * 1024 * 1024,
        pending_max: int = 20_000,
        repeat_seconds: float | None = None,
        flights: int = 1,
        size: Callable[[Item], int] | None = None,
        on_refused: Callable[[Item, Exception], None] | None = None,
        on_trip: Callable[[int, float], None] | None = None,
    ) -> None:
        self._act = act
        self._verdict = verdict
        self._items_max = items_max
        self._bytes_max = bytes_max
        self._pending_max = pending_max
        self._repeat_seconds = repeat_seconds
        self._flights = flights
        self._size = size
        self._on_refused = on_refused
        self._on_trip = on_trip
        self._pending: deque[Placed[Item, Answer]] = deque()
        self._wake = asyncio.Event()
        self._closing_at: float | None = None
        self._loops: list[asyncio.Task[None]] = []

    def __len__(self) -> int:
        return len(self._pending)

    async def __aenter__(self) -> Self:
        self._loops = [asyncio.create_task(self._fly()) for _ in range(self._flights)]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Lets everything that was put go out, then ends; what cannot go out within `CLOSE_SECONDS` is given up."""
        self._closing_at = asyncio.get_running_loop().time()
        self._wake.set()
        await asyncio.gather(*self._loops)

    def put(self, item: Item) -> asyncio.Future[Answer]:
        """Add an item; the future gives its answer. Raises `Full` at the bound."""
        if len(self._pending) >= self._pending_max:
            raise Full(f"{self._pending_max} items are waiting")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending.append((item, answer))
        self._wake.set()
        return answer

    def add(self, items: Sequence[Item]) -> None:
        """Add items whose answers nobody awaits. Raises `Full` at the bound: those beyond it are left out."""
        room = self._pending_max - len(self._pending)
        self._pending.extend([(item, None) for item in (items if len(items) <= room else items[:room])])
        self._wake.set()
        if len(items) > room:
            raise Full(f"{self._pending_max} items are waiting")

    def add_one(self, item: Item) -> None:
        """Add an item whose answer nobody awaits. Raises `Full` at the bound."""
        if len(self._pending) >= self._pending_max:
            raise Full(f"{self._pending_max} items are waiting")
        self._pending.append((item, None))
        if not self._wake.is_set():
            self._wake.set()

    async def _fly(self) -> None:
        while True:
            await self._wake.wait()
            batch = self._take()
            if batch:
                await self._settle(batch)
            elif self._closing_at is not None:
                return
            else:
                self._wake.clear()

    def _take(self) -> list[Placed[Item, Answer]]:
        pending, size = self._pending, self._size
        if size is None:
            return [pending.popleft() for _ in range(min(len(pending), self._items_max))]
        batch: list[Placed[Item, Answer]] = []
        weight = 0
        while pending and len(batch) < self._items_max:
            weight += size(pending[0][0])
            if batch and weight > self._bytes_max:
                break
            batch.append(pending.popleft())
        return batch

    async def _settle(self, batch: list[Placed[Item, Answer]]) -> None:
        try:
            answers = await self._persist([item for item, _ in batch])
        except Exception as error:
            if self._verdict(error) is Verdict.HALVE and len(batch) > 1:
                middle = len(batch) // 2
                await self._settle(batch[:middle])
                await self._settle(batch[middle:])
            else:
                self._refuse(batch, error)
            return
        for (_, answer), value in zip(batch, answers, strict=True):
            if answer is not None and not answer.done():
                answer.set_result(value)

    def _refuse(self, batch: list[Placed[Item, Answer]], error: Exception) -> None:
        for item, answer in batch:
            if answer is None:
                if self._on_refused is not None:
                    self._on_refused(item, error)
            elif not answer.done():
                answer.set_exception(error)
                answer.exception()  # an answer nobody awaits is no news for the event loop

    async def _persist(self, items: list[Item]) -> Sequence[Answer]:
        began, pause = asyncio.get_running_loop().time(), 0.02
        tried_at = began
        while True:
            try:
                answers = await self._act(items)
            except Exception as error:
                if self._verdict(error) is not Verdict.REPEAT or self._too_late(began):
                    raise
            else:
                if self._on_trip is not None:
                    self._on_trip(len(items), asyncio.get_running_loop().time() - tried_at)
                return answers
            await asyncio.sleep(pause * (0.5 + random.random()))  # nosec B311  # dice, not a secret
            pause = min(pause * 2, 1.0)
            tried_at = asyncio.get_running_loop().time()

    def _too_late(self, began: float) -> bool:
        now = asyncio.get_running_loop().time()
        if self._closing_at is not None and now > self._closing_at + CLOSE_SECONDS:
            return True
        return self._repeat_seconds is not None and now > began + self._repeat_seconds
