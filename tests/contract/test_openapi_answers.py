"""What is answered of webhooks holds all that the OpenAPI document says, and nothing else."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import httpx
import jsonschema_rs
import pytest
from tests.integration.api.signing import (
    DELIVERIES,
    ENDPOINTS,
    HOOK,
    TASKS,
    Account,
    Signing,
    submit,
    trigger,
)

SAID = {
    "callback": {"url": HOOK, "headers": {"X": "y"}, "secret": "correct-horse-battery", "max_attempts": 3},
    "target": {"url": HOOK, "headers": {"X": "y"}},
}
SECRETS = "/api/v1/signing-secrets"


@pytest.fixture
def document(signing: Signing) -> dict[str, Any]:
    """The document; its shapes with all that they name, and closed: a member that they do not name is a fault."""
    found: dict[str, Any] = signing.http.get("/schema/openapi.json").json()
    for schema in found["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return found


def check(document: dict[str, Any], answer: httpx.Response, path: str) -> dict[str, Any]:
    """An answer has the shape that stands in the document for its path, method and status; its body."""
    told = document["paths"][path][answer.request.method.lower()]["responses"][str(answer.status_code)]
    schema = {
        **told["content"][answer.headers["content-type"]]["schema"],
        "components": document["components"],
        "$schema": "https://json-schema.org/draft/2020-12/schema",
    }
    body: dict[str, Any] = answer.json()
    jsonschema_rs.validate(schema, body, validate_formats=True)
    return body


def test_tasks_with_callback_and_target(document: dict[str, Any], ann: Account) -> None:
    answer = ann.http.post(TASKS, json={"type": "demo", **SAID})
    task = check(document, answer, TASKS)
    path = f"{TASKS}/{task['id']}"
    check(document, ann.http.get(path), f"{TASKS}/{{task_id}}")
    check(document, ann.http.post(f"{path}/cancel"), f"{TASKS}/{{task_id}}/cancel")
    items = check(document, ann.http.get(TASKS), TASKS)["items"]
    assert items[0]["callback"]["secret"] == "***"
    for name in ("ShownCallback", "ShownTarget"):
        shape = document["components"]["schemas"][name]
        assert set(shape["required"]) == set(shape["properties"])


def test_deliveries_and_endpoints(document: dict[str, Any], signing: Signing, ann: Account) -> None:
    task = submit(ann.http)
    below = f"{TASKS}/{{task_id}}"
    for door in ("webhook-deliveries", "trigger_webhook"):
        check(document, ann.http.post(f"{TASKS}/{task['id']}/{door}"), f"{below}/{door}")
    sent = trigger(ann.http, task)
    tried = """INSERT INTO webhook_attempts (delivery_id, number, started_at, duration_seconds, status_code, error, answer)
               VALUES ($1, $2, now(), 0.25, $3, $4, $5)"""
    signing.rows(tried, sent["id"], 1, None, "ConnectFailed: no route", None)
    signing.rows(tried, sent["id"], 2, 500, "answered 500", "no")
    signing.rows(
        "UPDATE webhook_deliveries SET status = 'failed', attempts = 2, finished_at = now() WHERE id = $1",
        sent["id"],
    )
    mine = f"{TASKS}/{task['id']}/webhook-deliveries"
    listed = check(document, ann.http.get(mine), f"{below}/webhook-deliveries")["items"]
    assert [
        attempt["number"] for one in listed for attempt in one["attempts"] if one["id"] == sent["id"]
    ] == [1, 2]
    check(document, ann.http.get(DELIVERIES, params={"limit": 1}), DELIVERIES)
    replay = ann.http.post(f"{mine}/{sent['id']}/replay")
    assert check(document, replay, f"{below}/webhook-deliveries/{{delivery_id}}/replay")["attempts"]
    known = """INSERT INTO webhook_endpoints (owner_id, url, failures, failing_since, delivered_at, next_try_at, touched_at,
                                              error) VALUES ($1, $2, $3, $4, $4, $4, now(), $5)"""
    signing.rows(known, ann.id, f"{HOOK}/1", 0, None, None)
    signing.rows(known, ann.id, f"{HOOK}/2", 100, signing.rows("SELECT now()")[0][0], "answered 500")
    assert len(check(document, ann.http.get(ENDPOINTS), ENDPOINTS)["items"]) == 2


def test_signing_secrets(document: dict[str, Any], ann: Account) -> None:
    made = check(document, ann.http.post(SECRETS), SECRETS)
    assert made["secret"].startswith("whsec_")
    items = check(document, ann.http.get(SECRETS), SECRETS)["items"]
    assert [item["status"] for item in items] == ["live", "ending"]
    ended = ann.http.delete(f"{SECRETS}/{items[1]['id']}")
    assert (ended.status_code, ended.content) == (204, b"")
    assert "content" not in document["paths"][f"{SECRETS}/{{secret_id}}"]["delete"]["responses"]["204"]


def test_refusals(document: dict[str, Any], ann: Account) -> None:
    refused = ann.http.post(
        TASKS, json={"callback": {"url": "http://10.0.0.1"}, "target": {"url": "http://10.0.0.1"}}
    )
    assert check(document, refused, TASKS)["code"] == "target_refused"
    task = submit(ann.http, callback=None)
    nowhere = ann.http.post(f"{TASKS}/{task['id']}/trigger_webhook")
    assert check(document, nowhere, f"{TASKS}/{{task_id}}/trigger_webhook")["code"] == "invalid"


def test_the_check_can_fail(document: dict[str, Any], ann: Account) -> None:
    answer = ann.http.post(TASKS, json={"type": "demo", **SAID})
    for name, member in (("ShownCallback", "secret"), ("ShownTarget", "method")):
        other = deepcopy(document)
        del other["components"]["schemas"][name]["properties"][member]
        with pytest.raises(jsonschema_rs.ValidationError):
            check(other, answer, TASKS)
