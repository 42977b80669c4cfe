"""Webhook deliveries over HTTP: asked for, listed, sent again. No notifier runs: what is to be sent stays pending."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.api.signing import (
    HOOK,
    NOBODYS,
    TASKS,
    Account,
    Signing,
    listed,
    of_task,
    submit,
    trigger,
)
from tests.integration.api.test_bad_input import JSON, check_problem

from taskflow.domain.callback import EVENT_OF_STATUS
from taskflow.domain.webhook import SENDABLE

STATUSES = ["scheduled", "queued", "running", "retrying", "completed", "failed", "cancelled", "expired"]


@pytest.mark.parametrize("status", STATUSES)
def test_one_is_sent_of_a_task_in_each_status(signing: Signing, ann: Account, status: str) -> None:
    """Its event is the one of the status; of one that has not begun, a test."""
    task = submit(
        ann.http, callback={"url": f"{HOOK}/{status}", "events": ["task.failed"], "max_attempts": 3}
    )
    signing.rows("UPDATE tasks SET status = $2 WHERE id = $1", task["id"], status)
    sent = trigger(ann.http, task)
    expected = {
        "task_id": task["id"], "event": EVENT_OF_STATUS.get(status, "task.test"), "url": f"{HOOK}/{status}",
        "status": "pending", "attempt": 0, "max_attempts": 3, "finished_at": None, "endpoint": "active",
        "attempts": [], "delivery_id": sent["id"],
    }  # fmt: skip
    assert {name: sent[name] for name in expected} == expected
    assert sent["next_attempt_at"].endswith("Z")
    del sent["delivery_id"]
    assert of_task(ann.http, task) == [sent]
    assert ann.http.get(f"{TASKS}/{task['id']}").json()["version"] == task["version"]


@pytest.mark.parametrize("door", ["webhook-deliveries", "trigger_webhook"])
def test_any_event_can_be_asked_for(ann: Account, door: str) -> None:
    task = submit(ann.http, callback={"url": HOOK, "events": ["task.failed"]})
    path = f"{TASKS}/{task['id']}/{door}"
    for event in SENDABLE:
        answer = ann.http.post(path, json={"event": event})
        assert (answer.status_code, answer.json()["event"]) == (202, event)
    for body in (b"", b"{}", b"null", b'{"event":null}'):
        answer = ann.http.post(path, content=body, headers=JSON)
        assert (answer.status_code, answer.json()["event"]) == (202, "task.test"), answer.text
    assert len(of_task(ann.http, task)) == len(SENDABLE) + 4


WRONG: list[tuple[Any, int, str, str | None]] = [
    ({"event": "task.done"}, 422, "invalid", "/event"),
    ({"event": "task.revoked"}, 422, "invalid", "/event"),
    ({"event": 7}, 422, "invalid", "/event"),
    ({"event": ["task.failed"]}, 422, "invalid", "/event"),
    ({"evnt": "task.failed"}, 422, "unknown_field", "/evnt"),
    ([], 422, "invalid", ""),
    ("task.failed", 422, "invalid", ""),
]


@pytest.mark.parametrize(("body", "status", "code", "pointer"), WRONG)
def test_a_trigger_is_read_strictly(
    ann: Account, body: Any, status: int, code: str, pointer: str | None
) -> None:
    task = submit(ann.http)
    for door in ("webhook-deliveries", "trigger_webhook"):
        answer = ann.http.post(f"{TASKS}/{task['id']}/{door}", json=body)
        check_problem(answer, status, code)
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    check_problem(
        ann.http.post(f"{TASKS}/{task['id']}/trigger_webhook", content=b"{", headers=JSON),
        400,
        "malformed_json",
    )
    assert of_task(ann.http, task) == []


def test_a_task_without_callback_has_nowhere_to_send_to(ann: Account) -> None:
    for members in ({"callback": None}, {"callback": None, "target": {"url": HOOK}}):
        task = submit(ann.http, **members)
        for door in ("webhook-deliveries", "trigger_webhook"):
            answer = ann.http.post(f"{TASKS}/{task['id']}/{door}")
            check_problem(answer, 422, "invalid")
            assert answer.json()["detail"] == "the task has no callback: there is nowhere to send to"
        assert of_task(ann.http, task) == []


def test_commands_write_deliveries_of_the_events_asked_for(ann: Account) -> None:
    told = submit(ann.http)
    silent = submit(ann.http, callback={"url": HOOK, "events": ["task.failed"]})
    for task in (told, silent):
        assert ann.http.post(f"{TASKS}/{task['id']}/cancel").status_code == 200
    assert [one["event"] for one in of_task(ann.http, told)] == ["task.cancelled"]
    assert of_task(ann.http, silent) == []


def test_replay_sends_again(signing: Signing, ann: Account) -> None:
    task = submit(ann.http, callback={"url": HOOK, "max_attempts": 2})
    sent = trigger(ann.http, task)
    path = f"{TASKS}/{task['id']}/webhook-deliveries/{sent['id']}/replay"
    pending = ann.http.post(path)
    assert pending.status_code == 202
    assert (pending.json()["id"], pending.json()["delivery_id"]) == (sent["id"], sent["id"])
    for status in ("failed", "delivered"):
        signing.rows(
            "UPDATE webhook_deliveries SET status = $2, attempts = 2, finished_at = now(), due_at = now() WHERE id = $1",
            sent["id"], status,
        )  # fmt: skip
        [ended] = of_task(ann.http, task)
        assert (ended["status"], ended["next_attempt_at"], ended["finished_at"] is None) == (
            status,
            None,
            False,
        )
        again = ann.http.post(path, json={}).json()
        assert (again["status"], again["attempt"], again["finished_at"]) == ("pending", 2, None)
        assert again["next_attempt_at"] is not None
    assert signing.rows("SELECT spent_before FROM webhook_deliveries WHERE id = $1", sent["id"])[0][0] == 2
    assert len(of_task(ann.http, task)) == 1
    check_problem(ann.http.post(path, json={"event": "task.failed"}), 422, "unknown_field")
    check_problem(ann.http.post(path, json=[]), 422, "invalid")


def test_a_delivery_is_found_below_its_own_task_only(ann: Account, bob: Account) -> None:
    task, other = submit(ann.http), submit(ann.http)
    sent = trigger(ann.http, task)
    for task_id, delivery_id in (
        (other["id"], sent["id"]), (task["id"], NOBODYS), (NOBODYS, sent["id"]), (task["id"], task["id"]),
    ):  # fmt: skip
        path = f"{TASKS}/{task_id}/webhook-deliveries/{delivery_id}/replay"
        check_problem(ann.http.post(path), 404, "not_found")
    bobs = submit(bob.http)
    for task_id in (task["id"], bobs["id"]):
        path = f"{TASKS}/{task_id}/webhook-deliveries/{sent['id']}/replay"
        check_problem(bob.http.post(path), 404, "not_found")
    for path in (
        "webhook-deliveries",
        "trigger_webhook",
        "webhook-deliveries/7/replay",
        "webhook-deliveries/%00/replay",
    ):
        for task_id in (NOBODYS, task["id"] if "/" in path else "7"):
            check_problem(ann.http.post(f"{TASKS}/{task_id}/{path}"), 404, "not_found")
    check_problem(ann.http.get(f"{TASKS}/{NOBODYS}/webhook-deliveries"), 404, "not_found")


def test_each_sees_what_is_its_own(signing: Signing, ann: Account, bob: Account) -> None:
    anns, bobs, local = (submit(http) for http in (ann.http, bob.http, signing.http))
    sent = [
        trigger(http, task)["id"]
        for http, task in ((ann.http, anns), (bob.http, bobs), (signing.http, local))
    ]
    told = [[one in {item["id"] for item in listed(http)} for one in sent]
            for http in (ann.http, bob.http, signing.http)]  # fmt: skip
    assert told == [[True, False, False], [False, True, False], [True, True, True]]
    assert [item["id"] for item in of_task(signing.http, anns)] == sent[:1]
    assert trigger(signing.http, bobs)["task_id"] == bobs["id"]
    assert len(of_task(bob.http, bobs)) == 2
    again = signing.http.post(f"{TASKS}/{anns['id']}/webhook-deliveries/{sent[0]}/replay")
    assert again.status_code == 202


def test_who_sends_stands_in_the_audit_log(signing: Signing, ann: Account) -> None:
    task = submit(ann.http)
    sent = trigger(ann.http, task)
    ann.http.post(f"{TASKS}/{task['id']}/webhook-deliveries/{sent['id']}/replay")
    events = [
        event
        for target in (task["id"], sent["id"])
        for event in signing.http.get("/api/v1/audit", params={"target": target}).json()["items"]
    ]
    assert [(event["action"], event["data"]) for event in events] == [
        ("webhook.triggered", {"delivery_id": sent["id"]}),
        ("webhook.replayed", {"task_id": task["id"]}),
    ]
    assert {event["actor"] for event in events} == {"ann@example.org"}
