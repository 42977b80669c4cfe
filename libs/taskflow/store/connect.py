"""How we reach PostgreSQL: a pool for reads and commands, and lines of their own for the hot paths.

A line is one bare connection, opened again whenever it is lost. Hot statements meet ranges that are new, empty and
not yet analysed, where the planner's guesses are worst, so lines force the plan that is right at every size.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self, TypeVar

import asyncpg

from taskflow.kit.logging import get_logger
from taskflow.kit.metrics import counter
from taskflow.store.errors import AnswerLost, DatabaseAway, translated
from taskflow.store.levels import known_level

log = get_logger(__name__)
T = TypeVar("T")
Conn = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

OPENED = counter("taskflow_postgres_connections_opened_total", "Connections to PostgreSQL that were opened.")
FAILED = counter(
    "taskflow_postgres_connections_failed_total", "Connections to PostgreSQL that could not be opened."
)
LOST = counter(
    "taskflow_postgres_connections_lost_total",
    "Connections to PostgreSQL that ended in the midst of a statement.",
)

_HOT_PLANS = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}
_LIMITS = {
    "statement_timeout": "30s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
    "timezone": "UTC",
    "jit": "off",
}


PATIENCE_SECONDS = 10.0
"""How long work on a connection may last before the connection is taken for dead. A network that swallows everything
(half-open) says nothing else, and the kernel believes in such a connection for a quarter of an hour.
"""
_OPEN_SECONDS_MAX = 3.5
_FAREWELLS = ("57P", "08")
"""SQLSTATEs with which PostgreSQL ends a connection."""
_STOOD_STILL_SECONDS = 0.5
"""A timer that rings so much too late tells of a process that was stopped, or of a blocked loop."""


class Database:
    """PostgreSQL as a program sees it. Enter it to open the pool; a server that is away is found again."""

    def __init__(self, url: str, *, application: str, pool_max: int = 10) -> None:
        self._url = url
        self._application = application
        self._pool_max = pool_max
        self._pool: asyncpg.Pool | None = None
        self._expired_at = 0.0
        self.doubted_at = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.terminate()

    def settings(self, *, hot: bool) -> dict[str, str]:
        """The session settings of a connection."""
        named = f"{self._application}/{known_level()}"  # `taskflow migrate --post` looks at it
        return {"application_name": named, **_LIMITS, **(_HOT_PLANS if hot else {})}

    async def open_connection(self, *, hot: bool) -> asyncpg.Connection:
        """A new connection of one's own; the caller closes it."""
        with translated():
            return await _connect(self._url, **self._arguments(hot=hot))

    def _arguments(self, *, hot: bool) -> dict[str, Any]:
        settings = self.settings(hot=hot)
        return {"server_settings": settings, "timeout": _OPEN_SECONDS_MAX, "command_timeout": 35}

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Conn]:
        """A pooled connection for reads and single commands."""
        pool = await self._opened()
        if self._expired_at < self.doubted_at:
            self._expired_at = self.doubted_at
            await pool.expire_connections()
        with translated():
            async with pool.acquire(timeout=5) as conn:
                with _losses_counted(conn), self.patience(conn, PATIENCE_SECONDS):
                    yield conn

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Conn]:
        """A pooled connection in a transaction that commits on leaving."""
        async with self.connection() as conn, conn.transaction():
            yield conn

    @contextmanager
    def patience(self, conn: Conn, seconds: float) -> Iterator[None]:
        """Work with a connection for so long at most: then it is ended, and none of those opened before is trusted.

        Time in which this process stood still does not count: the answer may lie unread.
        """

        def give_up() -> None:
            log.warning("postgres.timed_out", seconds=seconds)
            self.doubted_at = time.monotonic()
            conn.terminate()

        timer = _Timer(seconds, give_up)
        try:
            yield
        except AttributeError as error:
            # asyncpg stumbles over a connection that ends between two round trips of one statement.
            if not _is_ended(conn):
                raise
            raise DatabaseAway(
                "the connection to PostgreSQL ended meanwhile", retry_after_seconds=1
            ) from error
        finally:
            timer.cancel()

    async def _opened(self) -> asyncpg.Pool:
        if self._pool is None:
            with translated():
                pool = asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=self._pool_max,
                    connect=_connect,
                    reset=_no_reset,
                    **self._arguments(hot=False),
                )
                await pool
            self._pool = pool
        return self._pool


