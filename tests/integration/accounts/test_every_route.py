"""Every route, with every kind of wrong credentials: each answer exactly as it has to be.

A new route without a line in the table below fails here.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import httpx
import pytest
from tests.integration.accounts.conftest import Realm, dead_letter_of, endpoint_of
from tests.support import accounts

from taskflow.domain.account import SCOPES
from taskflow.engine.tokens import Tokens
from taskflow.kit.ids import new_id
from taskflow_api.operation import Operation
from taskflow_api.routes import OPERATIONS

OPEN, SHARED, SELF, LIST, OWN, ADMIN = "open", "shared", "self", "list", "own", "admin"
"""Needs no credentials; the same for all; of who calls; a list of what the caller has; a thing of somebody; for admins."""

TABLE: dict[str, tuple[str, str | None]] = {
    # operation            kind    scope
    "submitTask": (SELF, "submit"),
    "submitBatch": (SELF, "submit"),
    "listTasks": (LIST, "read"),
    "readStats": (LIST, "read"),
    "readTask": (OWN, "read"),
    "listExecutions": (OWN, "read"),
    "listLogs": (OWN, "read"),
    "readEvents": (OWN, "read"),
    "makeStreamTicket": (SELF, "read"),
    "explainTask": (OWN, "read"),
    "followEvents": (SELF, "read"),
    "cancelTask": (OWN, "operate"),
    "retryTask": (OWN, "operate"),
    "listDeadLetters": (LIST, "read"),
    "listDeadLetterGroups": (LIST, "read"),
    "exportDeadLetters": (LIST, "read"),
    "readDeadLetter": (OWN, "read"),
    "replayDeadLetter": (OWN, "operate"),
    "reprocessDeadLetter": (OWN, "operate"),
    "discardDeadLetter": (OWN, "operate"),
    "replayDeadLetters": (LIST, "operate"),
    "discardDeadLetters": (LIST, "operate"),
    "cancelTasks": (LIST, "operate"),
    "retryTasks": (LIST, "operate"),
    "listOperations": (LIST, "read"),
    "readOperation": (OWN, "read"),
    "pauseOperation": (OWN, "operate"),
    "resumeOperation": (OWN, "operate"),
    "stopOperation": (OWN, "operate"),
    "listAudit": (ADMIN, "admin"),
    "listQueues": (LIST, "read"),
    "pauseQueue": (ADMIN, "admin"),
    "resumeQueue": (ADMIN, "admin"),
    "listWorkers": (ADMIN, "admin"),
    "readDoctor": (ADMIN, "admin"),
    "readSystem": (ADMIN, "admin"),
    "drainWorker": (ADMIN, "admin"),
    "listTypes": (SHARED, "read"),
    "readSeries": (ADMIN, "admin"),
    "pauseType": (ADMIN, "admin"),
    "resumeType": (ADMIN, "admin"),
    "listTaskWebhookDeliveries": (OWN, "read"),
    "sendWebhook": (OWN, "operate"),
    "triggerWebhook": (OWN, "operate"),
    "replayWebhookDelivery": (OWN, "operate"),
    "listWebhookDeliveries": (LIST, "read"),
    "listWebhookEndpoints": (LIST, "read"),
    "listSigningSecrets": (LIST, "read"),
    "makeSigningSecret": (SELF, "operate"),
    "endSigningSecret": (OWN, "operate"),
    "register": (OPEN, None),
    "signIn": (OPEN, None),
    "refreshToken": (OPEN, None),
    "verifyToken": (OPEN, None),
    "signOut": (OPEN, None),
    "readProfile": (SELF, "read"),
    "changeProfile": (SELF, "operate"),
    "deleteProfile": (SELF, "operate"),
    "changePassword": (SELF, "operate"),
    "listApiKeys": (LIST, "read"),
    "makeApiKey": (SELF, "operate"),
    "readApiKey": (OWN, "read"),
    "rotateApiKey": (OWN, "operate"),
    "revokeApiKey": (OWN, "operate"),
    "listUsers": (ADMIN, "admin"),
    "makeUser": (ADMIN, "admin"),
    "readUser": (ADMIN, "admin"),
    "changeUser": (ADMIN, "admin"),
    "deleteUser": (ADMIN, "admin"),
    "restoreUser": (ADMIN, "admin"),
    "readLiveness": (OPEN, None),
    "readReadiness": (OPEN, None),
    "readHealth": (OPEN, None),
    "readHealthV1": (OPEN, None),
    "readMetrics": (SHARED, "read"),
}
CLOSED = [one for one in OPERATIONS if TABLE.get(one.id, (ADMIN, ""))[1] is not None]
MISSING = (
    "credentials are missing; expected Authorization: Bearer and an access token or API key, or X-API-Key"
)


class Things(NamedTuple):
    """What bob has, by the name of the path parameter."""

    ids: dict[str, str]
    marks: tuple[str, ...]
    """Texts that nobody else may ever read."""


@pytest.fixture(scope="module")
def things(realm: Realm) -> Things:
    """One of each kind, bob's."""
    bobs = realm.bob.key
    queue, type_ = "bobs-queue", "bobs.type"
    said = {"type": type_, "queue": queue, "callback": {"url": "https://example.org/hook"}}
    task = realm.call("POST", "/api/v1/tasks", bobs, json=said).json()
    delivery = realm.call("POST", f"/api/v1/tasks/{task['id']}/trigger_webhook", bobs).json()
    asyncio.run(endpoint_of(realm.database_url, realm.bob.id))
    realm.call("POST", "/api/v1/signing-secrets", bobs)
    replaced = realm.call("GET", "/api/v1/signing-secrets", bobs).json()["items"][1]
    letter_id = asyncio.run(dead_letter_of(realm.database_url, realm.bob.id))
    operation = realm.call(
        "POST", "/api/v1/dead-letters/discard", bobs, json={"filter": {"type": ["none"]}}
    ).json()
    key = accounts.make_key(realm.url, bobs, "read")
    ids = {
        "task_id": task["id"],
        "dead_letter_id": letter_id,
        "operation_id": operation["id"],
        "key_id": key["id"],
        "delivery_id": delivery["id"],
        "secret_id": replaced["id"],
        "user_id": realm.bob.id,
        "worker_id": new_id(),
        "queue": queue,
        "type": type_,
    }
    marks = (queue, type_, task["id"], letter_id, operation["id"], key["id"], replaced["id"], realm.bob.id)
    return Things(ids, marks)


