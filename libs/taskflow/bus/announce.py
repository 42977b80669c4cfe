"""Telling: state changes on `events.>`, commands on `control.>`. Nobody confirms them; the rows are the truth.

An events message is a bulletin, news of one shard: `{"by", "n", "moves": [[id, seq, version, status, type, queue, lane,
owner, said], ...]}`, where `by` names the process and `n` counts its bulletins: who hears 7 after 5 has missed one. For
those who heard none before it, `"lost": true` says that the one before may not have come: it could not be sent, or the
connection has changed since.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from secrets import token_hex
from typing import Any

import msgspec
from msgspec import Struct
from nats.aio.msg import Msg

from taskflow.bus.connect import Bus, Hearing
from taskflow.bus.topology import event_shard
from taskflow.domain.task import Moved
from taskflow.kit.logging import get_logger

log = get_logger(__name__)

MOVES_PER_MESSAGE_MAX = 500
SAID_BYTES_MAX = 128 * 1024
"""What handlers said, in one bulletin; NATS takes 256 KiB."""
_encoder = msgspec.json.Encoder()


class Bulletin(Struct, frozen=True, gc=False, omit_defaults=True):
    """News that were made by one process in one batch."""

    by: str
    n: int
    moves: list[Moved]
    lost: bool = False


_decoder = msgspec.json.Decoder(Bulletin)


class Announcer:
    """Sends news, numbered, so that those who collect them know of what they missed."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._name = token_hex(6)
        self._count = 0
        self._lost = False
        self._connection: int | None = None

    def skip(self) -> None:
        """Some news will not be sent: leave a gap that tells of it."""
        self._count += 1
        self._lost = True

    async def publish(self, moves: Sequence[Moved]) -> None:
        """One bulletin a shard, or more of them if there is much to tell. What cannot be sent leaves a gap."""
        shards: dict[int, list[Moved]] = defaultdict(list)
        for move in moves:
            shards[event_shard(move.id)].append(move)
        bulletins = []
        for shard, rows in shards.items():
            for part in _parts(rows):
                self._count += 1
                bulletins.append((shard, self._count, part))
        for shard, n, part in bulletins:
            await self._send(shard, n, part)

    async def _send(self, shard: int, n: int, moves: list[Moved]) -> None:
        connection = self._bus.connections
        lost = self._lost or self._connection not in {None, connection}
        self._lost = True  # unless this one can be sent
        bulletin = Bulletin(self._name, n, moves, lost)
        await self._bus.publish(self._bus.topology.shard_subject(shard), _encoder.encode(bulletin))
        self._lost, self._connection = False, connection


def _parts(moves: list[Moved]) -> Iterator[list[Moved]]:
    part: list[Moved] = []
    size = 0
    for move in moves:
        # A character may take six bytes of JSON.
        weight = 100 + 6 * len(move.said.message or "") if move.said else 0
        if len(part) >= MOVES_PER_MESSAGE_MAX or (part and size + weight > SAID_BYTES_MAX):
            yield part
            part, size = [], 0
        part.append(move)
        size += weight
    if part:
        yield part


def read_bulletin(data: bytes) -> Bulletin | None:
    """The news of a message; None if it is none of ours."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        log.warning("event.discarded", error=str(error))
        return None


async def subscribe_moves(bus: Bus, shard: int, on_move: Callable[[Moved], None]) -> Hearing:
    """Hear the moves of one shard."""

    async def heard(message: Msg) -> None:
        bulletin = read_bulletin(message.data)
        if bulletin is not None:
            for move in bulletin.moves:
                on_move(move)

    return await bus.subscribe(bus.topology.shard_subject(shard), heard)


async def publish_control(bus: Bus, command: str, body: dict[str, Any]) -> None:
    """Tell every process at once; those that miss it learn at their next beat."""
    await bus.publish(bus.topology.control_subject(command), _encoder.encode(body))


async def subscribe_control(
    bus: Bus, command: str, act: Callable[[dict[str, Any]], Awaitable[None]]
) -> Hearing:
    """Hear a command.

    A worker cannot publish here, but it can have JetStream deliver a message of its own to any subject. Such a message
    keeps the subject it was stored under, and is not taken for a command.
    """
    subject = bus.topology.control_subject(command)

    async def heard(message: Msg) -> None:
        if message.subject != subject:
            log.error("command.refused", subject=message.subject, heard_on=subject)
            return
        try:
            body = msgspec.json.decode(message.data, type=dict[str, Any])
        except msgspec.DecodeError as error:
            log.warning("command.discarded", subject=message.subject, error=str(error))
            return
        await act(body)

    return await bus.subscribe(subject, heard)
