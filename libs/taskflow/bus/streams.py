"""The topology on the server: made, repaired, asked. Creating what stands with the same settings changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import nats.js.errors
from nats.js.api import DiscardPolicy, StreamConfig, StreamInfo

from taskflow.bus.connect import Bus
from taskflow.bus.errors import NO_STREAM, BusAway, StreamMissing, translated
from taskflow.bus.topology import STAMP_HEADER
from taskflow.kit.logging import get_logger
from taskflow.kit.metrics import gauge

log = get_logger(__name__)

MESSAGES = gauge("taskflow_jetstream_stream_messages", "Messages a stream holds.", ["stream", "discard"])
BYTES = gauge("taskflow_jetstream_stream_bytes", "What a stream holds.", ["stream", "discard"])
BYTES_MAX = gauge(
    "taskflow_jetstream_stream_limit_bytes",
    "What a stream may hold; `discard`: what goes once it is full, the `old` messages or the `new`.",
    ["stream", "discard"],
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def ensure_streams(bus: Bus) -> list[str]:
    """Make the streams that are missing, mend those that differ. Returns the names of those made anew."""
    made = []
    try:
        for config in bus.topology.streams():
            with translated():
                if await _ensure_stream(bus, config):
                    made.append(config.name or "")
    except BusAway:
        _forget()  # nothing is told rather than what was
        raise
    return made


async def _ensure_stream(bus: Bus, config: StreamConfig) -> bool:
    js = bus.jetstream
    try:
        info = await js.stream_info(config.name or "")
    except nats.js.errors.NotFoundError:
        _tell(await js.add_stream(config))
        log.info("stream.created", stream=config.name)
        return True
    have = info.config
    same = all(
        (getattr(have, field) or None) == getattr(config, field)
        for field in ("subjects", "max_bytes", "max_age", "max_msg_size", "num_replicas", "discard")
    )
    if not same:
        _forget()  # of this one another label may be told from now on
        info = await js.update_stream(config)
        log.info("stream.updated", stream=config.name)
    _tell(info)
    return False


def _tell(info: StreamInfo) -> None:
    """What the stream holds, as gauges."""
    config = info.config
    labels = (config.name, DiscardPolicy(config.discard or DiscardPolicy.OLD).value)
    MESSAGES.labels(*labels).set(info.state.messages)
    BYTES.labels(*labels).set(info.state.bytes)
    BYTES_MAX.labels(*labels).set(config.max_bytes or 0)


def _forget() -> None:
    for told in (MESSAGES, BYTES, BYTES_MAX):
        told.clear()


async def ensure_task_consumer(bus: Bus, lane: int, queue: str) -> None:
    """Make the consumer of one lane of one queue; `StreamMissing` until the scheduler has made the stream."""
    with translated():
        await bus.jetstream.add_consumer(bus.topology.stream, bus.topology.task_consumer_config(lane, queue))


async def ensure_dlq_consumer(bus: Bus) -> None:
    """Make the consumer of dead letter notices."""
    with translated():
        await bus.jetstream.add_consumer(bus.topology.dlq_stream, bus.topology.dlq_consumer_config())


class Watermark:
    """What the bus knows of a subject's oldest doorbell: `stamp` is None if no message waits there."""

    def __init__(self, stamp: datetime | None) -> None:
        self.stamp = stamp


async def read_watermark(bus: Bus, lane: int, queue: str) -> Watermark:
    """The stamp of the first message above the consumer's ack floor.

    Above the floor, because a message that the consumer will never deliver again would hide its own task and every
    younger one. Raises `StreamMissing` if there is no stream, `BusAway` if nothing can be learnt.
    """
    js, topology = bus.jetstream, bus.topology
    with translated():
        floor = 0
        try:
            info = await js.consumer_info(topology.stream, topology.task_consumer(lane, queue))
            floor = info.ack_floor.stream_seq if info.ack_floor else 0
        except nats.js.errors.NotFoundError as error:
            if error.err_code == NO_STREAM:
                raise StreamMissing("the stream of tasks is missing") from error
        try:
            message = await js.get_msg(
                topology.stream, seq=floor + 1, subject=topology.task_subject(lane, queue), next=True
            )
        except nats.js.errors.NotFoundError as error:
            if error.err_code == NO_STREAM:
                raise StreamMissing("the stream of tasks is missing") from error
            return Watermark(None)
    return Watermark(parse_stamp((message.headers or {}).get(STAMP_HEADER)) or _EPOCH)


def stamp_text(rung_at: datetime) -> str:
    """A stamp as a header: microseconds since 1970, of PostgreSQL's clock."""
    return str((rung_at - _EPOCH) // timedelta(microseconds=1))


def parse_stamp(text: str | None) -> datetime | None:
    """A stamp of a header; None if there is none that can be read."""
    try:
        return _EPOCH + timedelta(microseconds=int(text or ""))
    except (ValueError, OverflowError):
        return None
