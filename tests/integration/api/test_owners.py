"""Accounts beside each other over HTTP: each is told of its own tasks, and may let so many wait."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from tests.support import servers as real
from tests.support.apis import running_api

WAITING_MAX = 3


@pytest.fixture(scope="module")
def url(databases: real.Databases, servers: real.Servers) -> Iterator[str]:
    """An api where accounts may let three tasks wait. No worker runs."""
    database_url = databases.create()
    with running_api(
        database_url, servers.nats_url, AUTH_MODE="disabled", SECRET_KEY="k9" * 20,
        QUEUED_TASKS_PER_USER_MAX=str(WAITING_MAX),
    ) as api:  # fmt: skip
        yield api.url
    databases.drop(database_url)
    real.delete_streams(servers.nats_url)


def account(url: str, name: str) -> httpx.Client:
    """A client with the key of a new account."""
    made = httpx.post(f"{url}/api/v1/auth/register", json={"email": f"{name}@example.org"}, timeout=30)
    assert made.status_code == 201, made.text
    return httpx.Client(base_url=f"{url}/api/v1", headers={"X-API-Key": made.json()["api_key"]}, timeout=30)


def test_an_account_has_a_quota_and_figures_of_its_own(url: str) -> None:
    with (
        account(url, "ann") as ann,
        account(url, "bob") as bob,
        httpx.Client(base_url=f"{url}/api/v1") as admin,
    ):
        task = {"type": "demo", "queue": "mail"}
        key = {"Idempotency-Key": "one"}
        assert ann.post("/tasks", json=task, headers=key).status_code == 202
        assert ann.post("/tasks/batch", json={"items": [task] * 2}).status_code == 202
        for answer in (ann.post("/tasks", json=task), ann.post("/tasks/batch", json={"items": [task] * 2})):
            assert (answer.status_code, answer.json()["code"]) == (422, "queue_limit")
            assert "3 of this account's tasks wait, 3 may at once" in answer.json()["detail"]
        assert ann.post("/tasks", json=task, headers=key).status_code == 200
        assert bob.post("/tasks", json={"type": "demo"}).status_code == 202
        assert admin.post("/tasks/batch", json={"items": [task] * 5}).status_code == 202

        told = [caller.get("/tasks/stats").json()["by_status"] for caller in (ann, bob, admin)]
        assert told == [{"accepted": n, "queued": n} for n in (3, 1, 9)]
        queues = [[queue["name"] for queue in caller.get("/queues").json()["items"]] for caller in (ann, bob)]
        assert queues == [["default", "mail"], ["default"]]
