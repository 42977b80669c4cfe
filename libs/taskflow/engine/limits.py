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
from taskflow.engine.stocks import Slice, Stock
from taskflow.kit.batcher import Batcher, Full
from taskflow.kit.logging import get_logger
from taskflow.store import rate_limits
from taskflow.store.connect import Database, Line
from taskflow.store.errors import verdict
from taskflow.store.rate_limits import Ask, Loan

log = get_logger(__name__)

UNUSED_SECONDS = 1.0
"""After so long what was not used goes back, and what was refused is asked for again."""
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


class _Need(Struct):
    """So many for a caller who waits, unless it has gone; or 0: for those who will come."""

    limit: Limit
    many: int
    answer: asyncio.Future[bool] | None = None

    @property
    def is_gone(self) -> bool:
        return self.answer is not None and self.answer.cancelled()


class Limiter:
    """Counts calls against limits. Enter it first; leaving gives back what was not used."""

    def __init__(self, database: Database) -> None:
        self._line = Line(database)
        self._stocks: dict[str, Stock] = {}
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
        had = 0
        try:
            for limit in limits:
                if not self._has(limit, count, moment) and not await self._ask(limit, count):
                    self._restore(limits[:had], count)
                    return self._refused(limits, limit, count)
                had += 1
        except BaseException:  # PostgreSQL is away, or the caller is
            self._restore(limits[:had], count)
            raise
        return Taken(True, [self._standing(limit, moment) for limit in limits])

    def _restore(self, limits: Sequence[Limit], count: int) -> None:
        for limit in limits:
            if (stock := self._stocks.get(limit.subject)) is not None:
                stock.restore(count)
                self._stocked.set()

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
        need = _Need(limit, count)
        try:
            answer = need.answer = self._needs.put(need)
        except Full as error:
            raise Overloaded("too many calls wait for their limits", retry_after_seconds=1) from error
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.cancelled() and answer.exception() is None and answer.result():
                self._restore([limit], count)
            raise

    async def _borrow(self, needs: list[_Need]) -> list[bool]:
        """Ask for what is needed of each subject and for what may be soon; who came first is served first."""
        moment = time.monotonic()
        groups: dict[str, list[_Need]] = {}
        for need in needs:
            if not need.is_gone:
                groups.setdefault(need.limit.subject, []).append(need)
        held: dict[str, int] = {}
        asks = [self._ask_of(group, moment, held) for group in groups.values()]
        try:
            loans = await self._line.run(lambda conn: rate_limits.borrow(conn, asks)) if asks else {}
        finally:
            for subject, permits in held.items():
                self._known(subject).restore(permits)
            self._stocked.set()
        for subject, loan in loans.items():
            self._keep(self._known(subject), loan)
        return [not need.is_gone and self._served(need) for need in needs]

    def _ask_of(self, group: list[_Need], moment: float, held: dict[str, int]) -> Ask:
        """Callers who wait hold what there is meanwhile: it may be a part of what they need."""
        limit = group[0].limit
        stock = self._known(limit.subject)
        least = min((need.many for need in group if need.many), default=0)
        wanted = stock.ahead(moment) + sum(need.many for need in group) - stock.permits
        ask = Ask(limit.subject, wanted, max(least - stock.permits, 0), limit.per_hour)
        if least:
            held[limit.subject], stock.permits = stock.permits, 0
        return ask

    def _known(self, subject: str) -> Stock:
        """It may have been forgotten while its callers waited."""
        return self._stocks.setdefault(subject, Stock())

    def _keep(self, stock: Stock, loan: Loan) -> None:
        moment = time.monotonic()
        stock.low = stock.ahead(moment) // 2
        stock.permits += loan.granted
        stock.left, stock.minute = loan.left, loan.minute
        stock.reset_at = moment + loan.reset_seconds
        stock.asked_at, stock.spent, stock.is_refilled = moment, 0, False
        if loan.granted:
            stock.slices.append(Slice(loan.minute, loan.granted, moment))

    def _served(self, need: _Need) -> bool:
        stock = self._known(need.limit.subject)
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

    def _stock(self, limit: Limit) -> Stock:
        stock = self._stocks.get(limit.subject)
        if stock is None:
            if len(self._stocks) >= SUBJECTS_MAX:
                self._forget()
            stock = self._stocks[limit.subject] = Stock(left=limit.per_hour)
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
            if stock.slices:
                gone = stock.give_up(moment - unused_seconds)
                unspent += [(subject, one.minute, one.permits) for one in gone]
        if not any(stock.permits for stock in self._stocks.values()):
            self._stocked.clear()
        if unspent:
            await self._line.run(lambda conn: rate_limits.give_back(conn, unspent))
