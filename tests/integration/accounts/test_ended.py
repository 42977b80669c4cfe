"""What has ended gives nothing new: short keys, old passwords, revoked readers; nor do pages of others get an account."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator

import httpx
import pytest
from tests.integration.accounts.conftest import Realm
from tests.support import accounts
from tests.support import servers as real
from tests.support.apis import running_api

from taskflow.domain.account import By
from taskflow.domain.errors import Unauthenticated
from taskflow.engine.accounts import reset_password
from taskflow.engine.credentials import Credentials
from taskflow.engine.passwords import Passwords
from taskflow.engine.sign_in import SignIn, SignInRules
from taskflow.engine.tokens import Tokens
from taskflow.kit.clock import now, rfc3339
from taskflow.store.connect import Database

KEYS = "/api/v1/api-keys"
OLD, NEW = "nobody guesses this one", "nobody guesses that one either"
SLOW = "4@8({[<369&#!iI1|0$5+7%2z" * 3
"""zxcvbn takes it for very many words at once."""


def test_a_key_that_ends_cannot_rotate_one_that_does_not(realm: Realm) -> None:
    lasting = accounts.make_key(realm.url, realm.ann.key, "read")
    ends = rfc3339(now().replace(year=now().year + 1, day=1))
    short = accounts.make_key(realm.url, realm.ann.key, "read", "operate", expires_at=ends)
    made = realm.call("POST", f"{KEYS}/{lasting['id']}/rotate", short["key"])
    assert made.status_code == 201 and made.json()["expires_at"] == short["expires_at"] is not None


class _Overtaken(Passwords):
    """Verifies a password; before that is told, the account gets another."""

    def __init__(self, database: Database, name: str) -> None:
        super().__init__()
        self._database, self._name = database, name

    async def verify(self, kept: str | None, password: str) -> bool:
        verified = await super().verify(kept, password)
        await reset_password(self._database, self, self._name, NEW, By("test"))
        return verified


def test_a_password_that_is_changed_while_it_is_verified_opens_no_session(realm: Realm) -> None:
    name = f"u{uuid.uuid4().hex[:12]}"
    accounts.make_user(realm.url, realm.admin, username=name, password=OLD)

    async def sign_in() -> None:
        async with Database(realm.database_url, application="test") as database:
            tokens = Tokens(accounts.SECRET_KEY, None, seconds=60)
            async with _Overtaken(database, name) as passwords, Credentials(database, tokens) as credentials:
                service = SignIn(database, credentials, passwords, tokens, SignInRules(60, 10, 60))
                await service.sign_in(name, OLD, By("test"), "198.51.100.77")

    with pytest.raises(Unauthenticated):
        asyncio.run(sign_in())
    assert accounts.sign_in(realm.url, name, NEW)["access_token"]


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


def test_a_password_that_is_hard_to_judge_keeps_nobody_waiting(unsigned: str) -> None:
    body = {"username": f"u{uuid.uuid4().hex[:12]}", "password": SLOW, "password_confirm": SLOW}
    path, took = f"{unsigned}/api/v1/auth/register", []
    asked = threading.Thread(target=httpx.post, args=(path,), kwargs={"json": body, "timeout": 60})
    asked.start()
    with httpx.Client() as client:
        while asked.is_alive():
            begun = time.perf_counter()
            assert client.get(f"{unsigned}/livez").status_code == 200
            took.append(time.perf_counter() - begun)
    assert took and max(took) < 1.0, took
