"""Sessions: tokens for a password, the next tokens for a refresh token, and locks for those who guess."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import jwt
import pytest
from tests.integration.accounts.conftest import Realm
from tests.support import accounts
from tests.support import servers as real
from tests.support.apis import running_api
from tests.support.waiting import wait_until, wait_until_sync

PROFILE = "/api/v1/auth/profile"
TOKEN = "/api/v1/auth/token"
PASSWORD = "nobody guesses this one"


def new_user(realm: Realm, **fields: Any) -> str:
    """A user with `PASSWORD`; the username."""
    name = f"u{uuid.uuid4().hex[:12]}"
    accounts.make_user(realm.url, realm.admin, username=name, password=PASSWORD, **fields)
    return name


def tokens(realm: Realm, name: str) -> dict[str, Any]:
    """What signing in gives."""
    return accounts.sign_in(realm.url, name, PASSWORD)


def tried(url: str, name: str, password: str) -> httpx.Response:
    """One try to sign in."""
    return httpx.post(f"{url}{TOKEN}", json={"username": name, "password": password}, timeout=60)


def test_signing_in_gives_tokens_that_are_good_for_calls(realm: Realm) -> None:
    name = new_user(realm)
    granted = tokens(realm, name)
    assert granted["token_type"] == "Bearer" and granted["expires_in"] == 180 * 60
    profile = realm.call("GET", PROFILE, granted["access_token"]).json()
    assert profile["username"] == name and profile["role"] == "user" and profile["has_password"]
    assert profile["scopes"] == ["operate", "read", "submit", "work"]
    assert profile["session_id"] and profile["key_id"] is None


def test_the_email_address_will_do_and_so_will_a_form(realm: Realm) -> None:
    email = f"{uuid.uuid4().hex[:12]}@example.org"
    new_user(realm, email=email)
    form = {"grant_type": "password", "username": email.upper(), "password": PASSWORD, "scope": ""}
    answer = httpx.post(f"{realm.url}{TOKEN}", data=form, timeout=30)
    assert answer.status_code == 200, answer.text
    by_field = httpx.post(f"{realm.url}{TOKEN}", json={"email": email, "password": PASSWORD}, timeout=30)
    assert by_field.status_code == 200


def test_what_a_token_says_is_checked(realm: Realm) -> None:
    good = tokens(realm, new_user(realm))["access_token"]
    head, said = jwt.get_unverified_header(good), jwt.decode(good, options={"verify_signature": False})
    assert set(said) == {"iss", "aud", "sub", "sid", "jti", "iat", "exp"} and head["typ"] == "at+jwt"

    def signed(
        key: str = accounts.SECRET_KEY,
        algorithm: str = "HS256",
        heads: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        kept = {name: value for name, value in (said | claims).items() if value is not None}
        return jwt.encode(kept, key, algorithm=algorithm, headers={**head, **(heads or {})})

    assert realm.call("GET", PROFILE, signed()).status_code == 200
    others = [
        signed(iss="else"), signed(aud="else"), signed(aud=None), signed(iss=None), signed(exp=None), signed(sub=None),
        signed(sid=None), signed(iat=said["iat"] + 3_600), signed(heads={"typ": "JWT"}), signed(heads={"kid": "x"}),
        signed(algorithm="HS512", heads={"alg": "HS512"}), signed(key="another key of more than 32 bytes, indeed"),
        jwt.encode(said, "", algorithm="none", headers={**head, "alg": "none"}), good[:-2],
        good + "x", "a.b.c", "x" * 5_000,
    ]  # fmt: skip
    for token in others:
        answer = realm.call("GET", PROFILE, token)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), token
    mixed = signed(sub=realm.bob.id)
    assert realm.call("GET", PROFILE, mixed).json()["detail"] == "the session of this access token has ended"


def test_a_refresh_token_is_good_once(realm: Realm) -> None:
    first = tokens(realm, new_user(realm))
    second = refreshed(realm, first["refresh_token"])
    assert second.status_code == 200
    third = refreshed(realm, second.json()["refresh_token"])
    assert third.status_code == 200
    assert realm.call("GET", PROFILE, third.json()["access_token"]).status_code == 200


def test_a_stolen_refresh_token_that_is_used_twice_ends_the_family(realm: Realm) -> None:
    name = new_user(realm)
    other = tokens(realm, name)
    first = tokens(realm, name)
    thief = refreshed(realm, first["refresh_token"]).json()
    again = refreshed(realm, first["refresh_token"])
    assert (again.status_code, again.json()["code"]) == (401, "unauthenticated")
    for token in (thief["refresh_token"], first["refresh_token"]):
        assert refreshed(realm, token).status_code == 401
    for token in (thief["access_token"], first["access_token"]):
        assert realm.call("GET", PROFILE, token).status_code == 401
    assert realm.call("GET", PROFILE, other["access_token"]).status_code == 200  # another family
    told = realm.call("GET", "/api/v1/audit?action=session.token_reused", realm.admin).json()["items"]
    assert told[0]["actor"] == name


def test_of_many_that_show_one_refresh_token_at_once_one_is_given_the_next(realm: Realm) -> None:
    first = tokens(realm, new_user(realm))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: refreshed(realm, first["refresh_token"]), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
    [won] = [answer.json() for answer in answers if answer.status_code == 200]
    assert refreshed(realm, won["refresh_token"]).status_code == 401  # and then the family has ended


def test_signing_out_ends_the_session(realm: Realm) -> None:
    name = new_user(realm)
    first, second = tokens(realm, name), tokens(realm, name)
    assert realm.call("POST", "/api/v1/auth/logout", first["access_token"]).status_code == 204
    assert realm.call("GET", PROFILE, first["access_token"]).status_code == 401
    assert refreshed(realm, first["refresh_token"]).status_code == 401
    body = {"refresh_token": second["refresh_token"]}
    assert realm.call("POST", "/api/v1/auth/logout", json=body).status_code == 204
    assert realm.call("GET", PROFILE, second["access_token"]).status_code == 401
    assert realm.call("POST", "/api/v1/auth/logout").status_code == 401
    assert realm.call("POST", "/api/v1/auth/logout", realm.ann.key).status_code == 401  # of no session


def test_another_password_ends_the_other_sessions(realm: Realm) -> None:
    name = new_user(realm)
    here, there = tokens(realm, name), tokens(realm, name)
    path, new = "/api/v1/auth/change-password", "nobody guesses that one either"
    wrong = realm.call(
        "POST", path, here["access_token"], json={"old_password": "no", "new_password": new}
    ).json()
    assert (wrong["status"], wrong["errors"][0]["pointer"]) == (422, "/old_password")
    body = {"old_password": PASSWORD, "new_password": "password1234"}
    weak = realm.call("POST", path, here["access_token"], json=body).json()
    assert (weak["status"], weak["errors"][0]["pointer"]) == (422, "/new_password")
    body = {"old_password": PASSWORD, "new_password": new, "new_password_confirm": new}
    assert realm.call("POST", path, here["access_token"], json=body).json() == {"sessions_ended": 1}
    assert realm.call("GET", PROFILE, here["access_token"]).status_code == 200
    assert realm.call("GET", PROFILE, there["access_token"]).status_code == 401
    assert refreshed(realm, there["refresh_token"]).status_code == 401
    assert tried(realm.url, name, PASSWORD).status_code == 401
    assert tried(realm.url, name, new).status_code == 200


@pytest.mark.parametrize("change", ["password_hash = 'another'", "disabled_at = now()"])
async def test_a_password_changed_while_it_is_verified_opens_nothing(realm: Realm, change: str) -> None:
    name = new_user(realm)
    async with changing(realm, name, change):
        trying = asyncio.create_task(asyncio.to_thread(tried, realm.url, name, PASSWORD))
    answer = await trying
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_of_two_who_change_a_password_at_once_the_second_has_to_know_the_new_one(realm: Realm) -> None:
    name = new_user(realm)
    token = tokens(realm, name)["access_token"]
    body = {"old_password": PASSWORD, "new_password": "nobody guesses that one either"}
    async with changing(realm, name, "password_hash = 'another'"):
        path = "/api/v1/auth/change-password"
        trying = asyncio.create_task(asyncio.to_thread(realm.call, "POST", path, token, json=body))
    answer = (await trying).json()
    assert (answer["status"], answer["errors"][0]["pointer"]) == (422, "/old_password")


@asynccontextmanager
async def changing(realm: Realm, name: str, change: str) -> AsyncIterator[None]:
    """An account is being changed: committed once somebody who has read it before waits for that."""
    conn = await asyncpg.connect(realm.database_url)
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND transactionid IS NOT NULL"
    try:
        async with conn.transaction():
            assert await conn.execute(f"UPDATE users SET {change} WHERE username = $1", name) == "UPDATE 1"
            yield
            await wait_until(lambda: conn.fetchval(waiting), "somebody waits for the row", 15)
    finally:
        await conn.close()


def test_verify_tells_whose_it_is(realm: Realm) -> None:
    shown = tokens(realm, new_user(realm))["access_token"]
    for token in (shown, realm.ann.key):
        told = realm.call("POST", f"{TOKEN}/verify", json={"token": token})
        assert told.status_code == 200 and told.json()["active"]
    assert realm.call("POST", f"{TOKEN}/verify", json={"token": shown[:-3]}).status_code == 401


@pytest.fixture
def strict(realm: Realm, servers: real.Servers) -> Iterator[str]:
    """The same accounts at two more apis, behind a proxy that says where callers are; the first one's address."""
    settings = {**accounts.REQUIRED, "TRUSTED_PROXIES": "127.0.0.1", "LOGIN_RATE_LIMIT_PER_HOUR": "0"}
    with running_api(realm.database_url, servers.nats_url, **settings) as api:
        yield api.url


