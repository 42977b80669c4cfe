"""Accounts and their keys: registered, made, renamed, given rights, deleted; and what the audit log tells of it."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from tests.integration.accounts.conftest import Realm
from tests.support import accounts
from tests.support import servers as real
from tests.support.apis import running_api
from tests.support.waiting import wait_until_sync

from taskflow.engine.vault import Vault

KEYS = "/api/v1/api-keys"
PASSWORD = "a phrase that is long"


@pytest.fixture(scope="module")
def open_url(realm: Realm, servers: real.Servers) -> Iterator[str]:
    """An api of the realm at which anybody may register, and see the metrics."""
    settings = {**accounts.REQUIRED, "REGISTRATION": "open", "METRICS_OPEN": "true"}
    with running_api(realm.database_url, servers.nats_url, **settings) as api:
        yield api.url


def registered(url: str, **fields: Any) -> httpx.Response:
    """The answer to a registration."""
    return httpx.post(f"{url}/api/v1/auth/register", json=fields, timeout=30)


def unique() -> str:
    """A username nobody has."""
    return f"u{uuid.uuid4().hex[:12]}"


def test_registering_with_an_email_address_gives_a_key(realm: Realm, open_url: str) -> None:
    email = f"{unique()}@example.org"
    made = registered(open_url, email=email).json()
    assert (made["user"]["email"], made["user"]["role"]) == (email, "user") and not made["user"][
        "has_password"
    ]
    assert re.fullmatch(r"tfq_[0-9A-Za-z]{38}", made["api_key"])
    assert re.fullmatch(r"whsec_[0-9A-Za-z+/]{43}=", made["signing_secret"])
    profile = realm.call("GET", "/api/v1/auth/profile", made["api_key"]).json()
    assert profile["email"] == email and profile["key_id"]
    by_header = httpx.get(f"{realm.url}/api/v1/auth/profile", headers={"X-API-Key": made["api_key"]})
    assert by_header.json() == profile
    sealed = asyncio.run(
        _value(realm, "SELECT sealed FROM signing_secrets WHERE user_id = $1", profile["id"])
    )
    assert Vault(accounts.SECRET_KEY, None).open(sealed, profile["id"]) == made["signing_secret"]
    assert made["signing_secret"].encode() not in sealed


def test_registering_with_a_password_lets_one_sign_in(open_url: str) -> None:
    name = unique()
    fields = {
        "username": name,
        "email": f"{name}@example.org",
        "password": PASSWORD,
        "password_confirm": PASSWORD,
    }
    assert registered(open_url, **fields).status_code == 201
    assert accounts.sign_in(open_url, name.upper(), PASSWORD)["access_token"]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({}, "/email"),
        ({"username": "ann2"}, "/password"),
        ({"username": "with space", "email": "a@b.c"}, "/username"),
        ({"email": "nobody"}, "/email"),
        ({"email": None}, "/email"),
        ({"username": "x", "email": "a@b.c", "password": PASSWORD}, "/password_confirm"),
        (
            {"username": "x", "email": "a@b.c", "password": PASSWORD, "password_confirm": "no"},
            "/password_confirm",
        ),
        ({"email": "a@b.c", "password": "short", "password_confirm": "short"}, "/password"),
        ({"email": "a@b.c", "password": "password123", "password_confirm": "password123"}, "/password"),
        ({"email": "a@b.c", "password2": PASSWORD}, "/password2"),
        ({"email": "a@b.c", "role": "admin"}, "/role"),
    ],
)
def test_what_is_wrong_is_told(open_url: str, fields: dict[str, Any], pointer: str) -> None:
    told = registered(open_url, **fields).json()
    assert told["status"] == 422, told
    assert pointer in [fault["pointer"] for fault in told["errors"]]


def test_a_name_is_taken_once(realm: Realm, open_url: str) -> None:
    told = registered(open_url, email="ANN@example.org").json()
    assert (told["status"], told["code"], told["errors"][0]["pointer"]) == (409, "name_taken", "/email")
    fields = {"username": "Ann", "password": PASSWORD, "password_confirm": PASSWORD}
    assert registered(open_url, **fields).json()["code"] == "name_taken"
    local = {"username": "local", "password": PASSWORD, "password_confirm": PASSWORD}
    assert registered(open_url, **local).json()["code"] == "name_taken"
    renamed = realm.call("PATCH", "/api/v1/auth/profile", realm.bob.key, json={"username": "ANN"})
    assert renamed.json()["code"] == "name_taken"


def test_registration_is_closed_unless_it_is_opened(realm: Realm) -> None:
    told = registered(realm.url, email=f"{unique()}@example.org").json()
    assert (told["status"], told["code"]) == (403, "registration_closed")


def test_metrics_want_a_key_unless_they_are_open(realm: Realm, open_url: str) -> None:
    reads = accounts.make_key(realm.url, realm.ann.key, "read")["key"]
    assert realm.call("GET", "/metrics").status_code == 401
    for answer in (realm.call("GET", "/metrics", reads), httpx.get(f"{open_url}/metrics")):
        assert answer.status_code == 200 and "taskflow_http_requests_total" in answer.text
    assert httpx.get(f"{open_url}/api/v1/tasks").status_code == 401


def test_a_key_allows_no_more_than_its_maker(realm: Realm) -> None:
    submit = accounts.make_key(realm.url, realm.ann.key, "submit", "operate")
    refused = realm.call("POST", KEYS, submit["key"], json={"scopes": ["read"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert realm.call("POST", KEYS, realm.ann.key, json={"scopes": ["admin"]}).status_code == 403
    bare = realm.call("POST", KEYS, submit["key"], json={"name": "as its maker"}).json()
    assert bare["scopes"] == ["operate", "submit"]


def test_a_key_made_with_a_key_ends_with_it(realm: Realm) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    short = accounts.make_key(realm.url, realm.ann.key, "operate", expires_at=soon)
    made = realm.call("POST", KEYS, short["key"], json={"scopes": ["operate"]}).json()
    assert made["expires_at"] == short["expires_at"]
    lasting = accounts.make_key(realm.url, realm.ann.key, "operate")
    replaced = realm.call("POST", f"{KEYS}/{lasting['id']}/rotate", short["key"]).json()
    assert replaced["expires_at"] == short["expires_at"]


def test_keys_that_are_being_replaced_are_counted(realm: Realm) -> None:
    user = accounts.make_user(
        realm.url, realm.admin, username="collector", password="a long one of the collector"
    )
    key_id = realm.call("GET", KEYS, user["api_key"]).json()["items"][0]["id"]
    for _ in range(199):
        key_id = realm.call("POST", f"{KEYS}/{key_id}/rotate", user["api_key"]).json()["id"]
    full = realm.call("POST", f"{KEYS}/{key_id}/rotate", user["api_key"])
    assert (full.status_code, full.json()["code"]) == (403, "forbidden"), full.text


def test_a_key_ends_by_itself(realm: Realm) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
    key = accounts.make_key(realm.url, realm.ann.key, "read", expires_at=soon)
    assert realm.call("GET", "/api/v1/tasks", key["key"]).status_code == 200

    def ended() -> bool:
        return realm.call("GET", "/api/v1/tasks", key["key"]).status_code == 401

    wait_until_sync(ended, "the key has expired", 10)
    assert realm.call("GET", f"{KEYS}/{key['id']}", realm.ann.key).json()["status"] == "expired"
    past = (datetime.now(UTC) - timedelta(seconds=2)).isoformat()
    assert realm.call("POST", KEYS, realm.ann.key, json={"expires_at": past}).status_code == 422


def test_a_key_is_replaced_with_an_overlap(realm: Realm) -> None:
    old = accounts.make_key(realm.url, realm.ann.key, "read")
    new = realm.call("POST", f"{KEYS}/{old['id']}/rotate", realm.ann.key, json={"overlap_seconds": 60}).json()
    assert (new["name"], new["scopes"], new["expires_at"]) == (old["name"], old["scopes"], None)
    for key in (old["key"], new["key"]):
        assert realm.call("GET", "/api/v1/tasks", key).status_code == 200
    told = realm.call("GET", f"{KEYS}/{old['id']}", realm.ann.key).json()
    assert told["replaced_by"] == new["id"] and told["expires_at"]
    last = realm.call("POST", f"{KEYS}/{new['id']}/rotate", realm.ann.key, json={"overlap_seconds": 0}).json()
    assert realm.call("GET", "/api/v1/tasks", new["key"]).status_code == 401
    assert realm.call("GET", "/api/v1/tasks", last["key"]).status_code == 200
    again = realm.call("POST", f"{KEYS}/{new['id']}/rotate", realm.ann.key)
    assert (again.status_code, again.json()["current_status"]) == (409, "expired")
    by_admin = realm.call("POST", f"{KEYS}/{last['id']}/rotate", realm.admin)
    assert by_admin.status_code == 404  # who replaces a key has it: nobody but its owner


def test_a_key_that_is_mistyped_is_told_from_one_that_is_not_known(realm: Realm) -> None:
    key = accounts.make_key(realm.url, realm.ann.key, "read")["key"]
    mistyped = key[:-1] + ("a" if key[-1] != "a" else "b")
    told = realm.call("GET", "/api/v1/tasks", mistyped).json()
    assert told["detail"] == "this is no API key of ours, or not the whole of it"


def test_no_key_and_no_password_is_kept(realm: Realm) -> None:
    """All that PostgreSQL has of them are hashes."""
    key = accounts.make_key(realm.url, realm.ann.key, "read")["key"]
    refresh = accounts.sign_in(realm.url, "ann", realm.ann.password)["refresh_token"]
    for table in ("users", "api_keys", "sessions", "refresh_tokens", "audit_events"):
        text = asyncio.run(_value(realm, f"SELECT string_agg(t::text, ' ') FROM {table} t"))
        assert text
        assert not any(secret in text for secret in (key, refresh, realm.ann.password))
    kept = asyncio.run(_value(realm, "SELECT password_hash FROM users WHERE username = 'ann'"))
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_the_use_of_a_key_is_noted(realm: Realm) -> None:
    key = accounts.make_key(realm.url, realm.ann.key, "read")
    assert key["last_used_at"] is None

    def noted() -> Any:
        realm.call("GET", "/api/v1/tasks", key["key"])
        return realm.call("GET", f"{KEYS}/{key['id']}", realm.ann.key).json()["last_used_at"]

    wait_until_sync(noted, "its use is noted", 10, interval=0.3)


def test_the_rights_of_an_account_bound_its_keys(realm: Realm) -> None:
    name = unique()
    made = accounts.make_user(realm.url, realm.admin, username=name, password=PASSWORD, role="admin")
    key, user = made["api_key"], f"/api/v1/users/{made['user']['id']}"
    assert realm.call("GET", "/api/v1/users", key).status_code == 200
    assert realm.call("PATCH", user, realm.admin, json={"role": "user"}).json()["role"] == "user"
    assert realm.call("GET", "/api/v1/users", key).status_code == 403
    assert realm.call("DELETE", user, realm.admin).status_code == 204
    assert realm.call("GET", "/api/v1/tasks", key).status_code == 401
    assert realm.call("POST", f"{user}/restore", realm.admin).json()["deleted_at"] is None
    assert accounts.sign_in(realm.url, name, PASSWORD)


def test_an_admins_key_without_admin_sees_what_is_the_admins_own(realm: Realm) -> None:
    theirs = realm.call("POST", "/api/v1/tasks", realm.ann.key, json={"type": "t"}).json()["id"]
    small = accounts.make_key(realm.url, realm.admin, "read")["key"]
    assert realm.call("GET", f"/api/v1/tasks/{theirs}", small).status_code == 404
    assert realm.call("GET", f"/api/v1/tasks/{theirs}", realm.admin).json()["owner_id"] == realm.ann.id


def test_one_admin_who_can_sign_in_is_always_left(realm: Realm) -> None:
    admin = realm.call("GET", "/api/v1/auth/profile", realm.admin).json()["id"]
    answers = [
        realm.call("DELETE", "/api/v1/auth/profile", realm.admin),
        realm.call("DELETE", f"/api/v1/users/{admin}", realm.admin),
        realm.call("PATCH", f"/api/v1/users/{admin}", realm.admin, json={"role": "user"}),
        realm.call("PATCH", f"/api/v1/users/{admin}", realm.admin, json={"disabled": True}),
        realm.call("DELETE", f"/api/v1/users/{uuid.UUID(int=0)}", realm.admin),
    ]
    assert [answer.status_code for answer in answers] == [403] * 5
    assert realm.call("GET", "/api/v1/users", realm.admin).status_code == 200


def test_deleting_ones_own_account(realm: Realm) -> None:
    made = accounts.make_user(realm.url, realm.admin, username=unique(), password=PASSWORD)
    assert realm.call("DELETE", "/api/v1/auth/profile", made["api_key"]).status_code == 204
    assert realm.call("GET", "/api/v1/tasks", made["api_key"]).status_code == 401
    listed = realm.call("GET", f"/api/v1/users?name={made['user']['username']}", realm.admin).json()["items"]
    assert listed[0]["deleted_at"]


def test_an_idempotency_key_is_its_owners(realm: Realm) -> None:
    headers = {"Idempotency-Key": unique()}
    ids = [
        realm.call("POST", "/api/v1/tasks", person.key, json={"type": "t"}, headers=headers).json()["id"]
        for person in (realm.ann, realm.bob, realm.ann)
    ]
    assert ids[0] == ids[2] != ids[1]


def test_the_audit_log_tells_who_did_what_and_from_where(realm: Realm) -> None:
    made = accounts.make_user(realm.url, realm.admin, username=unique(), password=PASSWORD)
    user, key = made["user"], made["api_key"]
    headers = {"X-Request-Id": "request-of-this-test"}
    task = realm.call("POST", "/api/v1/tasks", key, json={"type": "t", "delay_seconds": 60}).json()["id"]
    realm.call("POST", f"/api/v1/tasks/{task}/cancel", key)
    other = accounts.make_key(realm.url, key, "read")
    realm.call("DELETE", f"{KEYS}/{other['id']}", key, headers=headers, json={"reason": "was in a log"})
    accounts.sign_in(realm.url, user["username"], PASSWORD)
    httpx.post(f"{realm.url}/api/v1/auth/token", json={"username": user["username"], "password": "no"})
    query = {"actor": user["username"], "limit": 50}
    told = realm.call("GET", "/api/v1/audit", realm.admin, params=query).json()["items"]
    assert {event["action"] for event in told} == {
        "task.cancelled", "api_key.created", "api_key.revoked", "session.opened", "session.refused"
    }  # fmt: skip
    [revoked] = [event for event in told if event["action"] == "api_key.revoked"]
    assert (revoked["target"], revoked["reason"]) == (other["id"], "was in a log")
    assert (revoked["user_id"], revoked["address"]) == (user["id"], "127.0.0.1")
    assert revoked["request_id"] == "request-of-this-test" and revoked["key_id"]
    of_task = realm.call("GET", f"/api/v1/tasks/{task}/events", key).json()["items"]
    assert of_task[-1]["data"]["by"] == user["username"]
    assert realm.call("GET", "/api/v1/audit", key).status_code == 403


def test_a_password_in_the_wrong_field_is_not_kept(realm: Realm) -> None:
    secret = f"my secret {unique()}"
    body = {"username": secret, "password": "x"}
    assert httpx.post(f"{realm.url}/api/v1/auth/token", json=body).status_code == 401
    for table in ("audit_events", "sign_in_failures"):
        assert secret not in asyncio.run(_value(realm, f"SELECT string_agg(t::text, ' ') FROM {table} t"))
    [event] = realm.call("GET", "/api/v1/audit?actor=nobody&limit=1", realm.admin).json()["items"]
    assert event["action"] == "session.refused"


async def _value(realm: Realm, sql: str, *arguments: Any) -> Any:
    conn = await asyncpg.connect(realm.database_url)
    try:
        return await conn.fetchval(sql, *arguments)
    finally:
        await conn.close()
