"""Who calls, and how often, is not asked of PostgreSQL at each call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

import asyncpg
import httpx
import pytest
from tests.support import accounts
from tests.support import servers as real
from tests.support.apis import running_api
from tests.support.waiting import wait_until

CALLS = 2_000
LOOKS_MAX = 120
"""Of the setting up, and of a look every two seconds; a look at each call would be 2,000."""


class Place(NamedTuple):
    """An api with limits, and its database."""

    url: str
    database_url: str


@pytest.fixture
def place(databases: real.Databases, servers: real.Servers) -> Iterator[Place]:
    """An api of its own: what others do would be counted."""
    url = databases.create()
    limits = {"RATE_LIMIT_PER_HOUR": "100000", "USER_RATE_LIMIT_PER_HOUR": "100000"}
    with running_api(url, servers.nats_url, **accounts.REQUIRED, **limits) as api:
        yield Place(api.url, url)
    databases.drop(url)
    real.delete_streams(servers.nats_url)


@pytest.mark.parametrize("shows", ["key", "token"])
async def test_calls_share_what_is_known_of_their_credentials(place: Place, shows: str) -> None:
    token = accounts.sign_in(place.url)["access_token"]
    shown = accounts.make_key(place.url, token, "read")["key"] if shows == "key" else token
    statuses = await _called(place.url, shown)
    assert statuses == [404] * CALLS  # an id that cannot be: answered without a look at tasks
    conn = await asyncpg.connect(place.database_url)
    try:
        table = "api_keys" if shows == "key" else "sessions"
        asked = f"SELECT idx_scan + seq_scan FROM pg_stat_user_tables WHERE relname = '{table}'"
        await wait_until(lambda: conn.fetchval(asked), "PostgreSQL has counted", 20)
        assert await conn.fetchval(asked) < LOOKS_MAX
        taken = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'rate_limits'"
        await wait_until(lambda: conn.fetchval(taken), "PostgreSQL has counted the slices", 20)
        assert (
            await conn.fetchval(taken) < CALLS // 3
        )  # slices of the key and of the account; each call would be 4,000
    finally:
        await conn.close()


async def _called(url: str, shown: str) -> list[int]:
    statuses: list[int] = []
    numbers = iter(range(CALLS))

    async def call(client: httpx.AsyncClient) -> None:
        for _ in numbers:
            answer = await client.get("/api/v1/tasks/no-id", headers=accounts.bearer(shown))
            statuses.append(answer.status_code)

    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        await asyncio.gather(*(call(client) for _ in range(8)))
    return statuses
