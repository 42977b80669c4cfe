"""Pushes as the services know them that execute them, and as callers see their tasks; well-behaved hosts and all others."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

import pytest
from tests.support.books import Books
from tests.support.chaos import kill, until_replaced
from tests.support.receiver import Receiver, status
from tests.support.systems import System


def push(system: System, url: str, **fields: Any) -> dict[str, Any]:
    """A task that is executed there."""
    body = {"payload": {"doc": 7}, "target": {"url": url}, **fields}
    task = system.answered(system.http.post("/api/v1/tasks", json=body), 202)
    system.accepted.add(task["id"])
    return task


def test_a_push_says_what_the_contract_says_and_its_answer_is_the_result(
    system: System, receiver: Receiver
) -> None:
    url = receiver.url("works?x=1")
    task = push(
        system, url, type="invoice", target={"url": url, "method": "PUT", "headers": {"X-Shop": "s3"}}
    )
    done = system.wait(task["id"])
    assert (done["status"], done["result"], done["type"]) == ("completed", {"ok": True}, "invoice")
    assert done["target"] == {"url": url, "method": "PUT", "headers": {"X-Shop": "***"}}
    [got] = receiver.at("works?x=1")
    assert got.json == {
        "task_id": task["id"], "type": "invoice", "queue": "default", "payload": {"doc": 7}, "attempt": 1,
        "max_attempts": 5, "life": 1, "deadline": got.json["deadline"],
    }  # fmt: skip
    started, deadline = (datetime.fromisoformat(text) for text in (done["started_at"], got.json["deadline"]))
    assert 20 < (deadline - started).total_seconds() <= 30
    sent = got.headers
    assert sent["x-taskflow-task-id"] == task["id"]
    assert (sent["x-taskflow-attempt"], sent["x-taskflow-version"]) == ("1", "2")
    assert sent["idempotency-key"] == f"{task['id']}:1"
    assert sent["x-shop"] == "s3"
    assert sent["webhook-signature"].startswith("v1,")


def test_answers_decide(system: System, receiver: Receiver) -> None:
    receiver.behaviours |= {
        "plain": lambda to, _: to.say(200, b"done", content_type="text/plain"),
        "empty": lambda to, _: to.say(204, b""),
        "gone": status(410),
        "wrong": status(422),
        "large-error": lambda to, r: (
            to.say(503, b"<h1>no</h1>" * 40_000) if len(receiver.at("large-error")) < 2 else to.say(200)
        ),
        "large-text": lambda to, _: to.say(200, b"x" * 400_000, content_type="text/plain"),
        "bad-json": lambda to, _: to.say(200, b'{"a": NaN}'),
        "later": lambda to, r: (
            to.say(429, b"", retry_after="2") if len(receiver.at("later")) < 2 else to.say(200)
        ),
    }
    tasks = {name: push(system, receiver.url(name), max_attempts=2) for name in receiver.behaviours if name in {
        "plain", "empty", "gone", "wrong", "bad-json", "later", "large-error", "large-text"}}  # fmt: skip
    done = {name: system.wait(task["id"]) for name, task in tasks.items()}
    assert {name: (one["status"], one["attempt"], one["result"]) for name, one in done.items()} == {
        "plain": ("completed", 1, None), "empty": ("completed", 1, None), "gone": ("failed", 1, None),
        "wrong": ("failed", 2, None), "bad-json": ("failed", 1, None), "later": ("completed", 2, {}),
        "large-error": ("completed", 2, {}), "large-text": ("completed", 1, None),
    }  # fmt: skip
    host = receiver.url("")[:-1]
    assert done["gone"]["error"]["type"] == "Gone"
    assert done["wrong"]["error"]["message"] == f'{host} answered 422 Unprocessable Entity: {{"told": "no"}}'
    assert done["bad-json"]["error"]["type"] == "UnstorableResult"
    first, second = receiver.at("later")
    assert 1.5 < second.at - first.at < 8
    letters = system.list_all("/dead-letters", type="http.push")
    assert {one["reason"] for one in letters if one["task_id"] == tasks["gone"]["id"]} == {"permanent"}


BAD = {
    "hang": ("timed_out", "TimedOut", "gave no whole answer within 0.9 s"),
    "slow": ("timed_out", "TimedOut", "gave no whole answer within 0.9 s"),
    "drip": ("timed_out", "TimedOut", "gave no whole answer within 0.9 s"),
    "reset": ("failed", "ConnectionLost", " the connection"),
    "huge": ("failed", "AnswerTooLarge", "is over 262144 bytes"),
    "short": ("failed", "ConnectionLost", "before its answer was whole"),
    "long": ("failed", "UnstorableResult", "the target's answer"),
    "garbage": ("failed", "BadAnswer", "does not speak HTTP/1.1"),
    "redirect": ("failed", "RedirectRefused", "redirects are not followed"),
}

UNREACHED = {
    "closed": ("failed", "ConnectFailed", "no connection to 127.0.0.1:1024 (127.0.0.1: Connection refused)"),
    "nowhere": ("failed", "NameNotResolved", "no-such-host.invalid"),
}


def test_each_kind_of_bad_host_is_a_clear_error_and_other_tasks_go_on(
    system: System, receiver: Receiver
) -> None:
    elsewhere = receiver.url("hang/held").replace("127.0.0.1", "localhost")
    held = [push(system, elsewhere, timeout_seconds=20) for _ in range(30)]
    tasks = {name: push(system, receiver.url(name), max_attempts=1, timeout_seconds=1) for name in BAD}
    tasks["closed"] = push(system, "http://127.0.0.1:1024/", max_attempts=1)
    tasks["nowhere"] = push(system, "http://no-such-host.invalid/", max_attempts=1)
    echoes = system.submit_many([{"type": "echo"}] * 200)
    assert {one["status"] for one in system.wait_all(echoes, 20).values()} == {"completed"}
    for name, task in tasks.items():
        done = system.wait(task["id"])
        [tried] = system.executions(task["id"])[-1:]
        expected = {**BAD, **UNREACHED}[name]
        assert (tried["status"], done["error"]["type"]) == expected[:2], (name, done["error"])
        assert expected[2] in done["error"]["message"]
    assert not receiver.at("redirected")
    for task in held:
        system.post(f"/tasks/{task['id']}/cancel")


def test_a_dead_host_opens_its_breaker_and_costs_its_tasks_no_attempts(
    system: System, receiver: Receiver, truth: Books
) -> None:
    receiver.down()
    url = receiver.url("breaker")

    def handed_back() -> dict[str, Any] | None:
        now = system.get(f"/tasks/{push(system, url, max_attempts=1)['id']}", wait=0.5)
        assert now["status"] in {"failed", "retrying"}
        return now if now["status"] == "retrying" else None

    waits = now = system.until(handed_back, "one is handed back")
    assert truth.value("SELECT failures >= 5 FROM push_hosts WHERE host = $1", receiver.url("")[:-1])
    assert (now["attempt"], now["error"]) == (0, None)
    assert now["next_attempt_at"] is not None
    [tried] = system.executions(waits["id"])[:1]
    assert (tried["status"], tried["error"]["type"]) == ("released", "Deferred")
    assert "times in a row" in tried["error"]["message"]
    receiver.up()
    assert receiver.at("breaker") == []
    truth.rows("UPDATE push_hosts SET open_until = now() WHERE open_until > now()")

    def done() -> dict[str, Any] | None:
        system.http.post(f"/api/v1/tasks/{waits['id']}/retry")
        now = system.get(f"/tasks/{waits['id']}", wait=0.3)
        return now if now["status"] == "completed" else None

    assert system.until(done, "it is pushed")["attempt"] == 1
    assert truth.value("SELECT openings FROM push_hosts WHERE host = $1", receiver.url("")[:-1]) == 0


def test_a_host_gets_so_many_at_once_and_all_in_the_end(system: System, receiver: Receiver) -> None:
    at_once, most, lock = 0, 0, threading.Lock()

    def counted(to: Any, _request: Any) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        to.server.receiver.closing.wait(0.05)
        with lock:
            at_once -= 1
        to.say(200)

    receiver.behaviours["counted"] = counted
    ids = [push(system, receiver.url("counted"))["id"] for _ in range(300)]
    assert {one["status"] for one in system.wait_all(ids, 60).values()} == {"completed"}
    assert 2 < most <= 20
    assert len(receiver.at("counted")) == len(ids)


@pytest.mark.timeout(90)
def test_a_crash_between_the_answer_and_its_record_repeats_under_the_same_key(
    system: System, receiver: Receiver, truth: Books
) -> None:
    came, go = threading.Event(), threading.Event()

    def answer(to: Any, _request: Any) -> None:
        came.set()
        go.wait(30)
        to.say(200, b'{"paid": true}')

    receiver.behaviours["pay"] = answer
    task = push(system, receiver.url("pay"), max_attempts=3)
    assert came.wait(15)
    worker_id = system.get(f"/tasks/{task['id']}")["worker_id"]
    [pid] = [one["pid"] for one in system.get("/workers")["items"] if one["id"] == worker_id]
    with truth.holding("SELECT FROM tasks WHERE id = $1::uuid FOR UPDATE", task["id"]):
        go.set()
        system.until(
            lambda: truth.value(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%record_%'") > 0,
            "the record waits for the row",
        )  # fmt: skip
        kill(pid)
        truth.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        until_replaced(system, "workers", pid)
    done = system.wait(task["id"], 40)
    assert (done["status"], done["result"], done["attempt"]) == ("completed", {"paid": True}, 2)
    first, second = receiver.at("pay")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == f"{task['id']}:1"
    assert (first.headers["x-taskflow-version"], second.headers["x-taskflow-version"]) == ("2", "4")
    assert truth.tries([task["id"]])[task["id"]] == ["lost", "succeeded"]


def test_a_cancelled_push_is_broken_off(system: System, receiver: Receiver) -> None:
    task = push(system, receiver.url("hang/cancelled"), timeout_seconds=60)
    system.until(lambda: receiver.at("hang/cancelled"), "it is under way")
    system.post(f"/tasks/{task['id']}/cancel")
    system.until(lambda: system.executions(task["id"])[-1]["status"] == "cancelled", "its try is closed", 5)
