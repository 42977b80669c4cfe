"""What has ended gives nothing new: neither keys nor news. Nor do pages of others get an account."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import httpx
import pytest
from tests.integration.accounts.conftest import Realm
from tests.support import accounts
from tests.support import servers as real
from tests.support.apis import running_api

from taskflow.engine.passwords import Passwords

KEYS = "/api/v1/api-keys"


def test_a_key_that_was_revoked_elsewhere_just_now_makes_no_other(realm: Realm, twin: str) -> None:
    key = accounts.make_key(realm.url, realm.ann.key, "read", "operate")
    shows = accounts.bearer(key["key"])
    assert httpx.get(f"{twin}/api/v1/tasks", headers=shows).status_code == 200
    assert realm.call("DELETE", f"{KEYS}/{key['id']}", realm.ann.key).status_code == 204
    made = httpx.post(f"{twin}{KEYS}", headers=shows, json={"scopes": ["read"]})
    assert (made.status_code, made.json()["code"]) == (401, "unauthenticated")


@pytest.fixture(scope="module")
def twin(realm: Realm, servers: real.Servers) -> Iterator[str]:
    """Another api of the same system."""
    with running_api(realm.database_url, servers.nats_url, **accounts.REQUIRED) as api:
        yield api.url


def test_a_stream_tells_nothing_more_to_a_key_that_was_revoked(realm: Realm) -> None:
    key = accounts.make_key(realm.url, realm.ann.key, "read")
    body = {"type": "echo", "payload": 1, "delay_seconds": 3600}
    task = realm.call("POST", "/api/v1/tasks", realm.ann.key, json=body).json()
    shows = accounts.bearer(key["key"]) | {"accept": "text/event-stream"}
    path = f"{realm.url}/api/v1/tasks/{task['id']}/events"
    with httpx.stream("GET", path, headers=shows, timeout=30) as answer:
        lines = answer.iter_lines()
        next(line for line in lines if line.startswith("data:"))
        assert realm.call("DELETE", f"{KEYS}/{key['id']}", realm.ann.key).status_code == 204
        cancelled = realm.call("POST", f"/api/v1/tasks/{task['id']}/cancel", realm.ann.key)
        assert cancelled.status_code in {200, 202}, cancelled.text
        assert "cancelled" not in "\n".join(lines)


@pytest.fixture(scope="module")
def unsigned(realm: Realm, servers: real.Servers) -> Iterator[str]:
    """An api at which nobody need sign in, and that has a SECRET_KEY, as `taskflow dev` gives it one."""
    settings = {"AUTH_MODE": "disabled", "SECRET_KEY": accounts.SECRET_KEY, "CORS_ORIGIN": "*"}
    with running_api(realm.database_url, servers.nats_url, **settings) as api:
        yield api.url


@pytest.mark.parametrize(
    "shown",
    [
        {"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_page_of_others_makes_no_account_where_nobody_signs_in(
    unsigned: str, shown: dict[str, str]
) -> None:
    body = {"email": f"{uuid.uuid4().hex}@example.org"}
    path = f"{unsigned}/api/v1/auth/register"
    assert httpx.post(path, json=body, headers=shown).status_code == 403
    assert httpx.post(path, json=body).status_code == 201


async def test_a_password_that_is_hard_to_judge_keeps_nobody_waiting() -> None:
    """zxcvbn takes it for very many words at once: judged in the loop, the loop would not turn once."""
    turns = 0
    async with Passwords() as passwords:
        judged = asyncio.create_task(passwords.fault_of("4@8({[<369&#!iI1|0$5+7%2z" * 3, []))
        while not judged.done():
            await asyncio.sleep(0.001)
            turns += 1
        await judged
    assert turns > 5
