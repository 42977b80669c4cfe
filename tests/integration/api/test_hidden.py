"""What callers send along is shown to nobody: not in answers, not in logs, and nowhere in PostgreSQL as it was said."""

from __future__ import annotations

import base64
from typing import Any

import httpx
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
from tests.support.waiting import wait_until_sync

MARKS = {
    name: f"{name}-hidden-0123456789" for name in ("header", "secret", "target", "flat", "batch", "refused")
}
WHSEC = "whsec_" + base64.b64encode(b"of-a-callback-hidden-0123456789x").decode()
TABLES = """SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND c.relnamespace = 'public'::regnamespace"""


def hidden(account: Account, made: str) -> list[str]:
    """All that must not be found, also as base64 and hexadecimal, in which PostgreSQL shows bytes."""
    texts = [*MARKS.values(), WHSEC, account.secret, made]
    raw = [text.encode() for text in texts] + [
        base64.b64decode(one.removeprefix("whsec_")) for one in (WHSEC, made)
    ]
    return [*texts, *(base64.b64encode(one).decode().rstrip("=") for one in raw), *(one.hex() for one in raw)]


def found(text: str, secrets: list[str]) -> list[str]:
    return [secret for secret in secrets if secret in text]


def said(**more: Any) -> dict[str, Any]:
    """A callback and a target with secrets in them."""
    callback = {"url": HOOK, "headers": {"Authorization": MARKS["header"]}, "secret": MARKS["secret"], **more}
    return {"callback": callback, "target": {"url": HOOK, "headers": {"X-Key": MARKS["target"]}}}


@pytest.fixture(scope="module")
def used(signing: Signing, ann: Account) -> tuple[list[str], list[httpx.Response]]:
    """Everything that bears secrets was called; what must not be found, and all that was answered since."""
    made = ann.http.post("/api/v1/signing-secrets").json()["secret"]
    ann.http.post("/api/v1/signing-secrets", json={"overlap_seconds": 0})
    key = {"Idempotency-Key": "hidden"}
    answers = [ann.http.post(TASKS, json={"type": "demo", **said()}, headers=key) for _ in range(2)]
    task = answers[0].json()
    flat = {"callback_url": HOOK, "callback_secret": WHSEC, "callback_headers": {"X": MARKS["flat"]}}
    items = [{"type": "demo", **said(secret=MARKS["batch"])}, {"type": "demo", **flat}]
    answers.append(ann.http.post(f"{TASKS}/batch", json={"items": items}))
    assert [answer.status_code for answer in answers] == [202, 200, 202]
    wrong = f"{MARKS['refused']} \u20ac"
    for body in (
        {"type": "demo", **said(secret=wrong)}, {"type": "demo", **said(headers={"X": wrong})},
        {"type": "demo", **said(events=[wrong])}, {"type": "demo", **said(max_tries=wrong)},
        {"type": "demo", "callback_url": HOOK, "callback_secret": wrong}, {"type": "demo", "callback": wrong},
    ):  # fmt: skip
        answers.append(ann.http.post(TASKS, json=body))
        assert answers[-1].status_code == 422
    path = f"{TASKS}/{task['id']}"
    sent = trigger(ann.http, task)
    answers += [ann.http.post(f"{path}/{name}") for name in ("trigger_webhook", "cancel", "retry", "cancel")]
    answers.append(ann.http.post(f"{path}/webhook-deliveries/{sent['id']}/replay"))
    answers.append(ann.http.post("/api/v1/tasks/cancel", json={"all": True, "dry_run": True}))
    lists = (TASKS, f"{TASKS}?include=payload,result", DELIVERIES, ENDPOINTS, "/api/v1/signing-secrets",
             "/api/v1/dead-letters", "/api/v1/audit?limit=200", "/api/v1/operations")  # fmt: skip
    parts = ("", "/events", "/executions", "/logs", "/explain", "/webhook-deliveries")
    for http in (ann.http, signing.http):
        answers += [http.get(one) for one in (*lists, *(f"{path}{part}" for part in parts))]
    return hidden(ann, made), answers


def test_no_answer_shows_them(used: tuple[list[str], list[httpx.Response]]) -> None:
    secrets, answers = used
    assert [found(answer.text, secrets) for answer in answers if found(answer.text, secrets)] == []
    assert sum('"***"' in answer.text for answer in answers) > 10


def test_no_log_shows_them(signing: Signing, used: tuple[list[str], list[httpx.Response]]) -> None:
    last = submit(signing.http)["id"]
    wait_until_sync(lambda: last in signing.api.log.read_text(), "the log tells of a submit")
    log = signing.api.log.read_text()
    assert "debug" in log
    assert found(log, used[0]) == []


def test_postgresql_does_not_hold_them(
    signing: Signing, used: tuple[list[str], list[httpx.Response]]
) -> None:
    """Every row of every table as text: partitions, the history and what deliveries bear among them."""
    names = [row[0] for row in signing.rows(TABLES)]
    assert {"tasks", "webhook_deliveries", "signing_secrets", "audit_events", "idempotency_keys"} <= set(
        names
    )
    dump = {
        name: "\n".join(row[0] for row in signing.rows(f"SELECT t::text FROM {name} t")) for name in names
    }
    assert HOOK in dump["tasks"] and HOOK in dump["webhook_deliveries"] and "sealed" in dump["tasks"]
    assert {name: found(text, used[0]) for name, text in dump.items() if found(text, used[0])} == {}
