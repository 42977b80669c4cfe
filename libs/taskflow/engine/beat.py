"""beat: renew the worker's lease, and compare what PostgreSQL believes with what this process holds, both ways.

The beat comes from a thread with its own connection, so that a busy event loop is not mistaken for death. Rows that
PostgreSQL says run here but that nobody holds (the answer to a claim was lost) are handed back; handlers whose task is no
longer theirs are stopped: that is also how a cancel arrives when its message was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Self

from taskflow.domain.errors import Unavailable
from taskflow.domain.task import Claimed
from taskflow.kit.logging import get_logger
from taskflow.store import workers
from taskflow.store.connect import Database, Line
from taskflow.store.workers import Beat, Registration

log = get_logger(__name__)

BEATS_PER_LEASE = 3


class Heart:
    """Registers the worker and beats until left. Answers come to `on_beat` on the event loop.

    `held()` is read from the beating thread: it must give a copy.
    """

    def __init__(
        self,
        database: Database,
        registration: Callable[[], Registration],
        *,
        lease_seconds: float,
        held: Callable[[], dict[str, Claimed]],
        busy: Callable[[], int],
        on_beat: Callable[[dict[str, Claimed], Beat], None],
    ) -> None:
        self._database = database
        self._registration = registration
        self._lease_seconds = lease_seconds
        self._held = held
        self._busy = busy
        self._on_beat = on_beat
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop = asyncio.get_running_loop()
        self._renewed_at = time.monotonic()
        self.failed: asyncio.Future[None] = self._loop.create_future()

    async def __aenter__(self) -> Self:
        await self.register()
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 5)
        with contextlib.suppress(Unavailable):
            async with self._database.connection() as conn:
                await workers.end(conn, self._registration().id)

    @property
    def lease_live(self) -> bool:
        """Whether, by this process's own clock, the lease can still be believed in."""
        return time.monotonic() - self._renewed_at < self._lease_seconds

    async def register(self) -> None:
        """Make the worker known under its present id, with a new lease."""
        async with self._database.connection() as conn:
            began = time.monotonic()
            await workers.register(conn, self._registration(), self._lease_seconds)
        self._renewed_at = began

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                line = Line(self._database)
                while not self._stop.wait(self._lease_seconds / BEATS_PER_LEASE):
                    runner.run(self._beat_once(line))
                runner.run(line.__aexit__())
        except Exception as error:  # a worker without a heart must not look alive
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                self._loop.call_soon_threadsafe(self._fail, error)

    def _fail(self, error: Exception) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    async def _beat_once(self, line: Line) -> None:
        held, worker_id, began = self._held(), self._registration().id, time.monotonic()
        try:
            answer = await line.run(
                lambda conn: workers.beat(conn, worker_id, self._lease_seconds, self._busy())
            )
        except Unavailable as error:
            log.warning("beat failed", error=str(error))
            return
        if answer.lease_live:
            self._renewed_at = began
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(self._on_beat, held, answer)
