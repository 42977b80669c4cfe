"""Events of the feed as readers get them: made once for all readers."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

import msgspec
from msgspec import Struct

from taskflow.domain.feed import Place, event_of
from taskflow.domain.task import LANE_NAMES, LaneName, Moved
from taskflow_api import sse

_encoder = msgspec.json.Encoder()


class FeedEvent(Struct, frozen=True, omit_defaults=True):
    """An event of the feed: the task's move, or what its handler said. `at` is when NATS heard of it."""

    task_id: str
    seq: int
    version: int
    status: str
    type: str
    queue: str
    priority: LaneName
    at: str
    number: int | None = None
    level: str | None = None
    fraction: float | None = None
    message: str | None = None


def frame(place: Place, move: Moved, at_ns: int) -> bytes:
    """One event on the wire."""
    event = FeedEvent(
        move.id,
        move.seq,
        move.version,
        move.status,
        move.type,
        move.queue,
        LANE_NAMES[move.lane],
        _time(at_ns),
    )
    if (said := move.said) is not None:
        event = msgspec.structs.replace(
            event, number=said.number, level=said.level, fraction=said.fraction, message=said.message
        )
    return sse.frame(event_of(move), str(place), _encoder.encode(event))


def mark(place: Place, reason: str) -> bytes:
    """What tells readers to look again."""
    return sse.frame("resync", str(place), _encoder.encode({"reason": reason}))


def standing(place: Place | None) -> bytes:
    """No event, but the id from which a reader who comes back goes on (an empty `data` is not dispatched)."""
    return b"id: %s\n\n" % str(place).encode() if place is not None else b""


@lru_cache(maxsize=64)
def _time(at_ns: int) -> str:
    """Shared by the events of a message."""
    seconds, rest = divmod(at_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"
