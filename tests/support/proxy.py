"""A TCP proxy that does what networks do: delays, cuts, falls silent; and loses single statements or their answers.

    with fault_proxy(url) as proxy:  # of PostgreSQL (also on a Unix socket) or NATS; `proxy.url` leads through it
        proxy.fall_silent()
        ...
        proxy.heal()

A kernel does not notice its silence, as this proxy's own acknowledges what is sent: only what a client does for itself,
time limits and pings, gets it out of that.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tests.support.link import Link, Loss, Mode, Streams, Weather


class Proxy:
    """Stands before one server. Its methods may be called from any thread, and have taken effect when they return."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._query = dict(parse_qsl(self._parts.query))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._listens = threading.Event()
        self._weather = Weather(speaks_postgres=self._parts.scheme.startswith("postgres"))
        self._links: set[Link] = set()
        self._port = 0

    @property
    def url(self) -> str:
        """The server through this proxy."""
        account = self._parts.netloc.rpartition("@")[0] or self._query.get("user", "")
        query = {k: v for k, v in self._query.items() if k not in {"host", "port", "user"}}
        if self._weather.speaks_postgres:
            query["sslmode"] = "disable"
        place = f"{account}@127.0.0.1:{self._port}" if account else f"127.0.0.1:{self._port}"
        return urlunsplit((self._parts.scheme, place, self._parts.path, urlencode(query), ""))

    def slow(self, latency_seconds: float, bytes_per_second: float | None = None) -> None:
        """Delay each way by `latency_seconds`, and let no more through than so much, until healed."""
        weather = self._weather
        weather.latency_seconds, weather.bytes_per_second = latency_seconds, bytes_per_second

    def hold(self) -> None:
        """Let nothing through until healed; then all of it arrives, late: TCP has repeated it."""
        self._weather.mode = Mode.HELD

    def fall_silent(self) -> None:
        """Half-open: the connections of now stay, and are silent for ever; those made after `heal` are well."""
        self._on_loop(self._silence())

    def cut(self) -> None:
        """Reset every connection, and each new one until healed."""
        self._on_loop(self._cut())

    def heal(self) -> None:
        """Be a good network again."""
        self.slow(0)
        self._on_loop(self._heal())

    def lose_question(
        self, statement: str, *, times: int = 1, chance: float = 1.0, silently: bool = False
    ) -> Loss:
        """The next `times` of a statement (`store.moves.record_outcomes`) never reach PostgreSQL, each with a chance."""
        return self._lose(Loss(statement, answer=False, times=times, chance=chance, silently=silently))

    def lose_answer(
        self,
        statement: str,
        *,
        times: int = 1,
        chance: float = 1.0,
        silently: bool = False,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Loss:
        """The next `times` of a statement are carried out and committed, but the answer that says so is lost.

        `meanwhile` is called at that moment, before the connection is reset or, `silently`, left without a word.
        """
        loss = Loss(statement, answer=True, times=times, chance=chance, silently=silently)
        loss.meanwhile = meanwhile
        return self._lose(loss)

    async def _connect(self) -> Streams:
        """To the server itself."""
        host = self._query.get("host") or self._parts.hostname or "127.0.0.1"
        port = int(
            self._query.get("port") or self._parts.port or (5432 if self._weather.speaks_postgres else 4222)
        )
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    def run(self) -> None:
        """Serve until `stop`; on a thread of its own."""
        asyncio.run(self._serve())

    def until_listening(self) -> None:
        """Wait for `port`."""
        assert self._listens.wait(10), "the proxy does not listen"

    def stop(self) -> None:
        """End it, and every connection."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        self._listens.set()
        await self._stop.wait()
        server.close()
        await self._cut()
        for link in [*self._links]:
            await link.gone.wait()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self._weather, (reader, writer), self._connect)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)
            link.gone.set()

    def _lose(self, loss: Loss) -> Loss:
        self._weather.losses.append(loss)
        return loss

    def _on_loop(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _silence(self) -> None:
        self._weather.mode = Mode.SILENT
        for link in self._links:
            link.fall_silent()

    async def _cut(self) -> None:
        self._weather.mode = Mode.CUT
        await self._reset()

    async def _reset(self) -> None:
        for link in [*self._links]:
            link.end(reset=True)

    async def _heal(self) -> None:
        self._weather.mode = Mode.OPEN
        for link in self._links:
            link.flows.set()


@contextmanager
def fault_proxy(url: str) -> Iterator[Proxy]:
    """Run one before the server at `url`."""
    proxy = Proxy(url)
    thread = threading.Thread(target=proxy.run, name="proxy")
    thread.start()
    try:
        proxy.until_listening()
        yield proxy
    finally:
        proxy.stop()
        thread.join()
