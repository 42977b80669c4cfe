"""Readers of server-sent events: the format as browsers read it, one connection, and a reader that comes back.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

RETRY_MS = 1_000
_HEAD_SECONDS = 60


class Event(NamedTuple):
    """One event; `id` is the last that was told, by this event or one before it."""

    event: str
    id: str
    data: str

    @property
    def json(self) -> Any:
        """What the data say."""
        return json.loads(self.data)


class Parser:
    """Makes events of bytes, however they are cut. An event without data is none, as in browsers."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_ms: int | None = None
        self.comments = 0
        self._rest = b""
        self._event = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[Event]:
        """The events that are whole by now."""
        *lines, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n")
        return [event for line in lines if (event := self._take(line.decode())) is not None]

    def _take(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                self.comments += 1
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self.last_id = value
            case "retry" if value.isdecimal():
                self.retry_ms = int(value)
        return None

    def _dispatch(self) -> Event | None:
        event, data = self._event or "message", self._data
        self._event, self._data = "", []
        return Event(event, self.last_id, "\n".join(data)) if data else None


class Stream:
    """An open connection: the answer's status and headers, and its events until the server ends it."""

    def __init__(
        self, url: str, reader: asyncio.StreamReader, status: int, headers: Mapping[str, str], last_id: str
    ) -> None:
        self.url = url
        self.status = status
        self.headers = headers
        self.parser = Parser()
        self.parser.last_id = last_id
        self._reader = reader
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self._left = int(headers.get("content-length", 0))
        self._waiting: deque[Event] = deque()

    async def chunk(self) -> bytes:
        """Some of the body; nothing at its end. If the connection breaks before that: `ConnectionResetError`."""
        try:
            if not self._chunked:
                size, self._left = self._left, 0
                return await self._reader.readexactly(size)
            size = int(await self._reader.readline() or b"broken", 16)
            return (await self._reader.readexactly(size + 2))[:-2]
        except (ValueError, asyncio.IncompleteReadError):
            raise ConnectionResetError("the stream broke off") from None

    async def body(self) -> bytes:
        """All of it, for answers that are no streams."""
        parts = []
        while part := await self.chunk():
            parts.append(part)
        return b"".join(parts)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            data = await self.chunk()
            if not data:
                raise StopAsyncIteration
            self._waiting.extend(self.parser.feed(data))
        return self._waiting.popleft()


@asynccontextmanager
async def open_stream(url: str, *, last_event_id: str = "", **headers: str) -> AsyncIterator[Stream]:
    """GET it as an event stream. More headers by name, `_` for `-`."""
    place = urlsplit(url)
    asked = {"host": place.netloc, "accept": "text/event-stream", "cache-control": "no-store"}
    if last_event_id:
        asked["last-event-id"] = last_event_id
    asked |= {name.replace("_", "-"): value for name, value in headers.items()}
    path = (place.path or "/") + (f"?{place.query}" if place.query else "")
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        lines = "".join(f"{name}: {value}\r\n" for name, value in asked.items())
        writer.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        status, answered = await asyncio.wait_for(_head(reader), _HEAD_SECONDS)
        yield Stream(url, reader, status, answered, last_event_id)
    finally:
        writer.transport.abort()


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        raise ConnectionResetError("no answer came") from None
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers


class Connected(NamedTuple):
    """When a reader's stream was opened, and after which id; times are `time.time()`."""

    at: float
    url: str
    after: str


class Source:
    """A reader that comes back with `Last-Event-ID` whenever its stream ends, as a browser's EventSource does.

    `url` gives where to go each time. It is over after an event of `last`, or an answer 204. `events` keeps what it was
    told, each with the time at which it came; `heard` is told at once.
    """

    def __init__(
        self,
        url: Callable[[], str],
        *,
        last: frozenset[str] = frozenset({"end"}),
        heard: Callable[[Event], None] = lambda _: None,
        last_event_id: str = "",
        **headers: str,
    ) -> None:
        self._url = url
        self._last = last
        self._heard = heard
        self._headers = headers
        self._retry_ms = RETRY_MS
        self.last_id = last_event_id
        self.events: list[tuple[float, Event]] = []
        self.connected: list[Connected] = []
        self.refused = 0
        """How often it was answered 503."""
        self.is_over = False

    def broke_off(self) -> None:
        """Called when there was no stream, or it broke."""

    def ended(self, status: int) -> bool:
        """Whether it is over by an answer without a stream."""
        return status == 204

    async def run(self) -> Self:
        """Follow until it is over."""
        while not self.is_over:
            try:
                async with open_stream(self._url(), last_event_id=self.last_id, **self._headers) as stream:
                    await self._follow(stream)
            except (OSError, asyncio.IncompleteReadError):
                self.broke_off()
            if not self.is_over:
                await asyncio.sleep(self._retry_ms / 1000)
        return self

    async def _follow(self, stream: Stream) -> None:
        if stream.status != 200:
            assert stream.status in {204, 503}, (stream.status, await stream.body())
            self.is_over = self.ended(stream.status)
            if stream.status == 503:
                self.refused += 1
                self.broke_off()
            return
        self.connected.append(Connected(time.time(), stream.url, self.last_id))
        async for event in stream:
            self.last_id = event.id
            self._retry_ms = stream.parser.retry_ms or self._retry_ms
            self.events.append((time.time(), event))
            self._heard(event)
            if event.event in self._last:
                self.is_over = True
                return
