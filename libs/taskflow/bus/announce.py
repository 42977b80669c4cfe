"""Telling: state changes on `events.>`, commands on `control.>`. Nobody confirms them; the rows are the truth.

An events message is a JSON array of moves of one shard: `[[id, seq, version, status, type, queue, lane], ...]`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from nats.aio.msg import Msg

from taskflow.bus.connect import Bus, Hearing
from taskflow.bus.topology import event_shard
from taskflow.domain.task import Moved
from taskflow.kit.logging import get_logger

log = get_logger(__name__)

MOVES_PER_MESSAGE_MAX = 500
_encoder = msgspec.json.Encoder()
_moves = msgspec.json.Decoder(list[Moved])


async def publish_moves(bus: Bus, moves: Sequence[Moved]) -> None:
    """One message per shard, each with the moves of a batch."""
    shards: dict[int, list[Moved]] = defaultdict(list)
    for move in moves:
        shards[event_shard(move.id)].append(move)
    for shard, rows in shards.items():
        for start in range(0, len(rows), MOVES_PER_MESSAGE_MAX):
            payload = _encoder.encode(rows[start : start + MOVES_PER_MESSAGE_MAX])
            await bus.publish(bus.topology.shard_subject(shard), payload)


async def subscribe_moves(bus: Bus, shard: int, on_move: Callable[[Moved], None]) -> Hearing:
    """Hear the moves of one shard."""

    async def heard(message: Msg) -> None:
        try:
            moves = _moves.decode(message.data)
        except msgspec.DecodeError as error:
            log.warning("event.discarded", subject=message.subject, error=str(error))
            return
        for move in moves:
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
