"""Connections to an empty, migrated database, set as the hot paths set theirs.

Making a database costs most of a second, emptying one a few milliseconds: these tests share theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import asyncpg
import pytest
from tests.support import servers as real

from taskflow.store.connect import Database

Connect = Callable[[], Awaitable[asyncpg.Connection]]


@pytest.fixture(scope="session")
def shared_database_url(databases: real.Databases) -> Iterator[str]:
    """The database of these tests."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
def database_url(shared_database_url: str) -> str:
    """The shared database, emptied."""

    async def empty() -> None:
        conn = await asyncpg.connect(shared_database_url)
        try:
            rows = await conn.fetch(
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
                "AND relnamespace = 'public'::regnamespace AND relname <> 'schema_migrations'"
            )
            await conn.execute(";".join(f'DELETE FROM "{row["relname"]}"' for row in rows))
        finally:
            await conn.close()

    real.blocking(empty)
    return shared_database_url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, application="test", pool_max=30) as database:
        yield database


@pytest.fixture
async def connect(database: Database) -> AsyncIterator[Connect]:
    """Opens hot connections."""
    opened: list[asyncpg.Connection] = []

    async def one_more() -> asyncpg.Connection:
        opened.append(await database.open_connection(hot=True))
        return opened[-1]

    yield one_more
    for conn in opened:
        await conn.close()


@pytest.fixture
async def conn(connect: Connect) -> asyncpg.Connection:
    return await connect()
