"""What failed for good is a dead letter; an operator replays it once the cause is gone."""

from __future__ import annotations

from pathlib import Path

from tests.support.systems import System


def test_a_dead_letter_is_replayed_into_a_new_life(system: System, tmp_path: Path) -> None:
    cause = tmp_path / "cause"
    failed = system.wait(system.submit("needs_file", {"path": str(cause)})["id"])
    assert (failed["status"], failed["attempt"]) == ("failed", 2)
    (letter,) = [x for x in system.list_all("/dead-letters") if x["task_id"] == failed["id"]]
    assert (letter["reason"], letter["status"]) == ("attempts_exhausted", "pending")
    assert letter["error"]["type"] == "FileNotFoundError"
    cause.touch()
    again = system.post(f"/dead-letters/{letter['id']}/replay", expect=202)
    assert (again["id"], again["life"], again["attempt"]) == (failed["id"], 2, 0)
    assert system.wait(failed["id"])["status"] == "completed"
    assert [each["status"] for each in system.executions(failed["id"])] == ["failed", "failed", "succeeded"]
    twice = system.http.post(f"/api/v1/dead-letters/{letter['id']}/replay")
    assert (twice.status_code, twice.json()["code"]) == (409, "already_replayed")


def test_a_payload_may_be_mended_on_the_way(system: System, tmp_path: Path) -> None:
    cause = tmp_path / "other"
    cause.touch()
    failed = system.wait(system.submit("needs_file", {"path": "/nowhere/at/all"})["id"])
    (letter,) = [x for x in system.list_all("/dead-letters") if x["task_id"] == failed["id"]]
    body = {"payload": {"path": str(cause)}}
    system.post(f"/dead-letters/{letter['id']}/reprocess", body, expect=202)
    assert system.wait(failed["id"])["status"] == "completed"


def test_a_discarded_letter_leaves_its_task_failed(system: System) -> None:
    failed = system.wait(system.submit("gives_up")["id"])
    (letter,) = [x for x in system.list_all("/dead-letters") if x["task_id"] == failed["id"]]
    assert system.post(f"/dead-letters/{letter['id']}/discard")["status"] == "discarded"
    assert system.get(f"/tasks/{failed['id']}")["status"] == "failed"
