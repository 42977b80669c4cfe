"""Ringing: ids out to JetStream, many messages in flight, each confirmed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct

from taskflow.bus.confirmed import Message
from taskflow.bus.connect import Bus
from taskflow.bus.errors import translated
from taskflow.bus.streams import stamp_text
from taskflow.bus.topology import STAMP_HEADER, ids_per_message

CONFIRM_SECONDS = 5.0


LeastSlots = Callable[[str], int]
"""Slots of the smallest live worker of a queue; 0 if that is not known."""


class Doorbell(Struct, frozen=True, gc=False):
    """A queued task to announce. `version` makes the message's id; None when it is rung again."""

    id: str
    lane: int
    queue: str
    rung_at: datetime
    version: int | None = None


async def ring(bus: Bus, doorbells: Sequence[Doorbell], least_slots: LeastSlots = lambda _: 0) -> int:
    """Announce tasks; returns how many were confirmed. What is not is found by the healer.

    Tasks of one subject that are announced together share messages, so that a bulk of them costs a twentieth.
    """
    by_subject: dict[str, list[Doorbell]] = defaultdict(list)
    for doorbell in doorbells:
        by_subject[bus.topology.task_subject(doorbell.lane, doorbell.queue)].append(doorbell)
    messages: list[Message] = []
    for subject, bells in by_subject.items():
        size = ids_per_message(len(bells), len(doorbells), least_slots(bells[0].queue))
        messages += [_message(subject, bells[start : start + size]) for start in range(0, len(bells), size)]
    return await bus.confirmations.publish(messages, CONFIRM_SECONDS) if messages else 0


async def publish_notice(bus: Bus, payload: bytes, message_id: str) -> None:
    """Announce a dead letter."""
    with translated():
        await bus.jetstream.publish(
            bus.topology.dlq_subject, payload, timeout=CONFIRM_SECONDS, headers={"Nats-Msg-Id": message_id}
        )


def _message(subject: str, bells: list[Doorbell]) -> Message:
    headers = {STAMP_HEADER: stamp_text(min(bell.rung_at for bell in bells))}
    if len(bells) == 1 and bells[0].version is not None:
        headers["Nats-Msg-Id"] = f"{bells[0].id}:{bells[0].version}"
    return Message(subject, "\n".join([bell.id for bell in bells]).encode(), headers, len(bells))
