"""A stream ends with the credentials that opened it, also while it is silent, whichever api they were ended at."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import httpx
import pytest
from tests.integration.accounts.conftest import Person, Realm
from tests.support import accounts
from tests.support import servers as real
from tests.support.apis import running_api

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
