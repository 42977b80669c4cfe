"""The first few go alone: the others follow only if the cause is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.letters.conftest import Buried, ended
from tests.support.systems import System


def replay(system: System, tag: str, canary: dict[str, Any]) -> dict[str, Any]:
    body = {"filter": {"tag": tag}, "rate_per_second": 1000, "canary": canary}
    return system.post("/dead-letters/replay", body, expect=202)


def test_a_canary_whose_cause_is_still_there_stops_the_operation_and_says_so(
    system: System, buried: Buried
) -> None:
    buried(150, "imports", {"path": "/nowhere"}, tags=["still"])
    done = ended(system, replay(system, "still", {"first": 100}))
    assert (done["status"], done["done"], done["matched"]) == ("stopped", 100, 150)
    assert done["canary"]["state"] == "failed"
    assert (done["canary"]["replayed"], done["canary"]["succeeded"]) == (100, 0)
    assert done["canary"]["failed"] >= 1
    assert "of 100 failed for good in their new life, at most 0 may" in done["status_reason"]
    stop = done["events"][-1]
    assert (stop["actor"], stop["action"], stop["reason"]) == (
        "canary", "operation.canary_failed", done["status_reason"],
    )  # fmt: skip
    letters = system.list_all("/dead-letters", tag="still")
    first_lives = [letter for letter in letters if letter["life"] == 1]
    assert sum(letter["status"] == "replayed" for letter in first_lives) == 100
    assert sum(letter["status"] == "pending" for letter in first_lives) == 50


def test_a_canary_whose_cause_is_gone_lets_the_others_follow(
    system: System, buried: Buried, tmp_path: Path
) -> None:
    cause = tmp_path / "cause"
    ids = buried(60, "imports", {"path": str(cause)}, tags=["gone"])
    cause.touch()
    done = ended(system, replay(system, "gone", {"first": 20, "stop_if_failed": 1}))
    assert (done["status"], done["done"]) == ("done", 60)
    assert (done["canary"]["state"], done["canary"]["succeeded"]) == ("passed", 20)
    actions = [event["action"] for event in done["events"]]
    assert actions == ["operation.accepted", "operation.canary_passed", "operation.done"]
    assert {task["status"] for task in system.wait_all(ids).values()} == {"completed"}


def test_a_canary_of_which_nothing_completed_in_time_pauses_the_operation(
    system: System, buried: Buried, tmp_path: Path
) -> None:
    cause = tmp_path / "cause"
    ids = buried(10, "mails", {"path": str(cause)}, tags=["slow"])
    cause.touch()
    system.post("/types/mails/pause", {"reason": "so that nothing ends"})
    try:
        operation = replay(system, "slow", {"first": 4, "wait_seconds": 2})
        path = f"/operations/{operation['id']}"
        system.until(lambda: system.get(path)["canary"]["state"] == "waiting", "the canary is waited for")
        assert system.get(path)["done"] == 4
        system.until(lambda: system.get(path)["status"] == "paused", "it is paused")
        paused = system.get(path)
        assert (paused["done"], paused["canary"]["state"]) == (4, "waiting")
        assert "4 have not ended" in paused["status_reason"]
        assert (paused["events"][-1]["actor"], paused["events"][-1]["action"]) == (
            "canary",
            "operation.paused",
        )
    finally:
        system.post("/types/mails/resume")
    assert system.post(f"{path}/resume")["status_reason"] is None
    done = ended(system, operation)
    assert (done["status"], done["done"], done["canary"]["state"]) == ("done", 10, "passed")
    assert {task["status"] for task in system.wait_all(ids).values()} == {"completed"}


def test_a_canary_of_tasks_is_judged_by_their_new_lives(system: System, buried: Buried) -> None:
    buried(12, "mails", {"path": "/nowhere"}, tags=["tasks"])
    body = {"filter": {"tag": "tasks"}, "rate_per_second": 1000, "canary": {"first": 5}}
    done = ended(system, system.post("/tasks/retry", body, expect=202))
    assert (done["status"], done["done"], done["canary"]["state"]) == ("stopped", 5, "failed")
