"""Publishing to JetStream with many messages in flight, each confirmed by a reply of its own (ADR-1, ADR-22).

Own code instead of nats-py's `publish_async`, which makes a future, a NUID and a parsed answer for every message, and
leaves the future of a refused one hanging. Here a message costs an entry in a dict, and a round one future.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from nats.aio.msg import Msg

from taskflow.bus.errors import BusAway, translated

if TYPE_CHECKING:
    from taskflow.bus.connect import Bus, Hearing


class Message(Struct, frozen=True, gc=False):
    """What to publish; `weight` is what its confirmation counts."""

    subject: str
    payload: bytes
    headers: dict[str, str]
    weight: int = 1


class _Round:
    """Messages published together, as far as they are answered."""

    __slots__ = ("confirmed", "done", "left", "refusal")

    def __init__(self, count: int) -> None:
        self.left = count
        self.confirmed = 0
        self.refusal = ""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(self, weight: int, refusal: str) -> None:
        """One message was stored, or refused."""
        self.left -= 1
        if refusal:
            self.refusal = refusal
        else:
            self.confirmed += weight
        if self.left <= 0 and not self.done.done():
            self.done.set_result(None)


class Confirmations:
    """The replies of one connection's publishes. One a bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._hearing: Hearing | None = None
        self._opening = asyncio.Lock()
        self._inbox = ""
        self._count = 0
        self._waiting: dict[str, tuple[_Round, int]] = {}

    async def publish(self, messages: Sequence[Message], timeout_seconds: float) -> int:
        """Returns the weight of what is confirmed in time. Raises `BusAway` if nothing is."""
        await self._listen()
        round_ = _Round(len(messages))
        tokens = []
        client = self._bus.client
        try:
            with translated():
                for message in messages:
                    token = self._token(round_, message.weight)
                    tokens.append(token)
                    await client.publish(
                        message.subject, message.payload, f"{self._inbox}.{token}", message.headers
                    )
            await asyncio.wait([round_.done], timeout=timeout_seconds)
        finally:
            for token in tokens:
                self._waiting.pop(token, None)
        if not round_.confirmed:
            raise BusAway(f"JetStream confirmed nothing: {round_.refusal or 'no answer'}")
        return round_.confirmed

    def _token(self, round_: _Round, weight: int) -> str:
        self._count += 1
        token = f"{self._count:x}"
        self._waiting[token] = (round_, weight)
        return token

    async def _listen(self) -> None:
        if self._hearing is None:
            async with self._opening:
                if self._hearing is None:
                    self._inbox = self._bus.client.new_inbox()
                    self._hearing = await self._bus.subscribe(f"{self._inbox}.*", self._heard)

    async def _heard(self, message: Msg) -> None:
        found = self._waiting.pop(message.subject.rpartition(".")[2], None)
        if found is not None:
            round_, weight = found
            round_.answered(weight, _refusal(message))


def _refusal(message: Msg) -> str:
    """Why a message was not stored; empty if it was."""
    if message.headers and (status := message.headers.get("Status")):
        return "no stream takes it" if status == "503" else f"status {status}"
    if b'"error"' not in message.data:
        return ""
    try:
        return str(json.loads(message.data)["error"])
    except (ValueError, KeyError, TypeError):
        return "the answer cannot be read"
