"""One connection through the fault proxy, and what the network does to it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import cast

from tests.support.postgres_wire import Answers, End, Questions

_CHUNK_BYTES = 65_536
_CHUNKS_WAITING = 64
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER without time: closing sends RST."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Mode(Enum):
    """What the network does."""

    OPEN = auto()
    HELD = auto()
    SILENT = auto()
    CUT = auto()


class Loss:
    """One statement whose question or answer is lost, `left` times more, each with a chance."""

    def __init__(self, statement: str, *, answer: bool, times: int, chance: float, silently: bool) -> None:
        self.statement = statement
        self.answer = answer
        self.left = times
        self.chance = chance
        self.silently = silently
        self.meanwhile: Callable[[], object] = lambda: None
        self.done = 0

    def strikes(self, statement: str, dice: random.Random) -> bool:
        """Whether this one is to be lost."""
        if statement != self.statement or self.left <= 0 or dice.random() >= self.chance:
            return False
        self.left -= 1
        return True


class Weather:
    """What the network does now, to all connections: until each way is let go, and what is lost by name."""

    def __init__(self, *, speaks_postgres: bool) -> None:
        self.speaks_postgres = speaks_postgres
        self.mode = Mode.OPEN
        self.latency_seconds = 0.0
        self.bytes_per_second: float | None = None
        self.losses: list[Loss] = []
        self._dice = random.Random(3)

    def struck(self, statement: str, *, answer: bool) -> Loss | None:
        """The loss that falls upon a statement now."""
        mine = (loss for loss in self.losses if loss.answer is answer and loss.strikes(statement, self._dice))
        return next(mine, None)


class Link:
    """One connection through the proxy. What it reads waits for its time, then goes on, unless it is lost."""

    def __init__(self, weather: Weather, client: Streams, connect: Callable[[], Awaitable[Streams]]) -> None:
        self._weather = weather
        self._connect = connect
        self._sides = [client]
        self._over = asyncio.Event()
        self._questions = Questions()
        self._answers = Answers()
        self._due: Loss | None = None
        self.silent = weather.mode is Mode.SILENT
        self.flows = asyncio.Event()
        self.gone = asyncio.Event()

    async def run(self) -> None:
        """Until either side ends; a silent one stays until the proxy ends."""
        try:
            if self._weather.mode is Mode.CUT:
                raise ConnectionRefusedError
            self._sides.append(await self._connect())
        except OSError:
            self.end(reset=True)
            return
        (asks, answered), (answers, asked) = self._sides
        sift = self._weather.speaks_postgres
        ways = [
            asyncio.create_task(self._carry(asks, asked, self._sift_questions if sift else bytes)),
            asyncio.create_task(self._carry(answers, answered, self._sift_answers if sift else bytes)),
        ]
        await self._over.wait()
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)

    def fall_silent(self) -> None:
        """Take nothing any more, so that what the sides send soon stays with them."""
        self.silent = True
        for _, writer in self._sides:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            with contextlib.suppress(RuntimeError):  # it is paused, or closed, already
                cast(asyncio.Transport, writer.transport).pause_reading()

    def end(self, *, reset: bool) -> None:
        """Close both sides."""
        for _, writer in self._sides:
            if reset:
                with contextlib.suppress(OSError):  # a Unix socket has no such option
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
            else:
                writer.close()
        self._over.set()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sift: Callable[[bytes], bytes]
    ) -> None:
        under_way: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(_CHUNKS_WAITING)
        arriving = asyncio.create_task(self._arrive(under_way, writer))
        try:
            with contextlib.suppress(OSError):
                while not self.silent and (data := await reader.read(_CHUNK_BYTES)):
                    due = asyncio.get_running_loop().time() + self._weather.latency_seconds
                    await under_way.put((due, sift(data)))
            if not self.silent:
                await under_way.put((0.0, None))
                await arriving
                self.end(reset=False)
        finally:
            arriving.cancel()

    async def _arrive(
        self, under_way: asyncio.Queue[tuple[float, bytes | None]], writer: asyncio.StreamWriter
    ) -> None:
        now = asyncio.get_running_loop().time
        with contextlib.suppress(OSError):
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(max(0.0, due - now()))
                while self._weather.mode is Mode.HELD:
                    self.flows.clear()
                    await self.flows.wait()
                if data is None:
                    return
                if self.silent:
                    continue
                writer.write(data)
                await writer.drain()
                if rate := self._weather.bytes_per_second:
                    await asyncio.sleep(len(data) / rate)

    def _sift_questions(self, data: bytes) -> bytes:
        kept = b""
        for message, statement in self._questions.feed(data):
            if statement is not None:
                if loss := self._weather.struck(statement, answer=False):
                    self._strike(loss)
                    return kept
                self._due = self._due or self._weather.struck(statement, answer=True)
            kept += message
        return kept

    def _sift_answers(self, data: bytes) -> bytes:
        """An answer that is to be lost is awaited whole; within a transaction, it is that to the commit."""
        if self._due is None:
            return data
        kept = b""
        for answer, end in self._answers.feed(data):
            if self._due is not None and end is End.COMMITTED:
                self._strike(self._due)
                return kept
            if self._due is not None and end is End.FAILED:  # nothing was done: the next one then
                self._due.left += 1
                self._due = None
            kept += answer
        return kept

    def _strike(self, loss: Loss) -> None:
        self._due = None
        loss.meanwhile()
        loss.done += 1
        if loss.silently:
            self.fall_silent()
        else:
            self.end(reset=True)