@pytest.fixture(scope="module")
def one_scope_each(realm: Realm) -> dict[str, str]:
    """Ann's keys, each with one scope; and `admin`: all that a user may do."""
    keys = {
        scope: accounts.make_key(realm.url, realm.ann.key, scope)["key"]
        for scope in SCOPES
        if scope != "admin"
    }
    return {**keys, "all": realm.ann.key}


@pytest.fixture(scope="module")
def revoked(realm: Realm) -> str:
    """A key of ann's that was revoked."""
    made = accounts.make_key(realm.url, realm.ann.key, "read", "submit", "operate", "work")
    assert realm.call("GET", "/api/v1/tasks", made["key"]).status_code == 200
    assert realm.call("DELETE", f"/api/v1/api-keys/{made['id']}", realm.ann.key).status_code == 204
    return str(made["key"])


@pytest.fixture(scope="module")
def expired(realm: Realm) -> str:
    """An access token of ann's whose time is over."""
    return Tokens(accounts.SECRET_KEY, None, seconds=-60).issue(realm.ann.id, new_id())


def test_every_route_stands_in_the_table() -> None:
    assert {one.id: one.scope for one in OPERATIONS} == {name: scope for name, (_, scope) in TABLE.items()}


@pytest.mark.parametrize("operation", CLOSED, ids=lambda one: one.id)
def test_without_credentials(realm: Realm, things: Things, operation: Operation) -> None:
    answer = called(realm, things, operation, None)
    refused(answer, 401, "unauthenticated", MISSING)
    assert answer.headers["www-authenticate"] == 'Bearer realm="taskflow"'


@pytest.mark.parametrize("operation", CLOSED, ids=lambda one: one.id)
def test_with_a_wrong_scope(
    realm: Realm, things: Things, one_scope_each: dict[str, str], operation: Operation
) -> None:
    wrong = [key for scope, key in one_scope_each.items() if scope not in {operation.scope, "all"}]
    wrong += [one_scope_each["all"]] if operation.scope == "admin" else []
    assert len(wrong) >= 3
    for key in wrong:
        detail = f"needs the scope {operation.scope}, which these credentials do not have"
        refused(called(realm, things, operation, key), 403, "forbidden", detail)


