"""The tail of the events stream: read in order from a place on, for as long as it is read.

An ephemeral consumer without acks (ADR-13 pull requests, ADR-9 idle heartbeats), asked for more only when what came was
taken. It does not mend itself: whatever breaks the order or the connection ends it with `TailBroken`, for who reads must
know that something may be missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from secrets import token_hex
from typing import NamedTuple, Self

from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from taskflow.bus.connect import Bus, Hearing
from taskflow.bus.errors import BusAway, translated

MESSAGES_AT_ONCE = 500
PARK_SECONDS = 30.0
HEARTBEAT_SECONDS = 3.0
UNREAD_SECONDS = 30.0
"""How long the server keeps the consumer of a reader that has gone."""
_ENDED = {"404", "408"}


class Stored(NamedTuple):
    """A message of the stream; `at_ns` is when it was stored, by the server's clock, since 1970."""

    sequence: int
    at_ns: int
    data: bytes


class TailBroken(Exception):
    """Nothing more comes this way: the connection, the stream or the consumer is gone, or a message was lost."""


class Tail:
    """`async with Tail(bus, start) as tail: await tail.page()`.

    `start` is the first sequence wanted; None: the newest there is. `waiting` says how many messages lay there when it was
    opened, the first wanted among them. `at_once` messages are on their way, or wait to be taken, at most.
    """

    def __init__(self, bus: Bus, start: int | None = None, *, at_once: int = MESSAGES_AT_ONCE) -> None:
        self._bus = bus
        self._start = start
        self._at_once = at_once
        self._name = f"feed-{token_hex(8)}"
        self._hearing: Hearing | None = None
        self._inbox = ""
        self._connection = 0
        self._outstanding = 0
        self._next = 1
        self._came: list[Stored] = []
        self._broken = ""
        self._stirred = asyncio.Event()
        self._heard_at = 0.0
        self.waiting = 0

    async def __aenter__(self) -> Self:
        stream = self._bus.topology.events_stream
        try:
            with translated():
                self._connection = self._bus.connections
                self._inbox = self._bus.client.new_inbox()
                self._hearing = await self._bus.subscribe(self._inbox, self._heard)
                info = await self._bus.jetstream.add_consumer(stream, self._config())
        except BaseException:
            await self.__aexit__()
            raise
        self.waiting = info.num_pending or 0
        self._heard_at = time.monotonic()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._hearing is not None:
            with contextlib.suppress(Exception):
                await self._hearing.unsubscribe()

    def _config(self) -> ConsumerConfig:
        newest = self._start is None
        return ConsumerConfig(
            name=self._name,
            deliver_policy=DeliverPolicy.LAST if newest else DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._start,
            ack_policy=AckPolicy.NONE,
            max_deliver=1,
            inactive_threshold=UNREAD_SECONDS,
            mem_storage=True,
            num_replicas=1,
        )

    async def page(self) -> list[Stored]:
        """What has come since the last call, at least one message. Raises TailBroken."""
        while not self._came:
            self._check()
            await self._ask()
            self._stirred.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stirred.wait(), HEARTBEAT_SECONDS)
        came, self._came = self._came, []
        await self._ask()
        return came

    def _check(self) -> None:
        if self._broken:
            raise TailBroken(self._broken)
        if self._connection != self._bus.connections or not self._bus.connected:
            raise TailBroken("the connection to NATS was lost")
        if self._outstanding and time.monotonic() - self._heard_at > 2 * HEARTBEAT_SECONDS + 1:
            raise TailBroken("NATS has fallen silent")

    async def _ask(self) -> None:
        """Keep a pull parked: no more than what may come before the next call is on its way."""
        if self._outstanding * 2 > self._at_once or self._broken:
            return
        batch = self._at_once - self._outstanding
        request = {
            "batch": batch,
            "expires": int(PARK_SECONDS * 1e9),
            "idle_heartbeat": int(HEARTBEAT_SECONDS * 1e9),
        }
        subject = self._bus.topology.next_subject(self._bus.topology.events_stream, self._name)
        try:
            await self._bus.publish(subject, json.dumps(request).encode(), reply=self._inbox)
        except BusAway as error:
            raise TailBroken(str(error)) from error
        self._outstanding += batch
        self._heard_at = time.monotonic()

    async def _heard(self, message: Msg) -> None:
        self._heard_at = time.monotonic()
        if message.headers and not message.reply:
            self._status(message.headers)
        else:
            self._take(message)
        self._stirred.set()

    def _take(self, message: Msg) -> None:
        # $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>, or two more before (ADR-15)
        tokens = message.reply.split(".")
        sequence, number, at_ns = map(int, tokens[5:8] if len(tokens) == 9 else tokens[7:10])
        self._outstanding = max(0, self._outstanding - 1)
        if number != self._next:
            self._broken = self._broken or "messages were lost on their way"
        self._next = number + 1
        if not self._broken:
            self._came.append(Stored(sequence, at_ns, message.data))

    def _status(self, headers: dict[str, str]) -> None:
        status = headers.get("Status")
        if status == "100":
            return
        left = int(headers.get("Nats-Pending-Messages") or self._outstanding)
        self._outstanding = max(0, self._outstanding - left)
        if status not in _ENDED:
            self._broken = f"NATS refuses: {status} {headers.get('Description', '').strip()}"
