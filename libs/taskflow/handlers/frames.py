"""What a worker and its child processes say to each other: length-prefixed MessagePack over a socket pair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from taskflow.domain.attempt import ErrorInfo, Failed, Snoozed, Succeeded
from taskflow.domain.task import Claimed
from taskflow.handlers.context import Kind

FRAME_BYTES_MAX = 4 * 1024 * 1024
_LENGTH_BYTES = 4


class Hello(Struct, tag=True):
    """First word to a child: where modules are found, which to import, and what handlers are given."""

    sys_path: list[str]
    imports: list[str]
    given: dict[str, Any]


class Call(Struct, tag=True):
    """Run the handler of `claimed`; `deadline` is seconds since the epoch."""

    claimed: Claimed
    deadline: float


class Stop(Struct, tag=True):
    """The running handler is to end: SIGTERM follows."""


class Bye(Struct, tag=True):
    """No further calls: end in order."""


class Ready(Struct, tag=True):
    """The child has imported its handlers."""


class Broken(Struct, tag=True):
    """The child could not import its handlers and ends."""

    error: ErrorInfo


class Line(Struct, tag=True):
    """A log line or progress of the running handler."""

    kind: Kind
    level: str
    text: str
    fraction: float | None


class Ended(Struct, tag=True, omit_defaults=True):
    """How the handler ended: exactly one of these is set."""

    succeeded: Succeeded | None = None
    failed: Failed | None = None
    snoozed: Snoozed | None = None

    @classmethod
    def of(cls, outcome: Succeeded | Failed | Snoozed) -> Ended:
        """The frame for `outcome`."""
        match outcome:
            case Succeeded():
                return cls(succeeded=outcome)
            case Failed():
                return cls(failed=outcome)
            case Snoozed():
                return cls(snoozed=outcome)

    @property
    def outcome(self) -> Succeeded | Failed | Snoozed:
        """The one that is set."""
        outcome = self.succeeded or self.failed or self.snoozed
        if outcome is None:
            raise ValueError("an Ended frame without an outcome; expected succeeded, failed or snoozed")
        return outcome


Frame = Hello | Call | Stop | Bye | Ready | Broken | Line | Ended

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def pack(frame: Frame) -> bytes:
    """`frame` as bytes on the wire."""
    body = _ENCODER.encode(frame)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


class Unpacker:
    """Turns the bytes that arrive into frames; ValueError on what cannot be one."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH_BYTES:
            size = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
            if size > FRAME_BYTES_MAX:
                raise ValueError(f"a frame of {size} bytes; expected {FRAME_BYTES_MAX} at most")
            end = _LENGTH_BYTES + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH_BYTES:end])
            del self._buffer[:end]
            yield _DECODER.decode(body)
