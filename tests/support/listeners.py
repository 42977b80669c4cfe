"""Small servers on loopback for those who call others: each counts what reaches it, and answers as a test tells it to."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from taskflow.cli.dev.places import free_port

Answers = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Listener:
    """What has reached one server: `connections`, `open_max` of them at once, the `requests`' heads and bodies."""

    def __init__(self, answers: Answers) -> None:
        self.port = 0
        self.connections = 0
        self.open = 0
        self.open_max = 0
        self.requests: list[bytes] = []
        self._answers = answers
        self._serving: set[asyncio.Task[None]] = set()

    def url(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        """A URL that leads here."""
        return f"{scheme}://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: its requests are read and answered one after the other, until either side closes."""
        self.connections += 1
        self.open += 1
        self.open_max = max(self.open_max, self.open)
        serving = asyncio.current_task()
        assert serving is not None
        self._serving.add(serving)
        try:
            while request := await _request(reader):
                self.requests.append(request)
                await self._answers(reader, writer)
        except (OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            writer.transport.abort()  # the caller left, or the test is over
        finally:
            self.open -= 1
            self._serving.discard(serving)
            writer.close()

    async def end(self) -> None:
        """Have nothing left that serves."""
        for serving in self._serving:
            serving.cancel()
        if self._serving:
            await asyncio.wait(set(self._serving))


async def _request(reader: asyncio.StreamReader) -> bytes:
    """A whole request; nothing if the caller has closed."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    length = next(
        (int(line[15:]) for line in head.splitlines() if line.lower().startswith(b"content-length:")), 0
    )
    return head + await reader.readexactly(length)


@asynccontextmanager
async def listening(
    answers: Answers, *hosts: str, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Listener]:
    """Listen on these addresses, on 127.0.0.1 if none is named."""
    listener = Listener(answers)
    if len(hosts) > 1:
        port = port or free_port(hosts[0])
    server = await asyncio.start_server(listener.serve, hosts or "127.0.0.1", port, ssl=tls)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()
        await listener.end()
        await server.wait_closed()


def sending(*parts: bytes, close: bool = False) -> Answers:
    """Answer with these bytes, and perhaps close."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if close:
            writer.close()

    return answer


def hanging(*parts: bytes) -> Answers:
    """Answer with these bytes, then do nothing until the caller closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.writelines(parts)
        await reader.read()

    return answer


def dripping(part: bytes, start: bytes = b"", every_seconds: float = 0.02) -> Answers:
    """Answer with `start`, then with `part` again and again, without an end."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(every_seconds)

    return answer


def flooding(part: bytes, start: bytes = b"") -> Answers:
    """The same as fast as the caller reads."""
    return dripping(part, start, 0)


async def resetting(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Break the connection off (RST)."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
