"""Limits as callers meet them, at two apis that share them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
from tests.support import accounts
from tests.support import servers as real
from tests.support.apis import running_api

PER_KEY, PER_USER = 400, 600


class Twins(NamedTuple):
    """Two apis of one system, and an admin's access token."""

    urls: list[str]
    admin: str

    def key(self, name: str) -> str:
        """The key of a new user."""
        made = accounts.make_user(self.urls[0], self.admin, username=name, password="long enough for that")
        return str(made["api_key"])


@pytest.fixture(scope="module")
def twins(databases: real.Databases, servers: real.Servers) -> Iterator[Twins]:
    """With limits for keys, users and addresses."""
    url = databases.create()
    settings = {
        **accounts.REQUIRED,
        "RATE_LIMIT_PER_HOUR": str(PER_KEY),
        "USER_RATE_LIMIT_PER_HOUR": str(PER_USER),
        "LOGIN_RATE_LIMIT_PER_HOUR": "40",
        "MAX_FAILED_ATTEMPTS": "1000",
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    with (
        running_api(url, servers.nats_url, **settings) as one,
        running_api(url, servers.nats_url, **settings) as other,
    ):
        yield Twins([one.url, other.url], accounts.sign_in(one.url)["access_token"])
    databases.drop(url)
    real.delete_streams(servers.nats_url)


async def hammered(urls: list[str], key: str, calls: int) -> list[httpx.Response]:
    """So many calls, from sixteen callers at once, to each api in turn."""
    answers: list[httpx.Response] = []
    numbers = iter(range(calls))

    async def call(client: httpx.AsyncClient) -> None:
        for number in numbers:
            answers.append(
                await client.get(f"{urls[number % len(urls)]}/api/v1/tasks", headers=accounts.bearer(key))
            )

    async with httpx.AsyncClient(timeout=60) as client:
        await asyncio.gather(*(call(client) for _ in range(16)))
    return answers


async def test_two_apis_share_the_limit_of_a_key(twins: Twins) -> None:
    answers = await hammered(twins.urls, twins.key("shared"), PER_KEY + 200)
    counts = {status: sum(answer.status_code == status for answer in answers) for status in (200, 429)}
    assert counts[200] + counts[429] == len(answers)
    assert PER_KEY * 0.95 <= counts[200] <= PER_KEY * 1.05
    for answer in answers:
        assert answer.headers["ratelimit-policy"] == f'"key";q={PER_KEY};w=3600, "user";q={PER_USER};w=3600'
        assert re.fullmatch(r'"key";r=\d+;t=\d+, "user";r=\d+;t=\d+', answer.headers["ratelimit"])
    refused = next(answer for answer in answers if answer.status_code == 429)
    told = refused.json()
    assert (told["code"], told["detail"]) == (
        "rate_limited",
        f"this API key may call {PER_KEY} times an hour",
    )
    assert 3_500 <= int(refused.headers["retry-after"]) <= 3_661
    # What this api holds for callers who wait may still count as left.
    left = re.match(r'"key";r=(\d+);', refused.headers["ratelimit"])
    assert left and int(left[1]) <= PER_KEY * 0.05


async def test_the_keys_of_a_user_share_his_limit(twins: Twins) -> None:
    first = twins.key("many-keys")
    second = accounts.make_key(twins.urls[0], first, "read")["key"]
    spent = await hammered(twins.urls, first, PER_KEY - 20)
    assert {answer.status_code for answer in spent} == {200}
    answers = await hammered(twins.urls, second, PER_KEY)
    allowed = sum(answer.status_code == 200 for answer in answers)
    assert abs(allowed - (PER_USER - (PER_KEY - 20) - 1)) <= PER_USER * 0.05
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["detail"] == f"this account may call {PER_USER} times an hour"


def test_a_batch_counts_its_items(twins: Twins) -> None:
    key = twins.key("batches")

    def batch(count: int) -> httpx.Response:
        items = [{"type": "t"}] * count
        url = f"{twins.urls[0]}/api/v1/tasks/batch"
        return httpx.post(url, json={"items": items}, headers=accounts.bearer(key), timeout=30)

    assert batch(300).status_code == 202
    refused = batch(150)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert batch(90).status_code == 202
    listed = httpx.get(f"{twins.urls[1]}/api/v1/tasks/stats", headers=accounts.bearer(key), timeout=30)
    assert listed.json()["by_status"]["queued"] == 390  # the refused one left nothing


def test_tries_to_sign_in_are_limited_by_address(twins: Twins) -> None:
    def tried(number: int, address: str) -> int:
        body = {"username": "nobody", "password": "x"}
        url = f"{twins.urls[number % 2]}/api/v1/auth/token"
        return httpx.post(url, json=body, headers={"X-Forwarded-For": address}, timeout=60).status_code

    statuses = [tried(number, f"2001:db8:1:2::{number:x}") for number in range(48)]  # one /64: one address
    assert 38 <= statuses.count(401) <= 42 and statuses.count(429) == 48 - statuses.count(401)
    assert tried(0, "2001:db8:1:3::1") == 401


def test_what_needs_no_credentials_is_not_limited(twins: Twins) -> None:
    for path in ("/livez", "/health", "/schema/openapi.json"):
        answer = httpx.get(f"{twins.urls[0]}{path}")
        assert answer.status_code == 200 and "ratelimit" not in answer.headers
