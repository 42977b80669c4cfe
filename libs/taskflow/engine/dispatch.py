"""What follows a commit: doorbells, notices of dead letters, news for those who watch. None of it may fail a call.

Whatever is lost here is found again from the rows: doorbells by `heal`, notices by `bury`, news by re-reading.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Self, TypeVar

import msgspec

from taskflow.bus.announce import Announcer, publish_control
from taskflow.bus.connect import Bus
from taskflow.bus.publisher import Doorbell, LeastSlots, publish_notice, ring
from taskflow.domain.dead_letter import Notice
from taskflow.domain.errors import Unavailable
from taskflow.domain.task import Moved
from taskflow.engine.meters import BatchMeter
from taskflow.kit.batcher import Batcher, Full, Verdict
from taskflow.kit.logging import get_logger

log = get_logger(__name__)
Item = TypeVar("Item")

DOORBELLS_MAX = 100_000
NEWS_MAX = 100_000
STIR_SECONDS = 0.02


class Dispatcher:
    """Takes what a commit entails and sends it in the background, in batches."""

    def __init__(self, bus: Bus, least_slots: LeastSlots = lambda _: 0) -> None:
        self._bus = bus
        self._announcer = Announcer(bus)
        self._least_slots = least_slots
        self._doorbells: Batcher[Doorbell, None] = Batcher(
            self._ring,
            verdict=_give_up,
            items_max=5_000,
            pending_max=DOORBELLS_MAX,
            flights=2,
            on_trip=BatchMeter("ring"),
        )
        self._notices: Batcher[Notice, None] = Batcher(
            self._publish_notices, verdict=_give_up, items_max=500, pending_max=DOORBELLS_MAX
        )
        self._news: Batcher[Moved, None] = Batcher(
            self._publish_moves, verdict=_give_up, items_max=5_000, pending_max=NEWS_MAX
        )
        self._stack = AsyncExitStack()
        self._complained_at = 0.0
        self._stirring: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        for batcher in (self._doorbells, self._notices, self._news):
            await self._stack.enter_async_context(batcher)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._stirring is not None:
            await self._stirring
        await self._stack.aclose()

    def ring(self, doorbells: Sequence[Doorbell]) -> None:
        """Announce queued tasks."""
        self._put(self._doorbells, doorbells)

    def notice(self, notices: Sequence[Notice]) -> None:
        """Announce dead letters."""
        self._put(self._notices, notices)

    def tell(self, moves: Sequence[Moved]) -> None:
        """Tell those who watch."""
        if not self._put(self._news, moves):
            self._announcer.skip()

    def deliver(self) -> None:
        """Tell the notifier, a moment later for all that is written meanwhile, that there are webhooks to deliver."""
        if self._stirring is None:
            self._stirring = asyncio.create_task(self._stir())

    async def _stir(self) -> None:
        await asyncio.sleep(STIR_SECONDS)
        self._stirring = None
        with contextlib.suppress(Unavailable):  # it looks every few seconds anyhow
            await publish_control(self._bus, "webhook", {})

    def _put(self, batcher: Batcher[Item, None], items: Sequence[Item]) -> bool:
        """Whether there is room for them."""
        try:
            if items:
                batcher.add(items)
        except Full:
            self._complain("too much waits to be sent")
            return False
        return True

    async def _ring(self, doorbells: list[Doorbell]) -> Sequence[None]:
        try:
            confirmed = await ring(self._bus, doorbells, self._least_slots)
        except Exception as error:
            self._complain(f"doorbells not rung: {error}")
            raise
        if confirmed < len(doorbells):
            self._complain(f"{len(doorbells) - confirmed} doorbells not confirmed")
        return [None] * len(doorbells)

    async def _publish_notices(self, notices: list[Notice]) -> Sequence[None]:
        for notice in notices:
            payload = msgspec.json.encode(notice)
            await publish_notice(self._bus, payload, f"{notice.task_id}:{notice.life}")
        return [None] * len(notices)

    async def _publish_moves(self, moves: list[Moved]) -> Sequence[None]:
        await self._announcer.publish(moves)
        return [None] * len(moves)

    def _complain(self, what: str) -> None:
        """At most one line in five seconds: the bus may be away for long."""
        if time.monotonic() - self._complained_at > 5:
            self._complained_at = time.monotonic()
            log.warning("dispatch.failed", reason=what)


def _give_up(_error: Exception) -> Verdict:
    return Verdict.FAIL
