"""What a dead letter keeps, and how it is found."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.letters.conftest import Buried
from tests.support.books import Books
from tests.support.systems import System


def test_a_letter_explains_itself(system: System, buried: Buried) -> None:
    [task_id] = buried(1, "imports", {"path": "/nowhere", "row": 7}, tags=["nightly", "eu"])
    [item] = system.get("/dead-letters", type="imports", tag=["nightly", "eu"])["items"]
    assert "payload" not in item
    assert "traceback" not in item["error"]
    letter = system.get(f"/dead-letters/{item['id']}")
    assert (letter["task_id"], letter["life"], letter["reason"]) == (task_id, 1, "attempts_exhausted")
    assert letter["payload"] == {"path": "/nowhere", "row": 7}
    assert letter["error"]["type"] == "LookupError"
    assert "in imports" in letter["error"]["traceback"]
    worker = system.get("/workers")["items"][0]
    assert letter["worker_version"] == worker["version"] == "shop-41c2f0d"
    first, second = letter["executions"]
    assert [one["number"] for one in (first, second)] == [1, 2]
    assert [one["attempt"] for one in (first, second)] == [1, 2]
    assert first["status"] == "failed"
    assert first["error"]["message"] == "row 7 needs '/nowhere'"
    assert {one["worker_id"] for one in (first, second)} == {worker["id"]}
    assert {one["worker_version"] for one in (first, second)} == {worker["version"]}
    assert first["started_at"] < first["finished_at"] < second["started_at"]


def test_letters_are_grouped_and_found(system: System, buried: Buried) -> None:
    for row in range(3):
        buried(2, "mails", {"path": "/nowhere", "row": row}, queue="default", tags=["found"])
    [group] = system.get("/dead-letters/groups", type="mails", tag="found")["items"]
    assert (group["count"], group["pending"]) == (6, 6)  # one fingerprint, though the rows differ
    letters = system.list_all("/dead-letters", fingerprint=group["fingerprint"], tag="found")
    assert len(letters) == 6
    assert letters[0]["id"] == group["example_id"]
    assert len(system.list_all("/dead-letters", error="NO SERVER for row 2", tag="found")) == 2
    assert system.list_all("/dead-letters", error="row 3", tag="found") == []
    assert system.list_all("/dead-letters", tag="not found") == []


def test_an_export_holds_all_that_match(system: System, buried: Buried) -> None:
    ids = buried(120, "mails", {"path": "/nowhere", "row": 1}, tags=["exported"])
    with system.http.stream("GET", "/api/v1/dead-letters/export", params={"tag": "exported"}) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        letters = [json.loads(line) for line in answer.iter_lines()]
    assert sorted(letter["task_id"] for letter in letters) == sorted(ids)
    assert {letter["payload"]["row"] for letter in letters} == {1}
    empty = system.http.get("/api/v1/dead-letters/export", params={"tag": "nothing"})
    assert (empty.status_code, empty.text) == (200, "")


def test_a_second_letter_is_linked_to_the_first(system: System, buried: Buried, tmp_path: Path) -> None:
    [task_id] = buried(1, "imports", {"path": "/nowhere"}, tags=["linked"])
    [first] = system.list_all("/dead-letters", tag="linked")
    cause = tmp_path / "cause"
    body = {"payload": {"path": str(cause)}, "reason": "path was wrong"}
    again = system.post(f"/dead-letters/{first['id']}/replay", body, expect=202)
    assert (again["id"], again["life"], again["attempt"]) == (task_id, 2, 0)
    failed = system.wait(task_id)
    assert (failed["status"], failed["life"], failed["attempt"]) == ("failed", 2, 2)
    second, old = system.list_all("/dead-letters", tag="linked")
    assert (second["life"], second["previous_id"], second["status"]) == (2, first["id"], "pending")
    assert (old["status"], old["resolved_by"], old["resolved_reason"]) == (
        "replayed",
        "local",
        "path was wrong",
    )
    # Each letter keeps the payload of its life, so that nobody has to guess what was changed.
    assert system.get(f"/dead-letters/{first['id']}")["payload"] == {"path": "/nowhere"}
    assert system.get(f"/dead-letters/{second['id']}")["payload"] == {"path": str(cause)}
    assert len(system.executions(task_id)) == 4
    replays = [
        event["data"]
        for event in system.list_all(f"/tasks/{task_id}/events")
        if event["data"].get("reason") == "path was wrong"
    ]
    assert replays == [
        {"by": "local", "from": "failed", "life": 2, "reason": "path was wrong", "payload_changed": True}
    ]
    [audited] = system.get("/audit", target=first["id"])["items"]
    assert (audited["actor"], audited["action"]) == ("local", "dead_letter.replayed")
    assert audited["data"]["payload_changed"] is True


def test_a_discard_has_a_reason(system: System, buried: Buried, truth: Books) -> None:
    [task_id] = buried(1, "mails", {"path": "/nowhere"}, tags=["discarded"])
    [letter] = system.list_all("/dead-letters", tag="discarded")
    done = system.post(f"/dead-letters/{letter['id']}/discard", {"reason": "customer is gone"})
    assert (done["status"], done["resolved_reason"]) == ("discarded", "customer is gone")
    again = system.http.post(f"/api/v1/dead-letters/{letter['id']}/discard")
    assert (again.status_code, again.json()["code"], again.json()["current_status"]) == (
        409, "already_replayed", "discarded",
    )  # fmt: skip
    last = system.list_all(f"/tasks/{task_id}/events")[-1]
    assert (last["status"], last["data"]["dead_letter"], last["data"]["reason"]) == (
        "failed", "discarded", "customer is gone",
    )  # fmt: skip
    assert truth.rows("SELECT status FROM tasks WHERE id = $1", task_id) == [{"status": "failed"}]
