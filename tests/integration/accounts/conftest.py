"""A real api whose callers must sign in, with an admin and two users who have things of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest
from tests.contract.store import world
from tests.support import accounts
from tests.support import servers as real
from tests.support.apis import Api, running_api


class Person(NamedTuple):
    """A user: the account, and a key that allows all a user may do."""

    id: str
    name: str
    password: str
    key: str

    @property
    def shows(self) -> dict[str, str]:
        """The header with the key."""
        return accounts.bearer(self.key)


class Realm(NamedTuple):
    """The api, and who calls it. `admin` is an access token."""

    api: Api
    database_url: str
    admin: str
    ann: Person
    bob: Person

    @property
    def url(self) -> str:
        """Where the api is."""
        return self.api.url

    def call(self, method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
        """One call, with these credentials."""
        headers = accounts.bearer(token) if token is not None else {}
        return httpx.request(
            method, f"{self.url}{path}", headers={**headers, **more.pop("headers", {})}, timeout=30, **more
        )


@pytest.fixture(scope="module")
def realm(databases: real.Databases, servers: real.Servers) -> Iterator[Realm]:
    """The realm of this module. No worker runs: what is submitted stays queued."""
    url = databases.create()
    settings = {**accounts.REQUIRED, "LOGIN_RATE_LIMIT_PER_HOUR": "0", "MAX_FAILED_ATTEMPTS": "10"}
    with running_api(url, servers.nats_url, **settings) as api:
        admin = accounts.sign_in(api.url)["access_token"]
        yield Realm(api, url, admin, _person(api.url, admin, "ann"), _person(api.url, admin, "bob"))
    databases.drop(url)
    real.delete_streams(servers.nats_url)


def _person(url: str, admin: str, name: str) -> Person:
    password = f"the long password of {name}"
    made = accounts.make_user(
        url, admin, username=name, email=f"{name}@example.org", password=password, role="user"
    )
    return Person(made["user"]["id"], name, password, made["api_key"])


async def dead_letter_of(database_url: str, owner_id: str) -> str:
    """A pending dead letter of this owner; its id."""
    conn = await asyncpg.connect(database_url)
    try:
        [task_id] = await world.bury(conn, 1, owner_id=owner_id)
        return str(await conn.fetchval("SELECT id FROM dead_letters WHERE task_id = $1", task_id))
    finally:
        await conn.close()


async def endpoint_of(database_url: str, owner_id: str) -> None:
    """A URL that webhooks of this owner went to."""
    conn = await asyncpg.connect(database_url)
    try:
        await conn.execute(
            "INSERT INTO webhook_endpoints (owner_id, url, failures, touched_at) VALUES ($1, $2, 0, now())",
            owner_id,
            "https://example.org/hook",
        )
    finally:
        await conn.close()