@pytest.mark.parametrize("operation", CLOSED, ids=lambda one: one.id)
def test_with_credentials_that_have_ended(
    realm: Realm, things: Things, revoked: str, expired: str, operation: Operation
) -> None:
    unknown = "the API key is unknown, expired or revoked"
    refused(called(realm, things, operation, revoked), 401, "unauthenticated", unknown)
    refused(called(realm, things, operation, expired), 401, "unauthenticated", "the access token has expired")
    ended = Tokens(accounts.SECRET_KEY, None, seconds=60).issue(realm.ann.id, new_id())
    detail = "the session of this access token has ended"
    refused(called(realm, things, operation, ended), 401, "unauthenticated", detail)
    forged = Tokens(accounts.SECRET_KEY + "x", None, seconds=60).issue(realm.ann.id, new_id())
    refused(called(realm, things, operation, forged), 401, "unauthenticated", "the access token is not valid")


@pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS if TABLE[one.id][0] == OWN], ids=lambda one: one.id
)
def test_what_belongs_to_another_is_not_there(realm: Realm, things: Things, operation: Operation) -> None:
    """Word for word the answer to what has never been."""
    for name in operation.path_parameters:
        known, unknown = things.ids[name], new_id()
        theirs = called(realm, things, operation, realm.ann.key)
        nobodys = called(realm, Things(things.ids | {name: unknown}, ()), operation, realm.ann.key)
        assert theirs.status_code == nobodys.status_code == 404
        told, expected = theirs.json(), nobodys.json()
        del told["request_id"], expected["request_id"]
        assert told == {key: _named(value, unknown, known) for key, value in expected.items()}
        assert told["code"] == "not_found"


@pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS if TABLE[one.id][0] == LIST], ids=lambda one: one.id
)
def test_lists_show_what_is_ones_own(realm: Realm, things: Things, operation: Operation) -> None:
    body = {"all": True, "dry_run": True} if operation.method == "POST" else None
    mine = called(realm, things, operation, realm.bob.key, body)
    theirs = called(realm, things, operation, realm.ann.key, body)
    assert mine.status_code == theirs.status_code == 200
    assert any(mark in mine.text for mark in things.marks) or operation.id == "listDeadLetterGroups"
    assert not any(mark in theirs.text for mark in things.marks), theirs.text
    if operation.id == "listDeadLetterGroups":
        assert mine.json()["items"] and not theirs.json()["items"]


def test_nothing_has_happened_to_it(realm: Realm, things: Things) -> None:
    """After all the tests above: what bob has is as it was, and an admin sees it."""
    for token in (realm.bob.key, realm.admin):
        assert realm.call("GET", f"/api/v1/tasks/{things.ids['task_id']}", token).json()["status"] == "queued"
        letter = realm.call("GET", f"/api/v1/dead-letters/{things.ids['dead_letter_id']}", token).json()
        assert (letter["status"], letter["life"]) == ("pending", 1)
        key = realm.call("GET", f"/api/v1/api-keys/{things.ids['key_id']}", token).json()
        assert (key["status"], key["replaced_by"]) == ("live", None)
        [delivery] = realm.call(
            "GET", f"/api/v1/tasks/{things.ids['task_id']}/webhook-deliveries", token
        ).json()["items"]
        assert (delivery["id"], delivery["status"]) == (things.ids["delivery_id"], "pending")
    secrets = realm.call("GET", "/api/v1/signing-secrets", realm.bob.key).json()["items"]
    assert [secret["status"] for secret in secrets] == ["live", "ending"]


def called(
    realm: Realm, things: Things, operation: Operation, token: str | None, body: Any = None
) -> httpx.Response:
    """A call that would be right with the right credentials."""
    path = operation.path.format(**{name: things.ids[name] for name in operation.path_parameters})
    if body is None and operation.body is not None:
        body = operation.body.example
    return realm.call(operation.method, path, token, **({"json": body} if body is not None else {}))


def refused(answer: httpx.Response, status: int, code: str, detail: str) -> None:
    """It is refused, with exactly these words, and says nothing else."""
    told = answer.json()
    assert (answer.status_code, told["code"], told["detail"]) == (status, code, detail), answer.text
    assert set(told) == {"type", "title", "status", "detail", "code", "request_id"}
    assert answer.headers["content-type"] == "application/problem+json"


def _named(value: Any, other: str, name: str) -> Any:
    return value.replace(other, name) if isinstance(value, str) else value
