"""A loop is two functions: `run_once()` does it, the ticker says when."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from taskflow.kit.logging import get_logger

log = get_logger(__name__)


class Ticker:
    """Runs `run_once` every `every_seconds`, and at once when woken.

    Errors of the kinds `passing` (a server is away) are logged and the next tick tries again; any other error ends
    the loop, and with it the program: spawn `run()` under a `Guard`. A `run_once` that returns True has more to do
    and is called again at once; one that returns a float is called again in so many seconds, if that is sooner.
    """

    def __init__(
        self,
        name: str,
        run_once: Callable[[], Awaitable[object]],
        every_seconds: float,
        *,
        passing: tuple[type[Exception], ...] = (),
    ) -> None:
        self.name = name
        self._run_once = run_once
        self._every_seconds = every_seconds
        self._passing = passing
        self._woken = asyncio.Event()
        self._done_at = time.monotonic()

    @property
    def on_time(self) -> bool:
        """Whether a tick went well within the last three periods (and ten seconds)."""
        return time.monotonic() - self._done_at < 3 * self._every_seconds + 10

    def wake(self) -> None:
        """Run the next tick now."""
        self._woken.set()

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            pause = await self._tick()
            if pause <= 0:
                await asyncio.sleep(0)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), pause)
            self._woken.clear()

    async def _tick(self) -> float:
        """Seconds until the next tick."""
        try:
            answer = await self._run_once()
        except self._passing as error:
            log.warning("tick.failed", loop=self.name, error=str(error))
            return self._every_seconds
        self._done_at = time.monotonic()
        if answer is True:
            return 0.0
        return min(answer, self._every_seconds) if isinstance(answer, float) else self._every_seconds
