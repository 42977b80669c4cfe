"""bury: dead letters are made known, understood and grouped.

The letter stands already, written by the statement that failed the task; `tasks.dlq` only announces it. The dlq-consumer
stamps it handled, with the fingerprint that groups alike ones; the scheduler announces again what stays unhandled.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from taskflow.bus.connect import Bus
from taskflow.bus.puller import Delivery, Puller
from taskflow.bus.streams import ensure_dlq_consumer
from taskflow.domain.dead_letter import DeadLetter, DeadLetterDetail, Notice
from taskflow.domain.errors import Unavailable
from taskflow.engine.burial import Watch
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.meters import HANDLED
from taskflow.kit.batcher import Batcher
from taskflow.kit.logging import get_logger
from taskflow.store import dead_letters
from taskflow.store.connect import Line
from taskflow.store.dead_letters import Stamp
from taskflow.store.errors import Unstorable, verdict

log = get_logger(__name__)

NOTICE_AGE_SECONDS = 30.0
PAGE = 1_000
CREDIT = 500
TRIES_MAX = 100
"""Tries of a life that its letter keeps; the newest."""
_ERROR_CHARS_MAX = 500
_VARIABLE = re.compile(
    r"0x[0-9a-f]+|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\d+|'[^']*'|\"[^\"]*\"",
    re.I,
)
_PLACE = re.compile(r'File "([^"]+)", line \d+, in (\S+)')


def fingerprint(letter: DeadLetter) -> str:
    """16 hex digits alike for letters of one cause: type, error type, message without its variable parts, place."""
    error = _error_of(letter)
    places = _PLACE.findall(error.get("traceback") or "")
    place = ":".join(places[-1]) if places else ""
    message = _VARIABLE.sub("#", str(error.get("message", "")))[:500]
    parts = (letter.type, str(error.get("type", "")), message, place)
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def _error_of(letter: DeadLetter) -> dict[str, Any]:
    return msgspec.json.decode(letter.error) if isinstance(letter.error, msgspec.Raw) else {}


class Undertaker:
    """The dlq-consumer's work: takes notices, stamps their letters, watches how fast they come, acks."""

    def __init__(self, line: Line, bus: Bus, watch: Watch) -> None:
        self._line = line
        self._watch = watch
        self._batcher: Batcher[Delivery, None] = Batcher(
            self._handle, verdict=verdict, items_max=CREDIT, repeat_seconds=20
        )
        self._handling: set[asyncio.Task[None]] = set()
        self._settled = asyncio.Event()
        self.puller = Puller(
            bus,
            stream=bus.topology.dlq_stream,
            consumer=bus.topology.dlq_consumer,
            on_delivery=self._delivered,
            on_missing=lambda: ensure_dlq_consumer(bus),
            park_seconds=2.0,
        )

    async def run(self) -> None:
        """Take notices until cancelled."""
        async with self._batcher, self.puller:
            while True:
                self._settled.clear()
                await self.puller.demand(CREDIT - len(self._handling))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._settled.wait(), 0.5)

    def _delivered(self, _puller: Puller, delivery: Delivery) -> None:
        handling = asyncio.create_task(self._take(delivery))
        self._handling.add(handling)
        handling.add_done_callback(self._done)

    def _done(self, handling: asyncio.Task[None]) -> None:
        self._handling.discard(handling)
        self._settled.set()  # those of a batch end together: what is asked for next is asked once, by `run`

    async def _take(self, delivery: Delivery) -> None:
        try:
            await self._batcher.put(delivery)
        except Unavailable as error:
            log.warning("dead_letter.deferred", error=str(error))
            await delivery.nak(5)
            return
        except Unstorable as error:
            log.warning("notice.discarded", error=str(error))
        await delivery.ack()

    async def _handle(self, deliveries: list[Delivery]) -> Sequence[None]:
        notices = [notice for delivery in deliveries if (notice := _notice(delivery))]
        ids = sorted({notice.dead_letter_id for notice in notices})
        letters = await self._line.run(lambda conn: dead_letters.read_letters(conn, ids, payload=False))
        new = {letter.id: letter for letter in letters.values() if letter.handled_at is None}
        if new:
            traces = {notice.dead_letter_id: notice.trace_id for notice in notices if notice.trace_id}
            await self._stamp(new, traces)
        return [None] * len(deliveries)

    async def _stamp(self, new: dict[str, DeadLetterDetail], traces: dict[str, str]) -> None:
        prints = {letter.id: fingerprint(letter) for letter in new.values()}
        tries = await self._line.run(lambda conn: dead_letters.read_tries(conn, list(new), limit=TRIES_MAX))
        stamps = {letter_id: Stamp(prints[letter_id], tries.get(letter_id, ())) for letter_id in new}
        stamped = sorted(await self._line.run(lambda conn: dead_letters.stamp_letters(conn, stamps)))
        for letter_id in stamped:
            _say(new[letter_id], prints[letter_id], traces.get(letter_id))
        await self._watch.look({prints[letter_id]: new[letter_id] for letter_id in stamped})


def _say(letter: DeadLetter, printed: str, trace_id: str | None) -> None:
    HANDLED.labels(letter.reason).inc()
    error = _error_of(letter)
    facts: dict[str, Any] = {
        "dead_letter_id": letter.id,
        "task_id": letter.task_id,
        "type": letter.type,
        "queue": letter.queue,
        "reason": letter.reason,
        "error": f"{error.get('type')}: {error.get('message')}"[:_ERROR_CHARS_MAX] if error else None,
        "fingerprint": printed,
    }
    if trace_id is not None:
        facts["trace_id"] = trace_id
    log.warning("dead_letter.received", **facts)


def _notice(delivery: Delivery) -> Notice | None:
    try:
        return msgspec.json.decode(delivery.payload, type=Notice)
    except msgspec.DecodeError as error:
        log.warning("notice.unreadable", error=str(error))
        return None


class Reminder:
    """The scheduler's part: a letter that nobody handled is announced again."""

    def __init__(
        self, line: Line, dispatcher: Dispatcher, *, age_seconds: float = NOTICE_AGE_SECONDS
    ) -> None:
        self._line = line
        self._dispatcher = dispatcher
        self._age_seconds = age_seconds

    async def run_once(self) -> bool:
        """Returns whether there is more to do."""
        notices = await self._line.run(
            lambda conn: dead_letters.unhandled_letters(
                conn, older_than_seconds=self._age_seconds, limit=PAGE
            )
        )
        self._dispatcher.notice(notices)
        return len(notices) >= PAGE
