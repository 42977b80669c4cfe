"""Systems whose callers must sign in, and credentials for them."""

from __future__ import annotations

from typing import Any

import httpx
from tests.support.waiting import wait_until_sync

SECRET_KEY = "tests-sign-with-this-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLM"
ADMIN_PASSWORD = "an admin of tests, 4 words"
REQUIRED = {"AUTH_MODE": "required", "SECRET_KEY": SECRET_KEY, "ADMIN_PASSWORD": ADMIN_PASSWORD}
"""The environment of an api that lets nobody in without credentials, and makes the admin `admin`."""


def sign_in(url: str, username: str = "admin", password: str = ADMIN_PASSWORD) -> dict[str, Any]:
    """Tokens for a password; waits for the account to be made."""

    def granted() -> httpx.Response | None:
        answer = httpx.post(
            f"{url}/api/v1/auth/token", json={"username": username, "password": password}, timeout=20
        )
        return answer if answer.status_code != 401 else None

    answer = wait_until_sync(granted, f"{username} can sign in", 15, interval=0.3)
    assert answer is not None and answer.status_code == 200, answer and answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


def bearer(token: str) -> dict[str, str]:
    """The header that shows a token or key."""
    return {"Authorization": f"Bearer {token}"}


def make_key(url: str, token: str, *scopes: str, **fields: Any) -> dict[str, Any]:
    """A new key of whoever has this token, with `key` in it."""
    body = {"name": "test", "scopes": list(scopes), **fields}
    answer = httpx.post(f"{url}/api/v1/api-keys", json=body, headers=bearer(token), timeout=20)
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


def make_user(url: str, token: str, **fields: Any) -> dict[str, Any]:
    """A new account, made by an admin; with `api_key` in it."""
    answer = httpx.post(f"{url}/api/v1/users", json=fields, headers=bearer(token), timeout=20)
    assert answer.status_code == 201, answer.text
    user: dict[str, Any] = answer.json()
    return user
