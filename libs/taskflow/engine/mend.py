"""mend: make right what the doctor found, as far as it can be made right.

Every statement is guarded, so that what moves meanwhile is left alone, and two may mend at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from taskflow.bus.connect import Bus
from taskflow.bus.publisher import Doorbell, ring
from taskflow.bus.streams import ensure_streams
from taskflow.domain.attempt import ErrorInfo
from taskflow.domain.errors import Unavailable
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.doctor import Diagnosis, Doctor, read_served
from taskflow.engine.rescue import take_back
from taskflow.kit.logging import get_logger
from taskflow.store import doorbells, mend
from taskflow.store.audit import Bound
from taskflow.store.connect import Conn, Line
from taskflow.store.doorbells import Rung

log = get_logger(__name__)

PAGE = 5_000
ROWS_PAGE = 1_000
_GONE = ErrorInfo("WorkerLost", "found by the doctor: no live worker tended it")
_LATE = ErrorInfo("TimeoutError", "found by the doctor: it was still running past its timeout and margin")
_VERDICTS = {
    "replayed": "marked replayed, because its task has begun another life",
    "discarded": "discarded, because its task is gone or has ended otherwise",
    "void": "deleted, because the life that it ends goes on",
}
_OPEN = ErrorInfo("NeverClosed", "found by the doctor: nobody had closed it")


class Mender:
    """Acts on a diagnosis. What needs NATS is left out while NATS is away."""

    def __init__(
        self, line: Line, bus: Bus, dispatcher: Dispatcher, doctor: Doctor, *, poison_losses_max: int
    ) -> None:
        self._line = line
        self._bus = bus
        self._dispatcher = dispatcher
        self._doctor = doctor
        self._poison_losses_max = poison_losses_max
        self.notes: list[str] = []

    async def mend(self, diagnosis: Diagnosis) -> dict[str, int]:
        """How many of each finding were mended, by check; what cannot be mended is not told of. See also `notes`."""
        acts: dict[str, Callable[[Diagnosis], Awaitable[int]]] = {
            "running": self._rescue,
            "tries_open": self._close_tries,
            "letters_missing": self._write_letters,
            "letters_orphaned": self._resolve_letters,
            "doorbells": self._ring,
            "parked": self._unpark,
            "figures": self._correct,
        }
        mended = {
            name: await act(diagnosis)
            for name, act in acts.items()
            if name in diagnosis.found and diagnosis.found[name].n
        }
        if "figures" in mended and diagnosis.law.gap:
            mended["conservation"] = abs(diagnosis.law.gap)
        return mended

    async def _rescue(self, diagnosis: Diagnosis) -> int:
        found = sorted(diagnosis.passing.untended.values(), key=lambda pair: pair[0].id)
        taken = [
            await take_back(
                self._line,
                self._dispatcher,
                found[start : start + ROWS_PAGE],
                _GONE,
                _LATE,
                poison_losses_max=self._poison_losses_max,
            )
            for start in range(0, len(found), ROWS_PAGE)
        ]
        return sum(map(len, taken))

    async def _close_tries(self, diagnosis: Diagnosis) -> int:
        tries = sorted(diagnosis.passing.tries)
        return await self._line.run(lambda conn: mend.close_tries(conn, tries, _OPEN))

    async def _write_letters(self, diagnosis: Diagnosis) -> int:
        async def act(ids: list[str], conn: Conn) -> int:
            notices = await mend.write_letters(conn, ids, poison_losses_max=self._poison_losses_max)
            self._dispatcher.notice(notices)
            return len(notices)

        return await self._in_pages(diagnosis.found["letters_missing"].ids, act)

    async def _resolve_letters(self, diagnosis: Diagnosis) -> int:
        async def act(ids: list[str], conn: Conn) -> int:
            became = await mend.resolve_letters(conn, ids)
            self.notes += [f"dead letter {value}: {_VERDICTS[verdict]}" for value, verdict in became.items()]
            return len(became)

        return await self._in_pages(diagnosis.found["letters_orphaned"].ids, act)

    async def _in_pages(self, ids: list[str], act: Callable[[list[str], Conn], Awaitable[int]]) -> int:
        done = 0
        for start in range(0, len(ids), ROWS_PAGE):
            page = ids[start : start + ROWS_PAGE]
            done += await self._line.run(partial(act, page))
        return done

    async def _ring(self, diagnosis: Diagnosis) -> int:
        """As `heal` does: stamped anew, committed, rung."""
        rung = 0
        for bound in diagnosis.passing.bounds or ():
            rung += await self._ring_pages(partial(_ring_again, bound))
        return rung

    async def _unpark(self, diagnosis: Diagnosis) -> int:
        served = await self._line.run(read_served)
        return await self._ring_pages(lambda conn: doorbells.unpark(conn, served, PAGE))

    async def _ring_pages(self, stamp: Callable[[Conn], Awaitable[list[Rung]]]) -> int:
        """How many were stamped and confirmed; what NATS does not confirm is found again later."""
        rung, stamped = 0, PAGE
        try:
            await ensure_streams(self._bus)
            while stamped >= PAGE:
                rows = await self._line.run(stamp)
                stamped = len(rows)
                rung += await ring(self._bus, [Doorbell(r.id, r.lane, r.queue, r.rung_at) for r in rows])
        except Unavailable as error:
            log.warning("doorbells.failed", error=str(error))
        return rung

    async def _correct(self, _diagnosis: Diagnosis) -> int:
        """Count once more under a lock: two that add the same differences would make new ones."""

        async def act(conn: Conn) -> int:
            if not await mend.try_lock(conn):
                raise Unavailable("another doctor is correcting the figures", retry_after_seconds=60)
            try:
                scanned = await self._doctor.scan(conn)
                await mend.correct_totals(conn, scanned.differences)
                await mend.correct_owner_totals(conn, scanned.owned)
            finally:
                await mend.unlock(conn)
            self._note_gap(scanned.law.gap)
            return len(scanned.differences) + len(scanned.owned)

        return await self._line.run(act)

    def _note_gap(self, gap: int) -> None:
        if gap > 0:
            self.notes.append(
                f"{gap} accepted tasks have no row any more: from now on they are counted as pruned"
            )
        if gap < 0:
            self.notes.append(f"{-gap} tasks were never counted as accepted: from now on they are")


async def _ring_again(bound: Bound, conn: Conn) -> list[Rung]:
    return await doorbells.ring_again(conn, bound.queue, bound.lane, bound.before, PAGE)
