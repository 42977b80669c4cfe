"""A TCP way to PostgreSQL that loses answers: what a worker's claims meet on a bad network."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.waiting import wait_until_sync

CLAIM = b"store.moves.claim_tasks"


class LossyProxy:
    """Forwards connections; on those that claim, now and then an answer is swallowed and the connection cut."""

    def __init__(self, database_url: str, chance: float) -> None:
        query = parse_qs(urlsplit(database_url).query)
        self._socket = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
        self._user = query["user"][0]
        self._name = urlsplit(database_url).path.strip("/")
        self._dice = random.Random(3)
        self._chance = chance
        self.port = 0
        self.lost = 0

    @property
    def url(self) -> str:
        """PostgreSQL through this proxy."""
        return f"postgresql://{self._user}@127.0.0.1:{self.port}/{self._name}?sslmode=disable"

    def run(self, stop: threading.Event) -> None:
        """Serve until told to stop; on a thread of its own."""
        asyncio.run(self._serve(stop))

    async def _serve(self, stop: threading.Event) -> None:
        server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            await asyncio.to_thread(stop.wait)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        claims = asyncio.Event()
        with contextlib.suppress(OSError):
            answers, questions = await asyncio.open_unix_connection(self._socket)
            ways: list[asyncio.Task[Any]] = [
                asyncio.create_task(self._ask(reader, questions, claims)),
                asyncio.create_task(self._answer(answers, writer, claims)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            questions.close()
        writer.close()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, claims: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if CLAIM in data:
                    claims.set()
                writer.write(data)
                await writer.drain()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, claims: asyncio.Event
    ) -> None:
        """A line of claims prepares its statement first: its answers are lost only after that."""
        heard = 0
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                heard += claims.is_set()
                if heard > 2 and self._dice.random() < self._chance:
                    self.lost += 1
                    return
                writer.write(data)
                await writer.drain()


@contextmanager
def lossy_proxy(database_url: str, chance: float) -> Iterator[LossyProxy]:
    """Run one; `chance` is that of each answer to a claim."""
    proxy, stop = LossyProxy(database_url, chance), threading.Event()
    thread = threading.Thread(target=proxy.run, args=(stop,))
    thread.start()
    try:
        wait_until_sync(lambda: proxy.port, "the proxy listens")
        yield proxy
    finally:
        stop.set()
        thread.join()
