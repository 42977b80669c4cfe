"""What the tests of callbacks share: an api that has a key, and accounts on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import asyncpg
import httpx
from tests.support import servers as real
from tests.support.apis import Api, running_api

SECRET_KEY = "tests-seal-with-this-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLM"
HOOK = "https://example.org/hook"
TASKS = "/api/v1/tasks"
NOBODYS = "01900000-0000-7000-8000-000000000000"


class Signing(NamedTuple):
    """An api with a key, and its database. `http` calls as the built-in admin."""

    api: Api
    database_url: str
    http: httpx.Client

    def account(self, name: str) -> Account:
        """A new account, and a client that calls as it."""
        made = self.http.post("/api/v1/auth/register", json={"email": f"{name}@example.org"}).json()
        client = httpx.Client(base_url=self.api.url, headers={"X-API-Key": made["api_key"]}, timeout=30)
        return Account(made["user"]["id"], client, made["signing_secret"])

    def rows(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run a statement in the database."""

        async def run() -> list[asyncpg.Record]:
            conn = await asyncpg.connect(self.database_url)
            try:
                return list(await conn.fetch(statement, *arguments))
            finally:
                await conn.close()

        return asyncio.run(run())


class Account(NamedTuple):
    """An account, a client that calls as it, and the secret that it was shown."""

    id: str
    http: httpx.Client
    secret: str


@contextmanager
def signing_api(databases: real.Databases, servers: real.Servers, **settings: str) -> Iterator[Signing]:
    """An api with a key and a database of its own, where nobody need sign in. No worker or notifier runs."""
    url = databases.create()
    with (
        running_api(url, servers.nats_url, **{"SECRET_KEY": SECRET_KEY, **settings}) as api,
        httpx.Client(base_url=api.url, timeout=30) as client,
    ):
        yield Signing(api, url, client)
    databases.drop(url)
    real.delete_streams(servers.nats_url)


def submit(http: httpx.Client, **members: Any) -> dict[str, Any]:
    """A new task of type `demo`, with a callback if nothing else is said."""
    answer = http.post(TASKS, json={"type": "demo", "callback": {"url": HOOK}, **members})
    assert answer.status_code == 202, answer.text
    task: dict[str, Any] = answer.json()
    return task


def trigger(http: httpx.Client, task: dict[str, Any], **body: Any) -> dict[str, Any]:
    """A delivery that was asked for."""
    answer = http.post(f"{TASKS}/{task['id']}/webhook-deliveries", json=body)
    assert answer.status_code == 202, answer.text
    delivery: dict[str, Any] = answer.json()
    return delivery
