"""Pulling: one long pull per consumer, armed by demand; or short ones, that bring what lies there.

Own loop instead of nats-py's `fetch()`, which strands messages when it is cancelled or the server restarts, swallows
errors, and costs three to five times as much a message. Protocol: ADR-13 (pull requests), ADR-9 (idle heartbeats).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Self

from nats.aio.msg import Msg

from taskflow.bus.connect import Bus, Hearing
from taskflow.bus.errors import BusAway
from taskflow.kit.logging import get_logger

log = get_logger(__name__)

_ENDED = {"404", "408"}
_BACKOFF_MAX = 2.0
ANSWER_SECONDS = 2.0
"""How long a pull that does not wait may go unanswered before it counts as lost."""
_ID = re.compile(rb"(?<!\S)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?!\S)")


class Delivery:
    """One bus message in this worker's hands, with its own ack."""

    __slots__ = (
        "_bus",
        "_reply",
        "deliveries",
        "ids",
        "payload",
        "sequence",
        "settled",
        "subject",
        "untried",
    )

    def __init__(self, bus: Bus, message: Msg) -> None:
        self._bus = bus
        self._reply = message.reply
        self.subject = message.subject
        self.payload = message.data
        # Whatever else somebody publishes must not reach a statement, whose refusal would end every worker in turn.
        self.ids = [found.decode() for found in _ID.findall(message.data)]
        self.untried = len(self.ids)
        # Tokens of its ack subject (ADR-15): how often it has been delivered, and its place in the stream.
        tokens = (message.reply or "").split(".")
        place = 4 if len(tokens) == 9 else 6
        self.deliveries, self.sequence = map(int, tokens[place : place + 2])
        self.settled = False

    async def ack(self) -> None:
        """Done with it: the message goes."""
        await self._answer(b"+ACK")

    async def nak(self, delay_seconds: float = 0) -> None:
        """Give it back, to be delivered again to whoever asks, after the delay."""
        body = b'-NAK {"delay": %d}' % int(delay_seconds * 1e9) if delay_seconds else b"-NAK"
        await self._answer(body)

    async def _answer(self, body: bytes) -> None:
        if self.settled:
            return
        self.settled = True
        with contextlib.suppress(BusAway):  # not heard: it comes again after ack_wait, and the claim dedupes
            await self._bus.publish(self._reply, body)


