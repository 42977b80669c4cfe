"""What an admin is shown of the whole system: the doctor's checks, and the facts of what it stands on."""

from __future__ import annotations

import httpx
from tests.support.apis import running_api


def test_a_system_that_is_sound(http: httpx.Client) -> None:
    report = http.get("/api/v1/doctor").json()
    assert (report["clean"], report["gap"]) == (True, 0)
    assert "doorbells" in [check["name"] for check in report["checks"]]
    assert all(check["checked"] and check["means"] for check in report["checks"])


def test_the_facts_of_postgres_nats_and_this_api(http: httpx.Client) -> None:
    facts = http.get("/api/v1/system").json()
    assert facts["postgres"]["migration"] == facts["migration_known"] > 0
    assert facts["postgres"]["size_bytes"] > 1_000_000
    assert 0 < facts["postgres"]["connections"] <= facts["postgres"]["connections_max"]
    assert facts["postgres"]["error"] is None
    assert facts["nats"]["connected"] is True
    assert facts["nats"]["error"] is None
    assert {stream["name"].rpartition("_")[2] for stream in facts["nats"]["streams"]} >= {"DLQ", "EVENTS"}
    assert facts["settings"]["http_host"] == "127.0.0.1"
    again = http.get("/api/v1/system").json()
    assert again["as_of"] == facts["as_of"], "a reading is shared for some seconds"


def test_no_password_is_among_the_settings(database_url: str, nats_url: str) -> None:
    secret = "a-secret-key-of-more-than-32-characters"
    with (
        running_api(database_url, nats_url, SECRET_KEY=secret) as api,
        httpx.Client(base_url=api.url) as http,
    ):
        answer = http.get("/api/v1/system")
    assert secret not in answer.text
    assert answer.json()["settings"]["secret_key"] == "***"


def test_while_nats_is_away_that_is_said(database_url: str) -> None:
    with running_api(database_url, "nats://127.0.0.1:1") as api, httpx.Client(base_url=api.url) as http:
        answer = http.get("/api/v1/system")
    assert answer.status_code == 200
    nats = answer.json()["nats"]
    assert (nats["connected"], nats["streams"], nats["version"]) == (False, [], None)
    assert nats["error"]
