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

import msgspec

from taskflow.domain.errors import Unavailable
from taskflow.domain.task import Claimed
from taskflow.engine.watchdog import Watchdog
from taskflow.kit.logging import get_logger
from taskflow.kit.memory import resident_bytes
from taskflow.store import workers
from taskflow.store.connect import Database, Line
from taskflow.store.workers import Beat, Registration

log = get_logger(__name__)

BEATS_PER_LEASE = 3
TRIES_PER_LEASE = 10
"""After a beat that was not answered: a third and a half of the lease may be gone by then."""


class Heart:
    """Registers the worker and beats until left. Answers come to `on_beat` on the event loop.

    `held()` is read from the beating thread: it must give a copy. `watchdog`, if given, looks from that thread too.
    """

    def __init__(
        self,
        database: Database,
        registration: Callable[[], Registration],
        *,
        lease_seconds: float,
        held: Callable[[], dict[tuple[str, int], Claimed]],
        busy: Callable[[], int],
        on_beat: Callable[[dict[tuple[str, int], Claimed], Beat], None],
        watchdog: Watchdog | None = None,
    ) -> None:
        self._database = database
        self._registration = registration
        self._lease_seconds = lease_seconds
        self._held = held
        self._busy = busy
        self._on_beat = on_beat
        self._watchdog = watchdog
        self._loop = asyncio.get_running_loop()
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] = _nothing
        self._renewed_at = time.monotonic()
        self.failed: asyncio.Future[None] = self._loop.create_future()

    async def __aenter__(self) -> Self:
        await self.register(self._registration().id)
        started = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="heart", daemon=True)
        self._thread.start()
        self._stop = await started
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 5)
        with contextlib.suppress(Unavailable):
            async with self._database.connection() as conn:
                await workers.end(conn, self._registration().id)

    @property
    def lease_live(self) -> bool:
        """Whether, by this process's own clock, the lease can still be believed in."""
        return time.monotonic() - self._renewed_at < self._lease_seconds

    async def register(self, worker_id: str) -> None:
        """Make the worker known under this id, with a new lease."""
        registration = msgspec.structs.replace(self._registration(), id=worker_id)
        async with self._database.connection() as conn:
            began = time.monotonic()
            await workers.register(conn, registration, self._lease_seconds)
        self._renewed_at = began

    def _run(self, started: asyncio.Future[Callable[[], object]]) -> None:
        try:
            asyncio.run(self._live(started))
        except Exception as error:  # a worker without a heart must not look alive
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                self._loop.call_soon_threadsafe(self._fail, error)

    def _fail(self, error: Exception) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    async def _live(self, started: asyncio.Future[Callable[[], object]]) -> None:
        """The thread's own loop: beat and watch until told to stop; an error of either ends both."""
        own, stop = asyncio.get_running_loop(), asyncio.Event()
        self._loop.call_soon_threadsafe(started.set_result, lambda: _tell(own, stop))
        loops = [asyncio.create_task(stop.wait()), asyncio.create_task(self._beat())]
        if self._watchdog is not None:
            loops.append(asyncio.create_task(self._watchdog.run()))
        done, rest = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
        for loop in rest:
            loop.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        for loop in done:
            loop.result()

    async def _beat(self) -> None:
        async with Line(self._database) as line:
            answered = True
            while True:
                await asyncio.sleep(self._lease_seconds / (BEATS_PER_LEASE if answered else TRIES_PER_LEASE))
                answered = await self._beat_once(line)

    async def _beat_once(self, line: Line) -> bool:
        """One beat; returns whether it was answered. If not, it is given up while there is time for another."""
        held, worker_id, began = self._held(), self._registration().id, time.monotonic()
        try:
            async with asyncio.timeout(self._lease_seconds / 2):
                answer = await line.run(
                    lambda conn: workers.beat(
                        conn, worker_id, self._lease_seconds, self._busy(), resident_bytes()
                    )
                )
        except (Unavailable, TimeoutError) as error:
            log.warning("beat.failed", error=str(error) or "no answer")
            return False
        if answer.lease_live:
            self._renewed_at = began
            if self._watchdog is not None:
                self._watchdog.learn(answer.running, held)
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(self._on_beat, held, answer)
        return True


def _nothing() -> None:
    """The heart does not beat yet."""


def _tell(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # that loop has ended
        loop.call_soon_threadsafe(stop.set)