def at(url: str, address: str, name: str, password: str) -> httpx.Response:
    """A try from this address."""
    headers = {"X-Forwarded-For": address}
    body = {"username": name, "password": password}
    return httpx.post(f"{url}{TOKEN}", json=body, headers=headers, timeout=60)


@pytest.mark.parametrize("known", [True, False])
def test_the_eleventh_try_is_locked_with_the_right_password_too(
    realm: Realm, strict: str, known: bool
) -> None:
    name = new_user(realm) if known else f"nobody-{uuid.uuid4().hex}"
    for number in range(10):  # each from elsewhere: the account is what is locked
        answer = at(strict, f"198.51.100.{number}", name, "wrong")
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.json()["detail"] == "the name or the password is wrong"
    for url in (strict, realm.url):  # every api knows
        answer = tried(url, name, PASSWORD)
        assert (answer.status_code, answer.json()["code"]) == (429, "account_locked")
        assert 880 <= int(answer.headers["retry-after"]) <= 900


def test_an_address_that_guesses_is_locked_for_all_accounts(realm: Realm, strict: str) -> None:
    name = new_user(realm)
    for number in range(10):
        assert at(strict, "203.0.113.7", f"guess-{number}-{uuid.uuid4().hex}", "x").status_code == 401
    locked = at(strict, "203.0.113.7", name, PASSWORD)
    assert (locked.status_code, locked.json()["code"]) == (429, "account_locked")
    assert at(strict, "203.0.113.8", name, PASSWORD).status_code == 200


