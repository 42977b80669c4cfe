"""Tickets: good once, for a minute, for streams alone, for whoever asked for them and no longer than these may read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime

import asyncpg
import httpx
import pytest
from tests.integration.accounts.conftest import Realm
from tests.integration.accounts.test_streams import CLOSED_SECONDS, STREAM, reading, twin, waiting_task
from tests.integration.api.test_bad_input import check_problem
from tests.support import accounts
from tests.support import servers as real
from tests.support.apis import Api, running_api

from taskflow.kit.clock import now
from taskflow.kit.tokens import digest, is_token, new_token

__all__ = ["twin"]
TICKETS = "/api/v1/stream-tickets"


def ticket_of(realm: Realm, token: str | None) -> str:
    """A new ticket."""
    made = realm.call("POST", TICKETS, token)
    assert made.status_code == 201, made.text
    ticket: str = made.json()["ticket"]
    assert is_token("tfs", ticket)
    assert now().timestamp() + 50 < expiry(made).timestamp() < now().timestamp() + 70
    return ticket


def expiry(made: httpx.Response) -> datetime:
    """When the ticket of an answer expires."""
    return datetime.fromisoformat(made.json()["expires_at"])


def opened(url: str, ticket: str) -> httpx.Response:
    """What a stream that is opened with a ticket answers, if it refuses."""
    return httpx.get(f"{url}?ticket={ticket}", headers=STREAM, timeout=5)


@pytest.fixture(params=["key", "session"])
def token(request: pytest.FixtureRequest, realm: Realm) -> str:
    """Credentials of ann's of each kind."""
    if request.param == "key":
        return realm.ann.key
    found: str = accounts.sign_in(realm.url, realm.ann.name, realm.ann.password)["access_token"]
    return found


def test_a_ticket_opens_one_stream_on_any_api(realm: Realm, twin: str, token: str) -> None:
    path = waiting_task(realm, realm.ann.key)
    ticket = ticket_of(realm, token)
    with reading(f"{twin}{path}?ticket={ticket}"):
        pass
    for url in (realm.url, twin):
        refused = opened(f"{url}{path}", ticket)
        check_problem(refused, 401, "unauthenticated")
        assert "ticket" in refused.json()["detail"]


def test_a_ticket_shows_no_more_than_its_callers_things(realm: Realm) -> None:
    path = waiting_task(realm, realm.ann.key)
    check_problem(opened(f"{realm.url}{path}", ticket_of(realm, realm.bob.key)), 404, "not_found")


def test_what_is_no_ticket_is_refused(realm: Realm) -> None:
    url = f"{realm.url}{waiting_task(realm, realm.ann.key)}"
    for wrong in ("", "x", "tfs_" + "0" * 38, new_token("tfs"), realm.ann.key):
        refused = opened(url, wrong)
        check_problem(refused, 401, "unauthenticated")
        assert "ticket" in refused.json()["detail"]
    ticket = ticket_of(realm, realm.ann.key)
    asyncio.run(let_expire(realm.database_url, ticket))
    assert "expired" in opened(url, ticket).json()["detail"]


async def let_expire(database_url: str, ticket: str) -> None:
    """As if a minute had passed."""
    conn = await asyncpg.connect(database_url)
    try:
        done = await conn.execute(
            "UPDATE stream_tickets SET expires_at = now() - interval '1 ms' WHERE hash = $1", digest(ticket)
        )
        assert done == "UPDATE 1"
    finally:
        await conn.close()


def test_a_ticket_is_for_streams_and_stands_alone(realm: Realm) -> None:
    path = waiting_task(realm, realm.ann.key)
    ticket = ticket_of(realm, realm.ann.key)
    listed = realm.call("GET", f"{path}?ticket={ticket}", realm.ann.key)
    check_problem(listed, 401, "unauthenticated")
    both = realm.call("GET", f"{path}?ticket={ticket}", realm.ann.key, headers=STREAM)
    check_problem(both, 401, "unauthenticated")
    elsewhere = realm.call("GET", f"/api/v1/tasks?ticket={ticket}", realm.ann.key)
    check_problem(elsewhere, 422, "unknown_field")
    with reading(f"{realm.url}{path}?ticket={ticket}"):
        pass  # none of them has used it up
    check_problem(httpx.get(f"{realm.url}{path}?ticket={ticket_of(realm, realm.ann.key)}"), 422, "invalid")


@pytest.mark.parametrize("first", [True, False], ids=["before the stream", "while it is open"])
def test_a_ticket_ends_with_the_key_that_asked_for_it(realm: Realm, twin: str, first: bool) -> None:
    path = waiting_task(realm, realm.ann.key)
    key = accounts.make_key(realm.url, realm.ann.key, "read")
    ticket = ticket_of(realm, key["key"])

    def revoke() -> None:
        realm.call("DELETE", f"/api/v1/api-keys/{key['id']}", realm.ann.key).raise_for_status()

    if first:
        revoke()
        check_problem(opened(f"{realm.url}{path}", ticket), 401, "unauthenticated")
        return
    with reading(f"{twin}{path}?ticket={ticket}") as lines:
        revoke()
        began = time.monotonic()
        assert not [line for line in lines if line.startswith("data:")]
    assert time.monotonic() - began < CLOSED_SECONDS


def test_only_the_hash_of_a_ticket_is_kept(realm: Realm) -> None:
    ticket = ticket_of(realm, realm.ann.key)

    async def kept() -> list[asyncpg.Record]:
        conn = await asyncpg.connect(realm.database_url)
        try:
            return await conn.fetch("SELECT hash, key_hash, session_id FROM stream_tickets")
        finally:
            await conn.close()

    assert (digest(ticket), digest(realm.ann.key), None) in [tuple(row) for row in asyncio.run(kept())]


@pytest.fixture
def unsigned(realm: Realm, servers: real.Servers) -> Iterator[Api]:
    """An api of the same system at which nobody need sign in, and which logs all it can."""
    settings = {"AUTH_MODE": "disabled", "SECRET_KEY": accounts.SECRET_KEY, "LOG_LEVEL": "debug"}
    with running_api(realm.database_url, servers.nats_url, **settings) as api:
        yield api


def test_where_nobody_signs_in_tickets_are_given_too_and_no_log_has_one(realm: Realm, unsigned: Api) -> None:
    path = waiting_task(realm, realm.ann.key)
    ticket = httpx.post(f"{unsigned.url}{TICKETS}").json()["ticket"]
    with reading(f"{unsigned.url}{path}?ticket={ticket}"):
        pass
    check_problem(opened(f"{unsigned.url}{path}", ticket), 401, "unauthenticated")
    nobodys = httpx.post(f"{unsigned.url}{TICKETS}").json()["ticket"]
    check_problem(opened(f"{realm.url}{path}", nobodys), 401, "unauthenticated")
    stranger = httpx.post(f"{unsigned.url}{TICKETS}", headers={"origin": "https://evil.example"})
    check_problem(stranger, 403, "forbidden")
    log = unsigned.log.read_text()
    assert "/events" in log
    assert "tfs_" not in log
