"""The orderly end of the api: new work is refused, streams say `bye`, waiting calls are answered.

Set by `server.serve_http` when the program is told to stop; read by the edge, the streams and the waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self


class Drain:
    """Whether the api is on its way out, and how many requests are still inside. `with drain:` counts one."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._limits: dict[asyncio.Timeout, float] = {}
        self.requests = 0

    @property
    def draining(self) -> bool:
        """Whether `begin` was called."""
        return self._begun.is_set()

    def begin(self) -> None:
        """From now on new work is refused, and whoever waits is woken."""
        if self.draining:
            return
        self._begun.set()
        for limit, seconds in self._limits.items():
            hasten(limit, seconds)

    @asynccontextmanager
    async def limited(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        """The block may last for ever, but only so long after the drain began; then it is broken off without an error.

        It gets this limit, which may be hastened.
        """
        limit = asyncio.timeout(seconds if self.draining else None)
        try:
            async with limit:
                self._limits[limit] = seconds
                try:
                    yield limit
                finally:
                    del self._limits[limit]
        except TimeoutError:
            if not limit.expired():
                raise

    async def begun(self) -> None:
        """Wait until the drain begins."""
        await self._begun.wait()

    async def emptied(self) -> None:
        """Wait until no request is inside."""
        await self._empty.wait()

    def __enter__(self) -> Self:
        self.requests += 1
        self._empty.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self.requests -= 1
        if self.requests == 0:
            self._empty.set()


def hasten(limit: asyncio.Timeout, seconds: float) -> None:
    """Let it end after so long at the latest."""
    when, latest = limit.when(), asyncio.get_running_loop().time() + seconds
    if not limit.expired() and (when is None or when > latest):
        limit.reschedule(latest)