class Puller:
    """Keeps a pull parked at one consumer while there is demand.

    `on_delivery` is a plain function; `on_missing` is called when the server has no such consumer, and makes it. `on_end`
    is told that a pull is over or lost before all came, and says how many messages to park the next for, and how long;
    without it that is as many as were demanded last.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        stream: str,
        consumer: str,
        on_delivery: Callable[[Puller, Delivery], None],
        on_missing: Callable[[], Awaitable[None]],
        park_seconds: float,
        on_end: Callable[[], tuple[int, float]] | None = None,
    ) -> None:
        self._bus = bus
        self._subject = bus.topology.next_subject(stream, consumer)
        self._consumer = consumer
        self._on_delivery = on_delivery
        self._on_missing = on_missing
        self._park_seconds = park_seconds
        self._on_end = on_end
        self._heartbeat_seconds = _heartbeat_seconds(park_seconds)
        self._subscription: Hearing | None = None
        self._watch = Watch(bus, [self], park_seconds)
        self._retry: asyncio.Task[None] | None = None
        self._inbox = ""
        self._wanted = 0
        self._backoff = 0.05
        self._stopped = True
        self._lost = False
        self._in_turn = False
        self.outstanding = 0
        self.seen_at = 0.0
        self.missing = False

    async def __aenter__(self) -> Self:
        await self._watch.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._watch.__aexit__()

    def start(self) -> None:
        """Take what is demanded from now on."""
        self._stopped = False

    async def stop(self) -> None:
        """Take nothing more; the server drops the parked pull with the inbox."""
        self._stopped = True
        self._forget()
        if self._retry is not None:
            self._retry.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._retry
        if self._subscription is not None:
            with contextlib.suppress(Exception):
                await self._subscription.unsubscribe()
            self._subscription = None

    @property
    def fetching(self) -> bool:
        """Whether the server has answered within two heartbeats, or nothing is asked of it."""
        if self.missing:
            return False
        return not self.outstanding or time.monotonic() - self.seen_at < 2 * self._heartbeat_seconds + 1

    async def demand(self, messages: int, park_seconds: float | None = None) -> None:
        """Want so many messages in all. A parked pull is topped up once half of it is used."""
        self._wanted = messages
        if self._stopped or self.missing or messages <= 0 or self.outstanding * 2 > messages or self._in_turn:
            return
        seconds = max(park_seconds or self._park_seconds, 0.1)
        self._heartbeat_seconds = _heartbeat_seconds(seconds)
        request = {
            "batch": messages - self.outstanding,
            "expires": int(seconds * 1e9),
            "idle_heartbeat": int(self._heartbeat_seconds * 1e9),
        }
        await self._pull(request)

    async def sweep(self, messages: int) -> None:
        """Want what lies there now, at most so many; the server says at once if it is less. Not beside another pull."""
        if self._stopped or self.missing or messages <= 0 or self.outstanding:
            return
        self._in_turn = True
        self._heartbeat_seconds = ANSWER_SECONDS / 2
        await self._pull({"batch": messages, "no_wait": True})

    async def _pull(self, request: dict[str, int]) -> None:
        try:
            if self._subscription is None:
                self._inbox = self._bus.client.new_inbox()
                self._subscription = await self._bus.subscribe(self._inbox, self._heard)
            self.outstanding += request["batch"]
            self.seen_at = time.monotonic()
            await self._bus.publish(self._subject, json.dumps(request).encode(), reply=self._inbox)
        except BusAway:
            self._forget()  # the watch asks again
            self._lost = True

    def _forget(self) -> None:
        self.outstanding = 0
        self._in_turn = False

    async def _heard(self, message: Msg) -> None:
        self.seen_at = time.monotonic()
        headers = message.headers
        status = headers.get("Status") if headers and not message.reply else None
        if status is None:
            self.outstanding = max(0, self.outstanding - 1)
            self._in_turn = self._in_turn and self.outstanding > 0
            self._backoff = 0.05
            self._on_delivery(self, Delivery(self._bus, message))
        elif status != "100" and headers is not None:
            await self._pull_ended(status, headers)

    async def _pull_ended(self, status: str, headers: dict[str, str]) -> None:
        left = int(headers.get("Nats-Pending-Messages") or self.outstanding)
        self.outstanding = max(0, self.outstanding - left)
        self._in_turn = self._in_turn and self.outstanding > 0
        if status in _ENDED:
            await self._renew()
            return
        log.warning(
            "pull.refused",
            consumer=self._consumer,
            status=status,
            reason=headers.get("Description", "").strip(),
        )
        self.missing = True
        self._begin_revival()

    def _begin_revival(self) -> None:
        """Unless one is under way. One that broke off is told of: a deaf puller must not go unnoticed."""
        if self._retry is not None:
            if not self._retry.done():
                return
            if not self._retry.cancelled() and (error := self._retry.exception()):
                log.error("pull.revival_failed", consumer=self._consumer, exc_info=error)
        self._retry = asyncio.create_task(self._revive(), name=f"puller.revive.{self._consumer}")

    async def _revive(self) -> None:
        """503 also means that a leader is being elected: never give up."""
        told = False
        while self.missing and not self._stopped:
            await asyncio.sleep(self._backoff)
            self._backoff = min(self._backoff * 2, _BACKOFF_MAX)
            try:
                await self._on_missing()
            except BusAway as error:
                if not told:
                    log.warning("consumer.lost", consumer=self._consumer, error=str(error))
                told = True
                continue
            self.missing = False
            self._forget()
        await self._renew()

    async def _renew(self) -> None:
        messages, seconds = self._on_end() if self._on_end else (self._wanted, self._park_seconds)
        await self.demand(messages, seconds)

    async def check(self, reconnected: bool) -> None:
        """A pull whose heartbeats stopped is gone (a leader lost), and so is one of an earlier connection: ask again."""
        if self._stopped:
            return
        if self.missing:  # refused once more while the last revival was ending
            self._begin_revival()
            return
        silent = time.monotonic() - self.seen_at > 2 * self._heartbeat_seconds
        if self._lost or (self.outstanding and (silent or reconnected)):
            self._lost = False
            self._forget()
            await self._renew()


class Watch:
    """Looks after pullers while entered, then stops them: one loop for all, however many there are."""

    def __init__(self, bus: Bus, pullers: Collection[Puller], park_seconds: float) -> None:
        self._bus = bus
        self._pullers = pullers
        self._seconds = _heartbeat_seconds(park_seconds)
        self._loop: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        for puller in self._pullers:
            puller.start()
        self._loop = asyncio.create_task(self._run(), name="pullers.watch")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
        for puller in self._pullers:
            await puller.stop()

    async def _run(self) -> None:
        connection = self._bus.connections
        while True:
            await asyncio.sleep(self._seconds)
            if not self._bus.connected:
                continue
            reconnected = connection != self._bus.connections
            connection = self._bus.connections
            for puller in self._pullers:
                try:
                    await puller.check(reconnected)
                except Exception:  # without this watch a lost pull would be lost for good
                    log.exception("pull.check_failed")


def _heartbeat_seconds(park_seconds: float) -> float:
    return max(0.05, min(5.0, park_seconds / 2.5))
