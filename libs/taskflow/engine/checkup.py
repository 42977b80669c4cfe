"""checkup: what an admin is shown of the whole system: the doctor's cheap checks, and facts of what it stands on.

Read when somebody asks, and shared by those who ask at the same time. What cannot be read now is null; `error` says why.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from taskflow.bus.connect import Bus
from taskflow.domain.errors import Unavailable
from taskflow.domain.views import DoctorCheck, DoctorReport, NatsFacts, PostgresFacts, SystemFacts
from taskflow.engine.doctor import CHECKS, EXAMPLES, Diagnosis, Doctor
from taskflow.engine.overview import read_bus
from taskflow.kit.clock import now, rfc3339
from taskflow.store import census
from taskflow.store.connect import Conn, Database
from taskflow.store.levels import known_level

T = TypeVar("T")

AGE_SECONDS = 5.0
PATIENCE_SECONDS = 2.0
QUEUES_MAX = 50
"""Of so many queues the consumers are told: each lane of each is asked for by itself."""


class Shared(Generic[T]):
    """A reading that all share who ask within some seconds."""

    def __init__(self, read: Callable[[], Awaitable[T]], age_seconds: float = AGE_SECONDS) -> None:
        self._read = read
        self._age_seconds = age_seconds
        self._reading = asyncio.Lock()
        self._known: tuple[float, T] | None = None
        self._failed: tuple[float, Unavailable] | None = None

    async def get(self) -> T:
        """What was read last, or a new reading; one goes on at a time. Whoever waited for one that failed shares that."""
        asked_at = time.monotonic()
        async with self._reading:
            if self._failed is not None and self._failed[0] >= asked_at:
                raise self._failed[1]
            if self._known is None or time.monotonic() - self._known[0] > self._age_seconds:
                try:
                    told = await self._read()
                except Unavailable as error:
                    self._failed = (time.monotonic(), error)
                    raise
                self._known = (time.monotonic(), told)
            return self._known[1]


def checks_of(diagnosis: Diagnosis) -> list[DoctorCheck]:
    """Every check by name, those that were not made too."""
    return [_check(name, means, diagnosis) for name, means in CHECKS.items()]


def _check(name: str, means: str, diagnosis: Diagnosis) -> DoctorCheck:
    found = diagnosis.found.get(name)
    if found is None:
        return DoctorCheck(name, means, checked=False, found=0, examples=[])
    return DoctorCheck(name, means, checked=True, found=found.n, examples=found.ids[:EXAMPLES])


class Checkup:
    """The two readings. `settings` are those of this program, fit to be shown."""

    def __init__(
        self, database: Database, bus: Bus, doctor: Doctor, *, version: str, settings: dict[str, Any]
    ) -> None:
        self._database = database
        self._bus = bus
        self._doctor = doctor
        self._version = version
        self._settings = settings
        self._began = time.monotonic()
        self._diagnosed = Shared(self._diagnose)
        self._facts = Shared(self._read_facts)

    async def doctor(self) -> DoctorReport:
        """The checks that cost little; a finding is looked at again until it cannot be a passing one."""
        return await self._diagnosed.get()

    async def facts(self) -> SystemFacts:
        """What PostgreSQL and NATS say of themselves, and this program."""
        return await self._facts.get()

    async def _diagnose(self) -> DoctorReport:
        diagnosis = await self._doctor.look()
        checks = [check for check in checks_of(diagnosis) if check.checked]
        gap = diagnosis.law.gap
        clean = gap == 0 and not any(check.found for check in checks)
        return DoctorReport(rfc3339(now()), clean, gap, checks)

    async def _read_facts(self) -> SystemFacts:
        postgres, nats = await asyncio.gather(self._postgres(), self._nats())
        return SystemFacts(
            as_of=rfc3339(now()),
            version=self._version,
            python=platform.python_version(),
            uptime_seconds=round(time.monotonic() - self._began, 1),
            migration_known=known_level(),
            postgres=postgres,
            nats=nats,
            settings=self._settings,
        )

    async def _postgres(self) -> PostgresFacts:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._database.connection() as conn:
                return await _read_postgres(conn)
        except (Unavailable, TimeoutError) as error:
            return PostgresFacts(error=str(error) or "it did not answer in time")

    async def _nats(self) -> NatsFacts:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                told = await read_bus(self._bus, await self._queues())
        except (Unavailable, TimeoutError) as error:
            why = self._bus.trouble or str(error) or "it did not answer in time"
            return NatsFacts(connected=self._bus.connected, error=why)
        return NatsFacts(connected=True, version=told.version, streams=told.streams, consumers=told.consumers)

    async def _queues(self) -> list[str]:
        """The queues whose consumers are told; none while PostgreSQL does not say, which leaves time to ask NATS."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS / 2), self._database.connection() as conn:
                return sorted(await census.read_paused(conn))[:QUEUES_MAX]
        except (Unavailable, TimeoutError):
            return []


async def _read_postgres(conn: Conn) -> PostgresFacts:
    server, load = await census.read_server(conn), await census.read_load(conn)
    ends = await census.read_ranges_end(conn)
    return PostgresFacts(
        version=server.version,
        migration=max(server.migrations, default=0),
        database=load.database,
        size_bytes=load.size_bytes,
        connections=load.connections,
        connections_max=load.connections_max,
        oldest_transaction_seconds=load.oldest_transaction_seconds,
        ranges_end=rfc3339(ends) if ends else None,
    )
