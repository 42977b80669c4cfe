"""What callers are answered about their tasks. No worker runs here: what is submitted stays queued."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import pytest
from tests.integration.api.test_bad_input import check_problem

from taskflow.domain.task import Task

TASKS = "/api/v1/tasks"
FIELDS = {field.name for field in msgspec.structs.fields(Task)}
ODD_PAYLOADS = [
    '{"z":1,"a":1.0,"b":1e400,"c":100000000000000000000000,"d":"x\\u0000y","k":1,"k":2}',
    "null", "0", '""', "[]", '"\\ud83d\\ude00"', '{"é":"\\/"}', "-0.0", "1E+2", "[1,[2,{}]]",
]  # fmt: skip


def submit(http: httpx.Client, **members: Any) -> dict[str, Any]:
    answer = http.post(TASKS, json={"type": "echo", **members})
    assert answer.status_code == 202, answer.text
    task: dict[str, Any] = answer.json()
    return task


def test_a_submit_is_answered_with_the_whole_task(http: httpx.Client) -> None:
    answer = http.post(TASKS, json={"type": "demo", "payload": {"hello": "world"}, "priority": "normal"})
    assert answer.status_code == 202
    task = answer.json()
    assert set(task) == FIELDS
    assert answer.headers["location"] == f"{TASKS}/{task['id']}"
    assert http.get(answer.headers["location"]).json()["id"] == task["id"]
    expected = {
        "type": "demo", "queue": "default", "priority": "normal", "status": "queued", "life": 1, "attempt": 0,
        "max_attempts": 5, "timeout_seconds": 30.0, "payload": {"hello": "world"}, "result": None, "tags": [],
        "metadata": {}, "waiting_for": "worker_for_queue", "callback": None, "target": None,
    }  # fmt: skip
    assert {name: task[name] for name in expected} == expected
    assert task["created_at"].endswith("Z")
    assert len(task["created_at"]) == len("2026-11-22T00:54:52.000000Z")


@pytest.mark.parametrize("payload", ODD_PAYLOADS)
def test_payloads_come_back_byte_for_byte(http: httpx.Client, payload: str) -> None:
    sent = f'{{"type":"echo","payload":{payload}}}'.encode()
    answer = http.post(TASKS, content=sent, headers={"content-type": "application/json"})
    assert answer.status_code == 202, answer.text
    read = http.get(answer.headers["location"])
    assert f'"payload":{payload},'.encode() in read.content


PRIORITIES = [(100, "critical"), (90, "critical"), (89.5, "high"), (65, "high"), (64, "normal"), (35, "normal"),
              (34, "low"), (0, "low"), ("high", "high"), (None, "normal")]  # fmt: skip


@pytest.mark.parametrize(("given", "name"), PRIORITIES)
def test_numbers_are_priorities_too(http: httpx.Client, given: Any, name: str) -> None:
    assert submit(http, priority=given)["priority"] == name


def test_everything_that_can_be_said_comes_back(http: httpx.Client) -> None:
    said = {
        "name": "päck", "queue": "mail_1", "tags": ["a", "b", "a"], "metadata": {"k": [1]}, "max_attempts": 7,
        "timeout_seconds": 0.5, "retry": {"strategy": "fixed", "base_seconds": 1, "jitter": "none"},
    }  # fmt: skip
    task = submit(http, delay_seconds=3600, expires_at="2100-01-01T02:00:00+02:00", **said)
    retry = {
        "strategy": "fixed", "base_seconds": 1.0, "factor": 2.0, "max_seconds": 10.0, "jitter": "none",
        "jitter_seconds": 0.25,
    }  # fmt: skip
    assert {name: task[name] for name in said} == {**said, "retry": retry}
    assert task["status"] == "scheduled"
    assert task["waiting_for"] == "due_time"
    assert task["expires_at"] == "2100-01-01T00:00:00.000000Z"


def test_names_of_an_older_system_are_read(http: httpx.Client) -> None:
    answer = http.post(TASKS, json={"task_type": "echo", "callback_url": None})
    assert answer.status_code == 202
    assert answer.json()["type"] == "echo"


def test_one_key_is_one_task(http: httpx.Client) -> None:
    headers = {"Idempotency-Key": "parallel-1"}

    def post(_: int) -> httpx.Response:
        return http.post(TASKS, json={"type": "echo", "payload": {"a": 1}}, headers=headers)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(post, range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    replays = [answer for answer in answers if answer.status_code == 200]
    assert all(answer.headers["idempotent-replayed"] == "true" for answer in replays)


def test_a_key_stands_for_the_value_of_a_request(http: httpx.Client) -> None:
    headers = {"Idempotency-Key": '"value-1"', "content-type": "application/json"}
    first = http.post(TASKS, content=b'{"type":"echo","payload":{"a":1,"b":[1.50]}}', headers=headers)
    headers["Idempotency-Key"] = "value-1"
    again = http.post(
        TASKS, content=b'{ "payload" : {"b":[15e-1], "a":1.0}, "type":"echo" }', headers=headers
    )
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == first.json()["id"]
    other = http.post(TASKS, content=b'{"type":"echo","payload":{"a":2,"b":[1.5]}}', headers=headers)
    check_problem(other, 422, "idempotency_key_reused")
    elsewhere = http.post(
        f"{TASKS}/batch", json={"items": [{"type": "echo"}]}, headers={"Idempotency-Key": "value-1"}
    )
    check_problem(elsewhere, 422, "idempotency_key_reused")


def test_a_refused_request_uses_up_no_key(http: httpx.Client) -> None:
    headers = {"Idempotency-Key": "refused-1"}
    check_problem(http.post(TASKS, json={"type": ""}, headers=headers), 422, "invalid")
    assert http.post(TASKS, json={"type": "echo"}, headers=headers).status_code == 202


def test_a_batch_keeps_its_order_and_its_keys(http: httpx.Client) -> None:
    items = [{"type": "echo", "payload": at, "idempotency_key": f"batch-item-{at}"} for at in range(50)]
    headers = {"Idempotency-Key": "batch-1"}
    first = http.post(f"{TASKS}/batch", json={"items": items}, headers=headers)
    assert first.status_code == 202
    rows = first.json()["items"]
    assert [row["replayed"] for row in rows] == [False] * 50
    assert [http.get(f"{TASKS}/{row['id']}").json()["payload"] for row in rows[:3]] == [0, 1, 2]
    again = http.post(f"{TASKS}/batch", json={"items": items}, headers=headers)
    assert again.status_code == 200
    assert again.headers["idempotent-replayed"] == "true"
    assert [(row["id"], row["replayed"]) for row in again.json()["items"]] == [
        (row["id"], True) for row in rows
    ]
    mixed = http.post(f"{TASKS}/batch", json={"items": [items[0], {"type": "echo"}]})
    assert mixed.status_code == 202
    assert [row["replayed"] for row in mixed.json()["items"]] == [True, False]


def test_10_000_tasks_in_one_call(http: httpx.Client) -> None:
    items = [{"type": "echo", "payload": {"n": at}, "queue": "large"} for at in range(10_000)]
    begun = time.monotonic()
    answer = http.post(f"{TASKS}/batch", json={"items": items})
    assert answer.status_code == 202
    assert len({row["id"] for row in answer.json()["items"]}) == 10_000
    assert time.monotonic() - begun < 10


def test_pages_show_each_row_once_while_others_are_added(http: httpx.Client) -> None:
    batch = http.post(f"{TASKS}/batch", json={"items": [{"type": "page", "tags": ["p"]}] * 25}).json()
    wanted = [row["id"] for row in batch["items"]]
    seen: list[str] = []
    path: str | None = f"{TASKS}?type=page&limit=10"
    while path:
        answer = http.get(path)
        assert answer.status_code == 200, answer.text
        seen += [item["id"] for item in answer.json()["items"]]
        submit(http, type="page")
        path = answer.links["next"]["url"] if "next" in answer.links else None
        assert (path is None) == (answer.json()["next_cursor"] is None)
    assert seen == sorted(wanted, reverse=True)


def test_filters_narrow(http: httpx.Client) -> None:
    made = [
        submit(http, type="f.one", tags=["x", "y"], priority="low"),
        submit(http, type="f.two", tags=["x"], queue="f_queue"),
        submit(http, type="f.two", tags=["x"], delay_seconds=60),
    ]
    ids = [task["id"] for task in made]

    def listed(query: str) -> list[int]:
        items = http.get(f"{TASKS}?{query}").json()["items"]
        return sorted(ids.index(item["id"]) for item in items if item["id"] in ids)

    assert listed("tag=x") == [0, 1, 2]
    assert listed("tag=x&tag=y") == [0]
    assert listed("type=f.one&type=f.two&priority=low") == [0]
    assert listed("tag=x&status=scheduled&status=running") == [2]
    assert listed("queue=f_queue") == [1]
    assert listed("tag=x&created_after=2000-01-01T00:00:00Z&created_before=2100-01-01T00:00:00%2B01:00") == [
        0,
        1,
        2,
    ]
    assert listed("tag=x&created_before=0001-01-01T00:00:00Z") == []
    assert listed("tag=x&created_after=9999-12-31T23:59:60Z") == []


def test_lists_leave_out_what_is_big(http: httpx.Client) -> None:
    submit(http, type="lean", payload={"a": 1})
    [item] = http.get(f"{TASKS}?type=lean").json()["items"]
    assert set(item) == FIELDS - {"payload", "result"}
    [item] = http.get(f"{TASKS}?type=lean&include=payload,result").json()["items"]
    assert set(item) == FIELDS
    assert item["payload"] == {"a": 1}


def test_cancel_and_retry_by_state(http: httpx.Client) -> None:
    task = submit(http)
    path = f"{TASKS}/{task['id']}"
    check_problem(refused := http.post(f"{path}/retry"), 409, "task_not_retryable")
    assert refused.json()["current_status"] == "queued"
    cancelled = http.post(f"{path}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    check_problem(refused := http.post(f"{path}/cancel"), 409, "task_finished")
    assert refused.json()["current_status"] == "cancelled"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: http.post(f"{path}/retry").status_code, range(8)))
    assert sorted(answers) == [202] + [409] * 7
    assert http.get(path).json()["life"] == 2
    waiting = submit(http, delay_seconds=60)
    due = http.post(f"{TASKS}/{waiting['id']}/retry")
    assert (due.status_code, due.json()["status"], due.json()["life"]) == (200, "queued", 1)
    for command in ("cancel", "retry"):
        gone = http.post(f"{TASKS}/01900000-0000-7000-8000-000000000000/{command}")
        check_problem(gone, 404, "not_found")


def test_wait_answers_when_the_task_ends(http: httpx.Client) -> None:
    task = submit(http)
    path = f"{TASKS}/{task['id']}"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(http.get, path, params={"wait": 20})
        assert http.get(path, params={"wait": 0.2}).json()["status"] == "queued"
        ended_at = time.monotonic()
        http.post(f"{path}/cancel")
        assert waiting.result().json()["status"] == "cancelled"
        assert time.monotonic() - ended_at < 1
    assert http.post(TASKS, params={"wait": "0.1"}, json={"type": "echo"}).status_code == 202


def test_history_lists(http: httpx.Client) -> None:
    task = submit(http)
    path = f"{TASKS}/{task['id']}"
    http.post(f"{path}/cancel")
    events = http.get(f"{path}/events").json()
    assert [event["status"] for event in events["items"]] == ["queued", "cancelled"]
    assert events["next_cursor"] is None
    first = http.get(f"{path}/events", params={"limit": 1}).json()
    second = http.get(f"{path}/events", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert first["items"] + second["items"] == events["items"]
    for part in ("executions", "logs"):
        assert http.get(f"{path}/{part}").json() == {"items": [], "next_cursor": None}
        check_problem(http.get(f"{TASKS}/01900000-0000-7000-8000-000000000000/{part}"), 404, "not_found")
    assert http.get(f"{path}/explain").json()["reasons"][0]["code"] == "finished"


def test_queues_stats_and_switches(http: httpx.Client) -> None:
    submit(http, queue="q_switch", priority="high")
    assert http.post("/api/v1/queues/q_switch/pause").json() == {"name": "q_switch", "paused": True}
    [queue] = [
        row for row in http.get("/api/v1/queues?limit=200").json()["items"] if row["name"] == "q_switch"
    ]
    assert queue["paused"] is True
    assert queue["waiting"]["high"] == 1
    task = submit(http, queue="q_switch")
    reasons = [reason["code"] for reason in http.get(f"{TASKS}/{task['id']}/explain").json()["reasons"]]
    assert reasons == ["queue_paused", "worker_for_queue", "doorbell_lost"]  # nobody has made the stream here
    assert http.post("/api/v1/queues/q_switch/resume").json() == {"name": "q_switch", "paused": False}
    check_problem(http.post("/api/v1/queues/never_named/pause"), 404, "not_found")
    check_problem(http.post("/api/v1/types/never_declared/pause"), 404, "not_found")
    check_problem(http.post("/api/v1/workers/01900000-0000-7000-8000-000000000000/drain"), 404, "not_found")
    assert http.get("/api/v1/workers").json()["items"] == []
    stats = http.get(f"{TASKS}/stats").json()
    assert len(stats["history"]) == 7
    assert stats["uptime_seconds"] > 0


def test_a_json_body_of_any_kind_is_never_a_5xx(http: httpx.Client) -> None:
    odd = [None, True, 0, 1.5, "", "x", [], {}, [None], {"a": None}, 10**30, "\u0000", {"": ""}]
    for name in FIELDS | {"delay_seconds", "retry", "callback", "idempotency_key"}:
        for value in odd:
            answer = http.post(TASKS, content=json.dumps({"type": "echo", name: value}),
                               headers={"content-type": "application/json"})  # fmt: skip
            assert answer.status_code in {202, 422}, (name, value, answer.text)
