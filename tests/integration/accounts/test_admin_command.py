"""`taskflow admin`: the first admin of a new database, and the way back in for one who has lost the password."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from tests.support import accounts
from tests.support import servers as real
from tests.support.apis import running_api

KEY_ALONE = {name: value for name, value in accounts.REQUIRED.items() if name != "ADMIN_PASSWORD"}


@pytest.fixture(scope="module")
def place(databases: real.Databases, servers: real.Servers) -> Iterator[tuple[str, str]]:
    """An api without any account: its address, and its database."""
    url = databases.create()
    with running_api(url, servers.nats_url, **KEY_ALONE) as api:
        yield api.url, url
    databases.drop(url)
    real.delete_streams(servers.nats_url)


def admin(database_url: str, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """Run `taskflow admin ...`."""
    return subprocess.run(
        [sys.executable, "-m", "taskflow.cli.main", "admin", *arguments],
        env={**os.environ, "DATABASE_URL": database_url}, input=said, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_from_no_account_to_a_locked_out_admin_and_back(place: tuple[str, str]) -> None:
    url, database = place
    assert httpx.get(f"{url}/api/v1/tasks").status_code == 401
    made = admin(database, "create", "--username", "boss", "--email", "boss@example.org", "--key", "--json")
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    headers = accounts.bearer(told["api_key"])
    profile = httpx.get(f"{url}/api/v1/auth/profile", headers=headers).json()
    assert (profile["id"], profile["role"], profile["scopes"][0]) == (told["user_id"], "admin", "admin")
    session = accounts.sign_in(url, "boss@example.org", told["password"])
    for _ in range(10):
        body = {"username": "boss", "password": "forgotten"}
        assert httpx.post(f"{url}/api/v1/auth/token", json=body).status_code == 401
    # The address is locked, too; that ends by itself. The account's lock ends with the new password.
    renewed = admin(database, "password", "BOSS", "--password-stdin", said="a phrase never to be forgotten\n")
    assert renewed.returncode == 0, renewed.stderr
    assert "a phrase" not in renewed.stdout
    assert httpx.get(f"{url}/api/v1/auth/profile", headers=headers).status_code == 200  # keys stay
    refresh = {"refresh_token": session["refresh_token"]}
    assert httpx.post(f"{url}/api/v1/auth/token/refresh", json=refresh).status_code == 401
    events = httpx.get(f"{url}/api/v1/audit", headers=headers).json()["items"]
    locks = {event["action"]: event for event in events if event["actor"] == "lockout"}
    assert (
        locks["account.locked"]["user_id"] == told["user_id"] and locks["address.locked"]["user_id"] is None
    )
    assert {"user.created", "account.locked", "address.locked", "user.password_reset"} <= {
        event["action"] for event in events
    }


@pytest.mark.parametrize(
    ("arguments", "said", "code", "words"),
    [
        (["create", "--username", "local"], "", 5, "/username: belongs to another account"),
        (["create", "--username", "weak", "--password-stdin"], "admin1234\n", 2, "is too easily guessed"),
        (["password", "nobody"], "", 3, "there is no account 'nobody'"),
        (["password", "local"], "", 3, "there is no account 'local'"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    place: tuple[str, str], arguments: list[str], said: str, code: int, words: str
) -> None:
    done = admin(place[1], *arguments, said=said)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr and len(done.stderr.splitlines()) == 1


def test_without_postgresql_it_says_so() -> None:
    done = admin("postgresql://nobody@127.0.0.1:1/none", "create")
    assert done.returncode == 7 and len(done.stderr.splitlines()) == 1
