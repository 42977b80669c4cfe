"""A stream ends with the credentials that opened it, also while it is silent, whichever api they were ended at."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import asyncpg
import httpx
import pytest
from tests.integration.accounts.conftest import Person, Realm
from tests.support import accounts
from tests.support import servers as real
from tests.support.apis import running_api
from tests.support.proxy import fault_proxy
from tests.support.waiting import wait_until_sync
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from taskflow.kit.clock import now, rfc3339

STREAM = {"accept": "text/event-stream"}
CLOSED_SECONDS = 10.0


@pytest.fixture(scope="module")
def twin(realm: Realm, servers: real.Servers) -> Iterator[str]:
    """Another api of the same system."""
    with running_api(realm.database_url, servers.nats_url, **accounts.REQUIRED) as api:
        yield api.url


def waiting_task(realm: Realm, key: str) -> str:
    """The path of the events of a task to which nothing happens."""
    body = {"type": "echo", "payload": 1, "delay_seconds": 3600}
    task = realm.call("POST", "/api/v1/tasks", key, json=body).json()
    return f"/api/v1/tasks/{task['id']}/events"


@contextmanager
def reading(url: str, token: str | None = None) -> Iterator[Iterator[str]]:
    """The lines of a stream, once its first event has come."""
    shows = accounts.bearer(token) if token is not None else {}
    with httpx.stream("GET", url, headers=STREAM | shows, timeout=CLOSED_SECONDS) as answer:
        assert answer.status_code == 200, answer.read()
        lines = answer.iter_lines()
        next(line for line in lines if line.startswith("data:"))
        yield lines


def revoked(realm: Realm, ann: Person) -> tuple[str, Callable[[], object]]:
    """A key, and what revokes it."""
    key = accounts.make_key(realm.url, ann.key, "read")
    return key["key"], lambda: realm.call("DELETE", f"/api/v1/api-keys/{key['id']}", ann.key)


def logged_out(realm: Realm, ann: Person) -> tuple[str, Callable[[], object]]:
    """An access token, and what ends its session."""
    tokens = accounts.sign_in(realm.url, ann.name, ann.password)
    body = {"refresh_token": tokens["refresh_token"]}
    token = tokens["access_token"]
    return token, lambda: realm.call("POST", "/api/v1/auth/logout", token, json=body)


def expired(realm: Realm, ann: Person) -> tuple[str, Callable[[], object]]:
    """A key that ends by itself in a moment."""
    until = rfc3339(now() + timedelta(seconds=3))
    return accounts.make_key(realm.url, ann.key, "read", expires_at=until)["key"], lambda: None


def new_admin(realm: Realm) -> tuple[str, str]:
    """The access token of another admin, and the path of the account."""
    name, password = f"admin-{uuid.uuid4().hex}", "the long password of others"
    made = accounts.make_user(realm.url, realm.admin, username=name, password=password, role="admin")
    token: str = accounts.sign_in(realm.url, name, password)["access_token"]
    return token, f"/api/v1/users/{made['user']['id']}"


def narrowed(realm: Realm, _ann: Person) -> tuple[str, Callable[[], object]]:
    """The token of an admin, and what takes from him what he may."""
    token, path = new_admin(realm)
    return token, lambda: realm.call("PATCH", path, realm.admin, json={"role": "user"})


def disabled(realm: Realm, _ann: Person) -> tuple[str, Callable[[], object]]:
    """The token of an admin whose account is disabled."""
    token, path = new_admin(realm)
    return token, lambda: realm.call("PATCH", path, realm.admin, json={"disabled": True})


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
@pytest.mark.parametrize("end", [revoked, logged_out, expired, narrowed, disabled])
def test_a_silent_stream_ends_with_its_credentials(
    realm: Realm, twin: str, end: Callable[[Realm, Person], tuple[str, Callable[[], object]]], elsewhere: bool
) -> None:
    path = waiting_task(realm, realm.ann.key)
    token, act = end(realm, realm.ann)
    with reading(f"{twin if elsewhere else realm.url}{path}", token) as lines:
        answer = act()
        assert not isinstance(answer, httpx.Response) or answer.is_success, answer.text
        began = time.monotonic()
        rest = list(lines)
    assert time.monotonic() - began < CLOSED_SECONDS
    assert not [line for line in rest if line.startswith(("data:", "event:"))]
    again = httpx.get(f"{twin}{path}", headers=STREAM | accounts.bearer(token), timeout=5)
    assert again.status_code == (404 if end is narrowed else 401)


@pytest.mark.parametrize("with_ticket", [False, True], ids=["key", "ticket"])
def test_a_socket_closes_with_its_credentials(realm: Realm, twin: str, with_ticket: bool) -> None:
    task_id = waiting_task(realm, realm.ann.key).split("/")[-2]
    key = accounts.make_key(realm.url, realm.ann.key, "read")
    url, shows = f"{twin.replace('http', 'ws', 1)}/ws/tasks/{task_id}", accounts.bearer(key["key"])
    if with_ticket:
        ticket = realm.call("POST", "/api/v1/stream-tickets", key["key"]).json()["ticket"]
        url, shows = f"{url}?ticket={ticket}", {}
    with connect(url, additional_headers=shows) as socket:
        assert "state" in socket.recv(timeout=5)
        assert realm.call("DELETE", f"/api/v1/api-keys/{key['id']}", realm.ann.key).is_success
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=CLOSED_SECONDS)
        assert (socket.close_code, socket.close_reason) == (4401, "the credentials have ended")
    with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=shows):
        pass
    assert refused.value.response.status_code == 401


@pytest.mark.parametrize("shown", ["nobody", "bob"])
def test_a_socket_is_for_who_may_read_the_task(realm: Realm, shown: str) -> None:
    task_id = waiting_task(realm, realm.ann.key).split("/")[-2]
    url = f"{realm.url.replace('http', 'ws', 1)}/ws/tasks/{task_id}"
    shows = realm.bob.shows if shown == "bob" else {}
    with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=shows):
        pass
    assert refused.value.response.status_code == (404 if shown == "bob" else 401)
    submitting = accounts.make_key(realm.url, realm.ann.key, "submit")
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(url, additional_headers=accounts.bearer(submitting["key"])),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_a_stream_outlasts_the_absence_of_postgresql(realm: Realm, servers: real.Servers) -> None:
    """Neither its credentials nor its task can be read meanwhile; it goes on where it was."""
    path = waiting_task(realm, realm.ann.key)
    with (
        fault_proxy(realm.database_url) as proxy,
        running_api(proxy.url, servers.nats_url, **accounts.REQUIRED) as api,
        reading(f"{api.url}{path}", realm.ann.key) as lines,
    ):
        proxy.cut()
        wait_until_sync(
            lambda: "credentials.read_failed" in api.log.read_text(), "the api has missed PostgreSQL", 20
        )
        realm.call("POST", f"{path.removesuffix('/events')}/cancel", realm.ann.key).raise_for_status()
        proxy.heal()
        told = [line for line in lines if line.startswith("data:")]
    assert len(told) == 2
    assert '"status":"cancelled"' in told[0]


def test_a_stream_ends_with_its_credentials_also_after_an_error_of_postgresql(
    realm: Realm, servers: real.Servers
) -> None:
    """Not all errors say that PostgreSQL is away: a database may be restored, or its accounts be changed, meanwhile."""
    path = waiting_task(realm, realm.ann.key)
    key = accounts.make_key(realm.url, realm.ann.key, "read")
    with running_api(realm.database_url, servers.nats_url, **accounts.REQUIRED) as api:
        with reading(f"{api.url}{path}", key["key"]) as lines:
            renamed(realm, "api_keys", "api_keys_away")
            try:
                wait_until_sync(
                    lambda: "credentials.read_broken" in api.log.read_text(), "the api has missed the table"
                )
            finally:
                renamed(realm, "api_keys_away", "api_keys")
            assert realm.call("DELETE", f"/api/v1/api-keys/{key['id']}", realm.ann.key).is_success
            began = time.monotonic()
            list(lines)
            assert time.monotonic() - began < CLOSED_SECONDS
        assert api.process.poll() is None


def renamed(realm: Realm, table: str, name: str) -> None:
    """Call a table something else."""

    async def rename() -> None:
        conn = await asyncpg.connect(realm.database_url)
        try:
            await conn.execute(f"ALTER TABLE {table} RENAME TO {name}")
        finally:
            await conn.close()

    real.blocking(rename)
