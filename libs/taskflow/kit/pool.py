"""Connections that are kept and used again, and never more at once than there may be. Used by `outgoing`.

Not httpcore's own pool: there a request that is given up while it waits for a connection can leave one behind that
nobody opens, uses or closes, until all room is taken by such (httpcore's issue 1093). Here who has one gives it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpcore

Opener = Callable[[httpcore.Origin], httpcore.AsyncHTTPConnection]


class Pool:
    """At most `limit` connections, and of idle ones at most `kept_max` among them."""

    def __init__(self, opener: Opener, limit: int, kept_max: int) -> None:
        self._opener = opener
        self._limit = limit
        self._kept_max = kept_max
        self._room = asyncio.Semaphore(limit)
        self._busy = 0
        self._kept: list[httpcore.AsyncHTTPConnection] = []  # in the order of their last use

    @asynccontextmanager
    async def connection(self, origin: httpcore.Origin) -> AsyncIterator[httpcore.AsyncHTTPConnection]:
        """One to this origin, for one request: it need not be open yet."""
        async with self._room:
            self._busy += 1
            try:
                connection = await self._taken(origin)
                try:
                    yield connection
                finally:
                    await self._give_back(connection)
            finally:
                self._busy -= 1

    async def close(self) -> None:
        """Close those that are kept, and keep none any more."""
        self._kept_max = 0
        await self._shrink(0)

    async def _taken(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        """No await stands between finding one and having it: others look at the same list."""
        while (over := next((each for each in self._kept if each.has_expired()), None)) is not None:
            self._kept.remove(over)
            await over.aclose()
        for connection in reversed(self._kept):
            if connection.can_handle_request(origin):
                self._kept.remove(connection)
                return connection
        await self._shrink(self._limit - self._busy)
        return self._opener(origin)

    async def _give_back(self, connection: httpcore.AsyncHTTPConnection) -> None:
        if connection.is_idle() and not connection.is_closed():
            self._kept.append(connection)
            await self._shrink(self._kept_max)
        else:
            await connection.aclose()

    async def _shrink(self, count: int) -> None:
        while len(self._kept) > count:
            await self._kept.pop(0).aclose()
