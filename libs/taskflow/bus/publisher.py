"""Ringing: ids out to JetStream, many messages in flight, each confirmed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from nats.js.api import PubAck

from taskflow.bus.connect import Bus
from taskflow.bus.errors import BusAway, translated
from taskflow.bus.streams import stamp_text
from taskflow.bus.topology import STAMP_HEADER, ids_per_message

CONFIRM_SECONDS = 5.0


class Doorbell(Struct, frozen=True, gc=False):
    """A queued task to announce. `version` makes the message's id; None when it is rung again."""

    id: str
    lane: int
    queue: str
    rung_at: datetime
    version: int | None = None


async def ring(bus: Bus, doorbells: Sequence[Doorbell]) -> int:
    """Announce tasks; returns how many were confirmed. What is not is found by the healer.

    Tasks of one subject that are announced together share messages, so that a bulk of them costs a twentieth.
    """
    by_subject: dict[str, list[Doorbell]] = defaultdict(list)
    for doorbell in doorbells:
        by_subject[bus.topology.task_subject(doorbell.lane, doorbell.queue)].append(doorbell)
    sent: list[tuple[int, asyncio.Future[PubAck]]] = []
    try:
        for subject, bells in by_subject.items():
            size = ids_per_message(len(bells), len(doorbells))
            for start in range(0, len(bells), size):
                part = bells[start : start + size]
                sent.append((len(part), await _send(bus, subject, part)))
    except BaseException:
        for _, confirmation in sent:  # nats-py counts what is under way until it is over
            confirmation.cancel()
        raise
    return await _confirmed(sent)


async def publish_notice(bus: Bus, payload: bytes, message_id: str) -> None:
    """Announce a dead letter."""
    with translated():
        await bus.jetstream.publish(
            bus.topology.dlq_subject, payload, timeout=CONFIRM_SECONDS, headers={"Nats-Msg-Id": message_id}
        )


async def _send(bus: Bus, subject: str, bells: list[Doorbell]) -> asyncio.Future[PubAck]:
    headers = {STAMP_HEADER: stamp_text(min(bell.rung_at for bell in bells))}
    if len(bells) == 1 and bells[0].version is not None:
        headers["Nats-Msg-Id"] = f"{bells[0].id}:{bells[0].version}"
    payload = "\n".join(bell.id for bell in bells).encode()
    with translated():
        return await bus.jetstream.publish_async(subject, payload, headers=headers)


async def _confirmed(sent: list[tuple[int, asyncio.Future[PubAck]]]) -> int:
    if not sent:
        return 0
    done, pending = await asyncio.wait([future for _, future in sent], timeout=CONFIRM_SECONDS)
    for future in pending:
        future.cancel()
    failed = [future for future in done if future.exception() is not None]
    if len(failed) == len(sent):
        raise BusAway(f"JetStream confirmed nothing: {failed[0].exception()!r}")
    lost = {id(future) for future in (*failed, *pending)}
    return sum(count for count, future in sent if id(future) not in lost)
