"""What goes by on a connection to PostgreSQL: which of our statements is asked, and where an answer ends.

Statements bear their name in their first line (`-- store.moves.claim_tasks`). asyncpg sends the text once, with Parse,
and from then on only Bind with the name it gave it, so the names have to be followed.
https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto


class Questions:
    """The client's way, cut into messages."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = False
        self._names: dict[bytes, str | None] = {}

    def feed(self, data: bytes) -> Iterator[tuple[bytes, str | None]]:
        """Each message that these bytes complete, and the statement it has carried out (Bind and Query do)."""
        self._rest += data
        while (length := _length(self._rest, 0, typed=self._started)) is not None:
            message, self._rest = self._rest[:length], self._rest[length:]
            yield message, self._carried_out(message)

    def _carried_out(self, message: bytes) -> str | None:
        kind, body = message[:1], message[5:]
        if not self._started:  # the first message has no type
            self._started = True
        elif kind == b"P":
            name, text = body.split(b"\0", 2)[:2]
            self._names[name] = _name_of(text)
        elif kind == b"B":
            return self._names.get(body.split(b"\0", 2)[1])
        elif kind == b"Q":
            return _name_of(body)
        return None


class End(Enum):
    """How an answer leaves its connection."""

    COMMITTED = auto()
    OPEN = auto()
    """In a transaction."""
    FAILED = auto()


class Answers:
    """The server's way, from a moment when nothing was under way."""

    def __init__(self) -> None:
        self._rest = b""
        self._failed = False

    def feed(self, data: bytes) -> Iterator[tuple[bytes, End]]:
        """Each whole answer that these bytes complete, and how it ends."""
        self._rest += data
        place = 0
        while (length := _length(self._rest, place, typed=True)) is not None:
            kind = self._rest[place : place + 1]
            place += length
            self._failed = self._failed or kind == b"E"
            if kind == b"Z":
                answer, self._rest = self._rest[:place], self._rest[place:]
                end = End.FAILED if self._failed else End.OPEN if answer[-1:] == b"T" else End.COMMITTED
                place, self._failed = 0, False
                yield answer, end


def _length(data: bytes, place: int, *, typed: bool) -> int | None:
    """The length of the message that begins here, if all of it is there."""
    skip = 1 if typed else 0
    if len(data) < place + skip + 4:
        return None
    length = skip + int.from_bytes(data[place + skip : place + skip + 4], "big")
    return length if len(data) >= place + length else None


def _name_of(text: bytes) -> str | None:
    first = text.split(b"\n", 1)[0].rstrip(b"\0").decode(errors="replace")
    return first.removeprefix("-- ").strip() if first.startswith("-- ") else None
