"""Tasks that are submitted with a callback or a target: taken, shown without secrets, refused with the place."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.integration.api.signing import HOOK, TASKS, Signing, signing_api, submit
from tests.integration.api.test_bad_input import JSON, check_problem
from tests.support import servers as real

from taskflow.engine.endpoints import NO_KEY

HEADERS = {"X-Tenant": "tenant-7", "Authorization": "Bearer abc"}
CALLBACK = {"url": HOOK, "events": ["task.started", "task.failed"], "headers": HEADERS,
            "secret": "correct-horse-battery", "max_attempts": 7}  # fmt: skip
SHOWN = {**CALLBACK, "events": ["task.failed", "task.started"], "headers": dict.fromkeys(HEADERS, "***"),
         "secret": "***"}  # fmt: skip
TARGET = {"url": "https://example.org/run?a=b", "method": "PUT", "headers": HEADERS}
SHOWN_TARGET = {**TARGET, "headers": dict.fromkeys(HEADERS, "***")}


@pytest.fixture
def client(signing: Signing) -> httpx.Client:
    """Who calls as the built-in admin."""
    return signing.http


def test_what_was_said_reads_back_without_its_secrets(client: httpx.Client) -> None:
    said = {"callback": CALLBACK, "target": TARGET}
    shown = {"callback": SHOWN, "target": SHOWN_TARGET}
    task = submit(client, name="reads back", **said)
    path = f"{TASKS}/{task['id']}"
    page = client.get(TASKS, params={"include": "payload,result"}).json()
    [listed] = [item for item in page["items"] if item["id"] == task["id"]]
    waited = client.post(TASKS, params={"wait": 0.1}, json={"type": "demo", **said}).json()
    told = [task, client.get(path).json(), listed, waited, client.post(f"{path}/cancel").json(),
            client.post(f"{path}/retry").json()]  # fmt: skip
    assert [{name: one[name] for name in shown} for one in told] == [shown] * 6


def test_what_was_not_said_has_defaults(client: httpx.Client) -> None:
    task = submit(client, target={"url": HOOK, "method": None, "headers": {}})
    assert task["callback"] == {
        "url": HOOK, "events": ["task.cancelled", "task.expired", "task.failed", "task.succeeded"], "headers": {},
        "secret": None, "max_attempts": None,
    }  # fmt: skip
    assert task["target"] == {"url": HOOK, "method": "POST", "headers": {}}


def test_a_type_need_not_be_said_beside_a_target(client: httpx.Client) -> None:
    for kind, named in ((None, "http.push"), ("http.push", "http.push"), ("my.own", "my.own")):
        assert submit(client, type=kind, target={"url": HOOK})["type"] == named
    for members in ({"type": "http.push"}, {"type": "http.push", "target": None}):
        answer = client.post(TASKS, json=members)
        check_problem(answer, 422, "invalid")
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/target"]


def test_the_flat_names_of_an_older_system(client: httpx.Client) -> None:
    flat = {f"callback_{name}": value for name, value in CALLBACK.items()}
    assert submit(client, callback=None, **flat)["callback"] == SHOWN
    assert submit(client, callback=None, callback_url=HOOK, callback_events=["task.revoked"])["callback"][
        "events"
    ] == ["task.cancelled"]
    beside = client.post(TASKS, json={"type": "demo", "callback": CALLBACK, "callback_url": HOOK})
    check_problem(beside, 422, "invalid")
    assert [error["pointer"] for error in beside.json()["errors"]] == ["/callback_url"]


REFUSED = [
    # members, code, pointers
    pytest.param({"callback": {"url": "http://127.0.0.1/x"}}, "target_refused", ["/callback/url"], id="loopback"),
    pytest.param({"callback": {"url": "http://[::1]/x"}}, "target_refused", ["/callback/url"], id="loopback of IPv6"),
    pytest.param({"callback": {"url": "http://localhost:8080"}}, "target_refused", ["/callback/url"], id="localhost"),
    pytest.param({"callback": {"url": "https://10.1.2.3/x"}}, "target_refused", ["/callback/url"], id="private"),
    pytest.param({"callback": {"url": "http://2130706433/"}}, "target_refused", ["/callback/url"], id="decimal"),
    pytest.param({"target": {"url": "http://0x7f.1/"}}, "target_refused", ["/target/url"], id="hexadecimal"),
    pytest.param({"target": {"url": "http://169.254.169.254/latest"}}, "target_refused", ["/target/url"], id="metadata"),
    pytest.param({"target": {"url": "ftp://example.org/"}}, "target_refused", ["/target/url"], id="scheme"),
    pytest.param({"target": {"url": "https://example.org:22/"}}, "target_refused", ["/target/url"], id="port"),
    pytest.param({"callback_url": "http://10.0.0.1"}, "target_refused", ["/callback_url"], id="a flat name"),
    pytest.param(
        {"callback": {"url": "http://10.0.0.1"}, "target": {"url": "http://10.0.0.1"}},
        "target_refused", ["/callback/url", "/target/url"], id="both",
    ),
    pytest.param({"callback": {"url": "example.org"}}, "invalid", ["/callback/url"], id="no URL"),
    pytest.param({"target": {"url": "https://u:p@example.org"}}, "invalid", ["/target/url"], id="a password"),
    pytest.param({"target": {"url": "https://a\u0000b/"}}, "invalid", ["/target/url"], id="NUL in a URL"),
    pytest.param(
        {"callback": {"url": HOOK, "headers": {"Host": "x"}}}, "invalid", ["/callback/headers"], id="Host",
    ),
    pytest.param(
        {"target": {"url": HOOK, "headers": {"content-length": "1"}}}, "invalid", ["/target/headers"], id="framing",
    ),
    pytest.param(
        {"callback": {"url": HOOK, "headers": {"X": "\u20ac"}}}, "invalid", ["/callback/headers"], id="not Latin-1",
    ),
    pytest.param(
        {"callback": {"url": HOOK, "headers": {"X": "a\r\nb"}}}, "invalid", ["/callback/headers"], id="a line feed",
    ),
    pytest.param(
        {"target": {"url": HOOK, "headers": {"X": "a\u0000"}}}, "invalid", ["/target/headers"], id="NUL in a value",
    ),
    pytest.param(
        {"target": {"url": HOOK, "headers": {f"X-{at}": "v" for at in range(65)}}},
        "invalid", ["/target/headers"], id="65 headers",
    ),
    pytest.param(
        {"callback": {"url": HOOK, "secret": "whsec_too-short-for-one"}}, "invalid", ["/callback/secret"], id="secret",
    ),
    pytest.param(
        {"callback_url": HOOK, "callback_secret": "has a space in it"}, "invalid", ["/callback_secret"], id="flat secret",
    ),
    pytest.param({"callback": {"url": HOOK, "max_tries": 1}}, "unknown_field", ["/callback/max_tries"], id="max_tries"),
    pytest.param({"target": {"uri": HOOK, "url": HOOK}}, "unknown_field", ["/target/uri"], id="uri"),
    pytest.param(
        {"callback": {"url": "http://10.0.0.1", "secret": "has a space in it"}, "target": {"url": "nowhere"}},
        "invalid", ["/callback/url", "/callback/secret", "/target/url"], id="all at once",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("members", "code", "pointers"), REFUSED)
def test_what_is_refused(
    client: httpx.Client, members: dict[str, Any], code: str, pointers: list[str]
) -> None:
    answer = client.post(TASKS, json={"type": "demo", "tags": ["refused"], **members})
    check_problem(answer, 422, code)
    assert [error["pointer"] for error in answer.json()["errors"]] == pointers
    right: dict[str, Any] = {"type": "demo", "tags": ["refused"], "callback": {"url": HOOK}}
    items = [right] * 7 + [{"type": "demo", "tags": ["refused"], **members}, right]
    batch = client.post(f"{TASKS}/batch", json={"items": items})
    check_problem(batch, 422, code)
    assert [error["pointer"] for error in batch.json()["errors"]] == [
        f"/items/7{pointer}" for pointer in pointers
    ]
    assert client.get(TASKS, params={"tag": "refused"}).json()["items"] == []
    assert "has a space in it" not in answer.text + batch.text


def test_a_batch_tells_of_100_refused_urls_at_most(client: httpx.Client) -> None:
    items = [{"type": "demo", "callback": {"url": "http://10.0.0.1"}}] * 300
    answer = client.post(f"{TASKS}/batch", json={"items": items})
    check_problem(answer, 422, "target_refused")
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert pointers == [f"/items/{at}/callback/url" for at in range(100)]


def test_a_batch_may_bear_callbacks_and_targets(client: httpx.Client) -> None:
    items = [
        {"type": "demo", "callback": CALLBACK}, {"target": TARGET}, {"type": "demo"},
        {"type": "demo", "callback_url": HOOK, "callback_max_attempts": 3, "idempotency_key": "flat"},
    ]  # fmt: skip
    answer = client.post(f"{TASKS}/batch", json={"items": items})
    assert answer.status_code == 202, answer.text
    tasks = [client.get(f"{TASKS}/{item['id']}").json() for item in answer.json()["items"]]
    assert [task["type"] for task in tasks] == ["demo", "http.push", "demo", "demo"]
    assert [task["target"] for task in tasks] == [None, SHOWN_TARGET, None, None]
    assert [task["callback"] and task["callback"]["max_attempts"] for task in tasks] == [7, None, None, 3]


@pytest.mark.parametrize("text", ['"\\ud800"', '"a\xff"'])
def test_texts_that_are_none(client: httpx.Client, text: str) -> None:
    for place in (
        '"url":%s',
        '"url":"https://example.org","headers":{"X":%s}',
        '"url":"https://example.org","secret":%s',
    ):
        body = f'{{"type":"demo","callback":{{{place % text}}}}}'.encode("latin-1")
        check_problem(client.post(TASKS, content=body, headers=JSON), 400, "malformed_json")


def test_a_repeated_request_is_the_same_task(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "with a callback".replace(" ", "-")}
    body = {"type": "demo", "callback": CALLBACK, "target": TARGET}
    first = client.post(TASKS, json=body, headers=headers)
    again = client.post(TASKS, json=body, headers=headers)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    assert (again.json()["callback"], again.json()["target"]) == (SHOWN, SHOWN_TARGET)
    other = {**body, "callback": {**CALLBACK, "secret": "correct-horse-batterY"}}
    check_problem(client.post(TASKS, json=other, headers=headers), 422, "idempotency_key_reused")
    headers = {"Idempotency-Key": "refused-url"}
    check_problem(
        client.post(TASKS, json={**body, "target": {"url": "http://10.0.0.1"}}, headers=headers),
        422,
        "target_refused",
    )
    assert client.post(TASKS, json=body, headers=headers).status_code == 202


def test_any_value_is_taken_or_refused(client: httpx.Client) -> None:
    odd = [None, True, 0, 1.5, "", "x", [], {}, [None], {"a": None}, 10**30, "\u0000", {"": ""}, {"url": {}}]
    names = ["url", "events", "headers", "secret", "max_attempts", "method", ""]
    items: list[dict[str, Any]] = [{kind: {"url": HOOK, name: value}} for kind in ("callback", "target")
                                   for name in names for value in odd]  # fmt: skip
    items += [{f"callback_{name}": value} for name in names for value in odd]
    for item in items:
        answer = client.post(TASKS, content=json.dumps({"type": "echo", **item}), headers=JSON)
        assert answer.status_code in {202, 422}, (item, answer.text)


def test_types_are_strict_but_with_a_target(databases: real.Databases, servers: real.Servers) -> None:
    with signing_api(databases, servers, STRICT_TYPES="true", EGRESS_ALLOW="loopback,10.0.0.0/8") as strict:
        answer = strict.http.post(TASKS, json={"type": "nobodys"})
        check_problem(answer, 422, "unknown_type")
        urls = (
            "https://example.org",
            "http://127.0.0.1:8080/run",
            "http://localhost:3000",
            "http://10.1.2.3",
        )
        for url in urls:
            for kind in (None, "nobodys"):
                assert submit(strict.http, type=kind, target={"url": url})["target"]["url"] == url
        items = [{"target": {"url": url}} for url in urls]
        batch = strict.http.post(f"{TASKS}/batch", json={"items": items})
        assert batch.status_code == 202, batch.text
        refused = strict.http.post(f"{TASKS}/batch", json={"items": [*items, {"type": "nobodys"}]})
        check_problem(refused, 422, "unknown_type")
        check_problem(
            strict.http.post(TASKS, json={"target": {"url": "http://192.168.0.1"}}), 422, "target_refused"
        )


def test_without_a_key_neither_is_offered(http: httpx.Client) -> None:
    """The api of the other tests has none: there is nothing to sign with."""
    for members, pointers in (
        ({"callback": {"url": HOOK}}, ["/callback"]),
        ({"target": {"url": HOOK}}, ["/target"]),
        ({"callback_url": HOOK}, ["/callback_url"]),
        ({"callback": {"url": HOOK}, "target": {"url": HOOK}}, ["/callback", "/target"]),
    ):
        answer = http.post(TASKS, json={"type": "demo", **members})
        check_problem(answer, 422, "invalid")
        assert [(error["pointer"], error["detail"]) for error in answer.json()["errors"]] == [
            (pointer, NO_KEY) for pointer in pointers
        ]
        batch = http.post(f"{TASKS}/batch", json={"items": [{"type": "demo"}, {"type": "demo", **members}]})
        check_problem(batch, 422, "invalid")
        assert [error["pointer"] for error in batch.json()["errors"]] == [
            f"/items/1{one}" for one in pointers
        ]