def test_many_guesses_at_once_are_counted_one_by_one(realm: Realm, strict: str) -> None:
    name = new_user(realm)
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda n: at(strict, f"192.0.2.{n}", name, "wrong"), range(25)))
    assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 15


def test_a_success_forgives_the_account(realm: Realm, strict: str) -> None:
    name = new_user(realm)
    for round_ in range(3):
        for number in range(9):
            assert at(strict, f"198.51.100.{100 + round_ * 10 + number}", name, "wrong").status_code == 401
        assert at(strict, "198.51.100.99", name, PASSWORD).status_code == 200


def test_a_lock_ends(realm: Realm, strict: str) -> None:
    name = new_user(realm)
    for number in range(10):
        assert at(strict, f"198.51.100.{200 + number}", name, "wrong").status_code == 401
    assert at(strict, "198.51.100.250", name, PASSWORD).status_code == 429
    asyncio.run(_later(realm.database_url, name))
    assert at(strict, "198.51.100.251", name, "wrong").status_code == 401
    assert at(strict, "198.51.100.252", name, PASSWORD).status_code == 200


async def _later(database_url: str, name: str) -> None:
    """15 minutes pass, for this account."""
    conn = await asyncpg.connect(database_url)
    try:
        done = await conn.execute(
            "UPDATE sign_in_failures SET locked_until = locked_until - interval '901 s', since = since - interval '901 s' "
            "WHERE subject = 'account:' || (SELECT id FROM users WHERE username = $1)",
            name,
        )
        assert done == "UPDATE 1"
    finally:
        await conn.close()


def test_a_disabled_account_is_out_at_once(realm: Realm) -> None:
    name = new_user(realm)
    granted = tokens(realm, name)
    user_id = realm.call("GET", PROFILE, granted["access_token"]).json()["id"]
    changed = realm.call("PATCH", f"/api/v1/users/{user_id}", realm.admin, json={"disabled": True})
    assert changed.status_code == 200 and changed.json()["disabled_at"]
    assert realm.call("GET", PROFILE, granted["access_token"]).status_code == 401
    assert refreshed(realm, granted["refresh_token"]).status_code == 401
    assert tried(realm.url, name, PASSWORD).json()["detail"] == "the name or the password is wrong"
    assert (
        realm.call("PATCH", f"/api/v1/users/{user_id}", realm.admin, json={"disabled": False}).status_code
        == 200
    )
    assert tried(realm.url, name, PASSWORD).status_code == 200


def test_what_ends_here_ends_at_the_other_api_within_five_seconds(realm: Realm, strict: str) -> None:
    name = new_user(realm)
    granted = tokens(realm, name)
    key = accounts.make_key(realm.url, granted["access_token"], "read")

    def both(url: str) -> list[int]:
        shown = (granted["access_token"], key["key"])
        return [httpx.get(f"{url}{PROFILE}", headers=accounts.bearer(each)).status_code for each in shown]

    assert both(strict) == [200, 200]
    assert realm.call("DELETE", f"/api/v1/api-keys/{key['id']}", granted["access_token"]).status_code == 204
    assert realm.call("POST", "/api/v1/auth/logout", granted["access_token"]).status_code == 204
    assert both(realm.url) == [401, 401]
    wait_until_sync(lambda: both(strict) == [401, 401], "the other api refuses both, while they are used", 5)


def refreshed(realm: Realm, token: str) -> httpx.Response:
    """The answer to a refresh token."""
    return realm.call("POST", f"{TOKEN}/refresh", json={"refresh_token": token})
