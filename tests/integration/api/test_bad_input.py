"""Bad input gets its 4xx as a problem, with the place of the fault; never a 5xx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

JSON = {"content-type": "application/json"}
FAR = (datetime.now(UTC) + timedelta(days=366)).isoformat()
PAST = "2020-01-01T00:00:00Z"


def body(**members: Any) -> bytes:
    """A submit of type `echo` with these members beside."""
    return json.dumps({"type": "echo", **members}).encode()


SUBMITS = [
    # body, status, code, pointers
    pytest.param(b"", 400, "malformed_json", [], id="empty"),
    pytest.param(b"   ", 400, "malformed_json", [], id="blank"),
    pytest.param(b"{", 400, "malformed_json", [], id="cut off"),
    pytest.param(b'{"type":"echo"} x', 400, "malformed_json", [], id="trailing junk"),
    pytest.param(b'{"type":"echo","payload":"\xff"}', 400, "malformed_json", [], id="bad UTF-8 in payload"),
    pytest.param(b'{"type":"\xff"}', 400, "malformed_json", [], id="bad UTF-8"),
    pytest.param(b'{"type":"echo","payload":NaN}', 400, "malformed_json", [], id="NaN"),
    pytest.param(b'{"type":1,"payload":[Infinity]}', 400, "malformed_json", [], id="Infinity after a fault"),
    pytest.param(b'{"type":"echo","payload":"\\ud800"}', 400, "malformed_json", [], id="lone surrogate"),
    pytest.param(b'{"type":"echo","name":"\\udc00\\ud800"}', 400, "malformed_json", [], id="swapped surrogates"),
    pytest.param(b'{"type":"echo","payload":01}', 400, "malformed_json", [], id="leading zero in payload"),
    pytest.param(b"[" * 100_000 + b"]" * 100_000, 400, "malformed_json", [], id="100,000 brackets"),
    pytest.param(
        b'{"type":"echo","payload":' + b"[" * 128 + b"]" * 128 + b"}", 400, "malformed_json", [], id="129 levels"
    ),
    pytest.param(b"[]", 422, "invalid", [""], id="a list"),
    pytest.param(b"null", 422, "invalid", [""], id="null"),
    pytest.param(b'"echo"', 422, "invalid", [""], id="text"),
    pytest.param(b"{}", 422, "invalid", ["/type"], id="nothing"),
    pytest.param(body(type=""), 422, "invalid", ["/type"], id="empty type"),
    pytest.param(body(type="a b"), 422, "invalid", ["/type"], id="type with a space"),
    pytest.param(body(type="echo\n"), 422, "invalid", ["/type"], id="type with a line feed"),
    pytest.param(body(type="x" * 129), 422, "invalid", ["/type"], id="long type"),
    pytest.param(body(type=7), 422, "invalid", ["/type"], id="type is a number"),
    pytest.param(body(priority=101), 422, "invalid", ["/priority"], id="priority 101"),
    pytest.param(body(priority=-1), 422, "invalid", ["/priority"], id="priority -1"),
    pytest.param(body(priority=True), 422, "invalid", ["/priority"], id="priority true"),
    pytest.param(body(priority=10**23), 422, "invalid", ["/priority"], id="priority 10^23"),
    pytest.param(b'{"type":"echo","priority":1e400}', 422, "invalid", ["/priority"], id="priority 1e400"),
    pytest.param(body(priority="urgent"), 422, "invalid", ["/priority"], id="priority urgent"),
    pytest.param(body(queue="UP"), 422, "invalid", ["/queue"], id="queue in capitals"),
    pytest.param(body(queue="a\u0000"), 422, "invalid", ["/queue"], id="NUL in queue"),
    pytest.param(body(name="a\u0000b"), 422, "invalid", ["/name"], id="NUL in name"),
    pytest.param(body(name="x" * 201), 422, "invalid", ["/name"], id="long name"),
    pytest.param(body(tags=["ok", "a\u0000"]), 422, "invalid", ["/tags/1"], id="NUL in a tag"),
    pytest.param(body(tags=["x"] * 21), 422, "invalid", ["/tags"], id="21 tags"),
    pytest.param(body(tags="x"), 422, "invalid", ["/tags"], id="tags is text"),
    pytest.param(body(tags=[1, "a", None]), 422, "invalid", ["/tags/0", "/tags/2"], id="tags of other kinds"),
    pytest.param(body(metadata=[]), 422, "invalid", ["/metadata"], id="metadata is a list"),
    pytest.param(body(metadata={"a": "x" * 17_000}), 422, "invalid", ["/metadata"], id="big metadata"),
    pytest.param(body(run_at="2026-01-01T00:00:00"), 422, "invalid", ["/run_at"], id="run_at without offset"),
    pytest.param(body(run_at=1767225600), 422, "invalid", ["/run_at"], id="run_at is a number"),
    pytest.param(body(run_at=FAR), 422, "invalid", ["/run_at"], id="run_at in 366 days"),
    pytest.param(body(run_at="0001-01-01T00:00:00+14:00"), 422, "invalid", ["/run_at"], id="run_at in year 1"),
    pytest.param(body(run_at=PAST, delay_seconds=1), 422, "invalid", ["/delay_seconds"], id="run_at and delay"),
    pytest.param(body(delay_seconds=-1), 422, "invalid", ["/delay_seconds"], id="negative delay"),
    pytest.param(body(delay_seconds=31_536_001), 422, "invalid", ["/delay_seconds"], id="long delay"),
    pytest.param(body(delay_seconds=True), 422, "invalid", ["/delay_seconds"], id="delay true"),
    pytest.param(body(expires_at=PAST), 422, "invalid", ["/expires_at"], id="expired already"),
    pytest.param(body(expires_at="9999-12-31T23:59:59-10:00"), 422, "invalid", ["/expires_at"], id="expires 9999"),
    pytest.param(body(max_attempts=0), 422, "invalid", ["/max_attempts"], id="max_attempts 0"),
    pytest.param(body(max_attempts=1.5), 422, "invalid", ["/max_attempts"], id="max_attempts 1.5"),
    pytest.param(body(max_attempts=True), 422, "invalid", ["/max_attempts"], id="max_attempts true"),
    pytest.param(body(timeout_seconds=0), 422, "invalid", ["/timeout_seconds"], id="timeout 0"),
    pytest.param(body(timeout_seconds="30"), 422, "invalid", ["/timeout_seconds"], id="timeout is text"),
    pytest.param(body(retry={"factor": 0}), 422, "invalid", ["/retry/factor"], id="factor 0"),
    pytest.param(body(retry={"base": 1}), 422, "unknown_field", ["/retry/base"], id="unknown in retry"),
    pytest.param(body(retry=[]), 422, "invalid", ["/retry"], id="retry is a list"),
    # Here is no key to sign with.
    pytest.param(body(callback={"url": "http://x"}), 422, "invalid", ["/callback"], id="callback"),
    pytest.param(body(target={"url": "http://x"}), 422, "invalid", ["/target"], id="target"),
    pytest.param(body(callback_url="http://x"), 422, "invalid", ["/callback_url"], id="callback of old"),
    pytest.param(body(task_type="other"), 422, "invalid", ["/task_type"], id="two types"),
    pytest.param(body(max_tries=3), 422, "unknown_field", ["/max_tries"], id="max_tries"),
    pytest.param(body(idempotency_key="k"), 422, "unknown_field", ["/idempotency_key"], id="key in the body"),
    pytest.param(
        body(type=1, priority=[], queue={}, name=0, tags=0, metadata=0, retry=0, **{"a/b~": 1}),
        422, "invalid",
        ["/type", "/priority", "/queue", "/name", "/tags", "/retry", "/a~1b~0", "/metadata"], id="all at once",
    ),
    pytest.param(body(payload="x" * 262_200), 413, "too_large", ["/payload"], id="big payload"),
    pytest.param(b" " * 5_242_880, 413, "too_large", [], id="5 MiB"),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "status", "code", "pointers"), SUBMITS)
def test_submit_refuses(http: httpx.Client, sent: bytes, status: int, code: str, pointers: list[str]) -> None:
    answer = http.post("/api/v1/tasks", content=sent, headers=JSON)
    check_problem(answer, status, code)
    assert sorted(error["pointer"] for error in answer.json().get("errors", [])) == sorted(pointers)


NAMES = [
    ("max_tries", "max_attempts"), ("task_url", "target.url"), ("delay", "delay_seconds"), ("prioriti", "priority"),
    ("timeout", "timeout_seconds"), ("eta", "run_at"), ("quue", "queue"), ("payloads", "payload"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "meant"), NAMES)
def test_an_unknown_field_is_told_its_nearest_name(http: httpx.Client, name: str, meant: str) -> None:
    answer = http.post("/api/v1/tasks", json={"type": "echo", name: 1})
    check_problem(answer, 422, "unknown_field")
    assert f"did you mean {meant}?" in answer.json()["errors"][0]["detail"]


def test_other_content_types_are_refused(http: httpx.Client) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", ""):
        answer = http.post("/api/v1/tasks", content=body(), headers={"content-type": kind})
        check_problem(answer, 415, "not_json")
    sent = http.post(
        "/api/v1/tasks", content=body(), headers={"content-type": 'Application/JSON; charset="UTF-8"'}
    )
    assert sent.status_code == 202


def test_chunks_over_the_limit_are_refused(http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"type":"echo","payload":"'
        for _ in range(160):
            yield b"x" * 65_536
        yield b'"}'

    check_problem(http.post("/api/v1/tasks", content=chunks(), headers=JSON), 413, "too_large")
    assert http.get("/livez").status_code == 200


def test_a_batch_tells_which_items_are_wrong_and_writes_nothing(http: httpx.Client) -> None:
    items: list[dict[str, Any]] = [{"type": "echo", "tags": ["batch-wrong"]} for _ in range(10_000)]
    items[7777]["priority"] = "urgent"
    answer = http.post("/api/v1/tasks/batch", json={"items": items})
    check_problem(answer, 422, "invalid")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/items/7777/priority"]
    assert http.get("/api/v1/tasks", params={"tag": "batch-wrong"}).json()["items"] == []


BATCHES = [
    pytest.param({}, "invalid", "/items", id="no items"),
    pytest.param({"items": []}, "invalid", "/items", id="none"),
    pytest.param({"items": [{"type": "echo"}] * 10_001}, "invalid", "/items", id="10,001"),
    pytest.param({"items": {"type": "echo"}}, "invalid", "/items", id="not a list"),
    pytest.param([{"type": "echo"}], "invalid", "", id="a bare list"),
    pytest.param({"items": [{"type": "echo"}], "all": 1}, "unknown_field", "/all", id="unknown beside items"),
    pytest.param({"items": [{"type": "echo"}, 7]}, "invalid", "/items/1", id="an item that is a number"),
    pytest.param(
        {"items": [{"type": "echo", "idempotency_key": "a b"}]},
        "invalid",
        "/items/0/idempotency_key",
        id="key",
    ),
    pytest.param({"items": [{"type": "echo", "delay": 1}]}, "unknown_field", "/items/0/delay", id="unknown"),
]


@pytest.mark.parametrize(("sent", "code", "pointer"), BATCHES)
def test_batch_refuses(http: httpx.Client, sent: Any, code: str, pointer: str) -> None:
    answer = http.post("/api/v1/tasks/batch", json=sent)
    check_problem(answer, 422, code)
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_at_most_100_faults_are_told(http: httpx.Client) -> None:
    answer = http.post("/api/v1/tasks/batch", json={"items": [{"type": ""}] * 5_000})
    check_problem(answer, 422, "invalid")
    assert len(answer.json()["errors"]) == 100


QUERIES = [
    ("/api/v1/tasks?state=queued", "unknown_field", "did you mean status?"),
    ("/api/v1/tasks?limt=1", "unknown_field", "did you mean limit?"),
    ("/api/v1/tasks?status=done", "invalid", "expected one of"),
    ("/api/v1/tasks?priority=50", "invalid", "expected one of"),
    ("/api/v1/tasks?limit=0", "invalid", "1 to 200"),
    ("/api/v1/tasks?limit=201", "invalid", "1 to 200"),
    ("/api/v1/tasks?limit=ten", "invalid", "1 to 200"),
    ("/api/v1/tasks?limit=1&limit=2", "invalid", "expected once"),
    ("/api/v1/tasks?tag=a%00", "invalid", "U+0000"),
    ("/api/v1/tasks?tag=", "invalid", "1 to 100"),
    ("/api/v1/tasks?tag=%ff", "invalid", "cannot be read"),
    ("/api/v1/tasks?type=a%20b", "invalid", "1 to 128"),
    ("/api/v1/tasks?queue=A", "invalid", "1 to 64"),
    ("/api/v1/tasks?include=everything", "invalid", "payload, result"),
    ("/api/v1/tasks?created_after=2026-01-01T00:00:00", "invalid", "offset"),
    ("/api/v1/tasks?created_after=yesterday", "invalid", "offset"),
    ("/api/v1/dead-letters?reason=bad", "invalid", "expected one of"),
    ("/api/v1/dead-letters?error=%00", "invalid", "U+0000"),
    ("/api/v1/queues?name=x", "unknown_field", "expected one of cursor, limit"),
    ("/api/v1/tasks/stats?x=1", "unknown_field", "expected none"),
]


@pytest.mark.parametrize(("path", "code", "words"), QUERIES)
def test_queries_are_read_strictly(http: httpx.Client, path: str, code: str, words: str) -> None:
    answer = http.get(path)
    check_problem(answer, 422, code)
    assert words in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "1e5", "0x1", ""])
def test_wait_has_bounds(http: httpx.Client, wait: str) -> None:
    check_problem(http.post("/api/v1/tasks", params={"wait": wait}, json={"type": "echo"}), 422, "invalid")


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "ü".encode(), "\x7f"])
def test_keys_have_a_form(http: httpx.Client, key: str | bytes) -> None:
    headers = {b"idempotency-key": key if isinstance(key, bytes) else key.encode()}
    check_problem(http.post("/api/v1/tasks", json={"type": "echo"}, headers=headers), 400, "bad_header")


PATHS = [
    "/nope", "/api/v1/nope", "/api/v1/tasks/7", "/api/v1/tasks/zzzzzzzz-0000-7000-8000-000000000000",
    "/api/v1/tasks/019000000000700080000000000000aa", "/api/v1/tasks/%00", "/api/v1/tasks/%ff/logs",
    "/api/v1/tasks/01900000-0000-7000-8000-000000000000", "/api/v1/dead-letters/1", "/metrics/x", "/api/v1/event",
    "/api/v1/tasks/01900000-0000-7000-8000-000000000000/artifacts/x",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_what_does_not_exist(http: httpx.Client, path: str) -> None:
    check_problem(http.get(path), 404, "not_found")


def test_jobs_are_called_tasks_here(http: httpx.Client) -> None:
    answer = http.get("/api/jobs/7")
    check_problem(answer, 404, "not_found")
    assert "/api/v1/tasks" in answer.json()["hint"]


def test_other_methods_are_told_the_allowed_ones(http: httpx.Client) -> None:
    for method in ("PUT", "DELETE", "PATCH", "TRACE"):
        answer = http.request(method, "/api/v1/tasks")
        check_problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert http.get("/api/v1/tasks/batch").headers["allow"] == "OPTIONS, POST"


def test_commands_take_no_fields(http: httpx.Client) -> None:
    task = http.post("/api/v1/tasks", json={"type": "echo"}).json()
    path = f"/api/v1/tasks/{task['id']}/cancel"
    check_problem(http.post(path, json={"reason": "x"}), 422, "unknown_field")
    check_problem(http.post(path, json=[1]), 422, "invalid")
    check_problem(http.post(path, content=b"{", headers=JSON), 400, "malformed_json")
    assert http.post(path, json={}).status_code == 200


def test_cursors_are_bound_to_their_list(http: httpx.Client) -> None:
    http.post("/api/v1/tasks/batch", json={"items": [{"type": "echo"}] * 3})
    cursor = http.get("/api/v1/tasks", params={"limit": 1}).json()["next_cursor"]
    assert http.get("/api/v1/tasks", params={"limit": 1, "cursor": cursor}).status_code == 200
    for params in (
        {"cursor": cursor, "status": "queued"},
        {"cursor": cursor[:-2] + "AA"},
        {"cursor": cursor + "="},
        {"cursor": "ü"},
        {"cursor": ""},
        {"cursor": "x" * 5000},
    ):
        check_problem(http.get("/api/v1/tasks", params=params), 400, "bad_cursor")
    check_problem(http.get("/api/v1/dead-letters", params={"cursor": cursor}), 400, "bad_cursor")


def check_problem(answer: httpx.Response, status: int, code: str) -> None:
    """The shape that every refusal has."""
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert (said["status"], said["code"]) == (status, code), said
    assert said["request_id"] == answer.headers["x-request-id"]
    assert said["type"] == f"/docs#problem-{code}"
    assert said["title"]
    assert said["detail"]
