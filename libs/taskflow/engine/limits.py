"""Limits that all apis share, borrowed in slices: a call is counted here, and PostgreSQL is asked ahead of need.

A slice is what the subject used in the last quarter of a second, at most a twentieth of what is left. So near its end
a limit is counted one by one, and it is never exceeded; what an api has borrowed and does not use goes back after a
second, and is refused to others meanwhile. While nobody calls, nothing is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import NamedTuple, Self

from msgspec import Struct

from taskflow.domain.errors import Overloaded, Unavailable
from taskflow.kit.batcher import Batcher, Full
from taskflow.kit.logging import get_logger
from taskflow.store import rate_limits
from taskflow.store.connect import Database, Line
from taskflow.store.errors import verdict
from taskflow.store.rate_limits import Ask, Loan

log = get_logger(__name__)

AHEAD_SECONDS = 0.25
SHARE_OF_LEFT = 20
UNUSED_SECONDS = 1.0
"""After so long what is not used goes back, and what was refused is asked for again."""
SUBJECTS_MAX = 50_000
WAITING_MAX = 20_000


class Limit(NamedTuple):
    """So many an hour of a subject; `name` is what callers know it by."""

    name: str
    subject: str
    per_hour: int


class Standing(NamedTuple):
    """How a limit stands: what is left of it, about, and in how many seconds more comes back."""

    name: str
    per_hour: int
    remaining: int
    reset_seconds: float


class Taken(NamedTuple):
    """Whether there was enough of every limit, and how they stand now."""

    allowed: bool
    standings: list[Standing]
    retry_after_seconds: float = 0.0
    refused_by: Limit | None = None


class _Stock(Struct):
    """What this api has of a limit. Times are monotonic. At `low` permits the next slice is asked for."""

    permits: int = 0
    low: int = 0
    left: int = 0
    minute: int = 0
    reset_at: float = 0.0
    asked_at: float = 0.0
    used_at: float = 0.0
    spent: int = 0
    dry_until: float = 0.0
    is_refilled: bool = False

    def ahead(self, moment: float) -> int:
        """How many may be needed soon."""
        seconds = max(moment - self.asked_at, 0.001)
        return min(int(self.spent / seconds * AHEAD_SECONDS), self.left // SHARE_OF_LEFT)


class _Need(NamedTuple):
    limit: Limit
    many: int


class Limiter:
    """Counts calls against limits. Enter it first; leaving gives back what was not used."""

    def __init__(self, database: Database) -> None:
        self._line = Line(database, hot=False)
        self._stocks: dict[str, _Stock] = {}
        self._stocked = asyncio.Event()
        self._returning: asyncio.Task[None] | None = None
        self._needs: Batcher[_Need, bool] = Batcher(
            self._borrow, verdict=verdict, items_max=1_000, pending_max=WAITING_MAX, repeat_seconds=0
        )

    async def __aenter__(self) -> Self:
        await self._needs.__aenter__()
        self._returning = asyncio.create_task(self._return_forever(), name="limits")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._returning is not None:
            self._returning.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._returning
        await self._needs.__aexit__(*_)
        with contextlib.suppress(Unavailable):
            await self._give_back(unused_seconds=0)
        await self._line.__aexit__()

    async def take(self, limits: Sequence[Limit], count: int = 1) -> Taken:
        """Count so many against all of these limits, or against none of them if one has not enough."""
        moment = time.monotonic()
        had: list[Limit] = []
        for limit in limits:
            if not self._has(limit, count, moment) and not await self._ask(limit, count):
                for other in had:
                    self._stock(other).permits += count
                return self._refused(limits, limit, count)
            had.append(limit)
        return Taken(True, [self._standing(limit, moment) for limit in limits])

    def _has(self, limit: Limit, count: int, moment: float) -> bool:
        """Take it of the stock, and see to the next slice."""
        stock = self._stock(limit)
        if stock.permits < count:
            return False
        stock.permits -= count
        stock.spent += count
        stock.used_at = moment
        if stock.permits < stock.low and not stock.is_refilled:
            with contextlib.suppress(Full):
                self._needs.add_one(_Need(limit, 0))
                stock.is_refilled = True
        return True

    async def _ask(self, limit: Limit, count: int) -> bool:
        """Borrow it."""
        stock = self._stock(limit)
        is_dry = stock.dry_until > time.monotonic() and count > stock.left + stock.permits
        if is_dry or count > limit.per_hour:
            return False
        stock.used_at = time.monotonic()
        try:
            return await self._needs.put(_Need(limit, count))
        except Full as error:
            raise Overloaded("too many calls wait for their limits", retry_after_seconds=1) from error

    async def _borrow(self, needs: list[_Need]) -> list[bool]:
        """Ask for what is needed of each subject and for what may be soon; who came first is served first."""
        moment = time.monotonic()
        wanted: dict[str, Ask] = {}
        for limit, many in needs:
            stock, known = self._stock(limit), wanted.get(limit.subject)
            so_far = known.wanted if known else stock.ahead(moment) - stock.permits
            least = max(many - stock.permits, 0)
            least = min(known.least, least) if known else least
            wanted[limit.subject] = Ask(limit.subject, so_far + many, least, limit.per_hour)
        loans = await self._line.run(lambda conn: rate_limits.borrow(conn, list(wanted.values())))
        for subject, loan in loans.items():
            self._keep(self._stocks[subject], loan)
        return [self._served(need) for need in needs]

    def _keep(self, stock: _Stock, loan: Loan) -> None:
        moment = time.monotonic()
        stock.low = stock.ahead(moment) // 2
        stock.permits += loan.granted
        stock.left, stock.minute = loan.left, loan.minute
        stock.reset_at = moment + loan.reset_seconds
        stock.asked_at, stock.spent, stock.is_refilled = moment, 0, False
        self._stocked.set()

    def _served(self, need: _Need) -> bool:
        stock = self._stock(need.limit)
        if stock.permits < need.many:
            stock.dry_until = time.monotonic() + UNUSED_SECONDS
            return False
        stock.permits -= need.many
        stock.spent += need.many
        return True

    def _refused(self, limits: Sequence[Limit], limit: Limit, count: int) -> Taken:
        moment = time.monotonic()
        standings = [self._standing(each, moment) for each in limits]
        left = self._stock(limit).reset_at - moment
        return Taken(False, standings, max(left, 1.0) if count <= limit.per_hour else 3_600.0, limit)

    def _standing(self, limit: Limit, moment: float) -> Standing:
        stock = self._stock(limit)
        left = min(stock.left + stock.permits, limit.per_hour)
        return Standing(limit.name, limit.per_hour, left, max(stock.reset_at - moment, 0.0))

    def _stock(self, limit: Limit) -> _Stock:
        stock = self._stocks.get(limit.subject)
        if stock is None:
            if len(self._stocks) >= SUBJECTS_MAX:
                self._forget()
            stock = self._stocks[limit.subject] = _Stock(left=limit.per_hour)
        return stock

    def _forget(self) -> None:
        """Make room: what is not in use is known to PostgreSQL."""
        moment = time.monotonic()
        for subject, stock in list(self._stocks.items()):
            if not stock.permits and moment - stock.used_at > UNUSED_SECONDS:
                del self._stocks[subject]
        if len(self._stocks) >= SUBJECTS_MAX:
            raise Overloaded("too many callers with limits", retry_after_seconds=1)

    async def _return_forever(self) -> None:
        while True:
            await self._stocked.wait()
            await asyncio.sleep(UNUSED_SECONDS / 2)
            try:
                await self._give_back(unused_seconds=UNUSED_SECONDS)
            except Unavailable as error:
                log.warning("limits.return_failed", error=str(error))

    async def _give_back(self, unused_seconds: float) -> None:
        moment = time.monotonic()
        unspent = []
        for subject, stock in self._stocks.items():
            if stock.permits and moment - stock.used_at >= unused_seconds:
                unspent.append((subject, stock.minute, stock.permits))
                stock.left += stock.permits
                stock.permits = 0
        if not any(stock.permits for stock in self._stocks.values()):
            self._stocked.clear()
        if unspent:
            await self._line.run(lambda conn: rate_limits.give_back(conn, unspent))