class _Timer:
    """Calls `act` after so many seconds; if the loop stood still when they were over, after as many again."""

    def __init__(self, seconds: float, act: Callable[[], None]) -> None:
        self._seconds = seconds
        self._act = act
        self._loop = asyncio.get_running_loop()
        self._arm()

    def cancel(self) -> None:
        self._handle.cancel()

    def _arm(self) -> None:
        due = self._loop.time() + self._seconds
        self._handle = self._loop.call_at(due, self._ring, due)

    def _ring(self, due: float) -> None:
        if self._loop.time() > due + _STOOD_STILL_SECONDS:
            self._arm()
        else:
            self._act()


def _is_ended(conn: Conn) -> bool:
    try:
        return conn.is_closed()
    except asyncpg.InterfaceError:  # a pool takes an ended connection from its holder at once
        return True


@contextmanager
def _losses_counted(conn: Conn) -> Iterator[None]:
    """Count a connection that ends meanwhile, or is ended because its answer did not come (`patience`)."""
    try:
        with translated():
            yield
    except DatabaseAway as error:
        state = getattr(error.__cause__, "sqlstate", None) or ""
        if _is_ended(conn) or state.startswith(_FAREWELLS):
            LOST.inc()
        raise


async def _connect(*where: Any, **arguments: Any) -> asyncpg.Connection:
    """A new connection, counted."""
    try:
        conn: asyncpg.Connection = await asyncpg.connect(*where, **arguments)
    except Exception:
        FAILED.inc()
        raise
    OPENED.inc()
    return conn


async def _no_reset(_conn: Any) -> None:
    """Nothing of ours changes a session, so its reset at each release would be a round trip for nothing."""


class Line:
    """One connection of its own, used by one caller at a time; opened when first needed and again when lost.

    What takes longer than `patience_seconds` is lost too.
    """

    def __init__(
        self, database: Database, *, hot: bool = True, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._database = database
        self._hot = hot
        self._patience_seconds = patience_seconds
        self._opened_at = 0.0
        self._conn: asyncpg.Connection | None = None
        self._free = asyncio.Lock()
        self.openings = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._conn is not None:
            self._conn.terminate()

    async def run(self, act: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Call `act` with the connection. After an error that leaves its state unknown it is thrown away."""
        async with self._free:
            conn = await self._open()
            try:
                with _losses_counted(conn), self._database.patience(conn, self._patience_seconds):
                    return await act(conn)
            except (DatabaseAway, asyncio.CancelledError) as error:
                conn.terminate()
                self._conn = None
                if isinstance(error, DatabaseAway):
                    raise AnswerLost(error.detail, retry_after_seconds=1) from error
                raise

    async def opened(self) -> None:
        """Make sure that the connection stands; `openings` tells whether it is a new one."""
        async with self._free:
            await self._open()

    async def _open(self) -> asyncpg.Connection:
        if self._conn is not None and self._opened_at < self._database.doubted_at:
            self._conn.terminate()
        if self._conn is None or self._conn.is_closed():
            self._opened_at = time.monotonic()
            self._conn = await self._database.open_connection(hot=self._hot)
            self.openings += 1
        return self._conn


async def one_row(conn: Conn, statement: str, *arguments: Any) -> asyncpg.Record:
    """The row of a statement that always returns one."""
    row = await conn.fetchrow(statement, *arguments)
    if row is None:
        raise LookupError(f"no row from {statement.splitlines()[0]}")
    return row
