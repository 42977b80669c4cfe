"""How late the event loop is: a loop that sleeps, and measures by how much it was woken too late."""

from __future__ import annotations

import asyncio
from typing import Self

from taskflow.kit.metrics import histogram

EVERY_SECONDS = 1.0
LAG = histogram(
    "taskflow_event_loop_lag_seconds",
    "How much later than it should the event loop came to a timer, once a second.",
    bounds=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


class Pulse:
    """Measures while entered."""

    def __init__(self, every_seconds: float = EVERY_SECONDS) -> None:
        self._every_seconds = every_seconds
        self._handle: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._every_seconds
        self._handle = loop.call_at(due, self._beat, due)

    def _beat(self, due: float) -> None:
        LAG.observe(max(0.0, asyncio.get_running_loop().time() - due))
        self._wait()
