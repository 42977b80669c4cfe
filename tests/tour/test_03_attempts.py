"""A handler that fails is tried again after a delay, and every try is kept."""

from __future__ import annotations

from tests.support.systems import System

FIXED = {"strategy": "fixed", "base_seconds": 0.1, "jitter": "none"}


def test_the_third_attempt_succeeds_and_all_three_are_on_record(system: System) -> None:
    task = system.submit("echo", {"fail_times": 2}, retry=FIXED)
    done = system.wait(task["id"])
    assert (done["status"], done["attempt"]) == ("completed", 3)
    tries = system.executions(task["id"])
    assert [each["status"] for each in tries] == ["failed", "failed", "succeeded"]
    assert tries[0]["error"]["type"] == "RuntimeError"


def test_a_handler_may_say_when_to_come_back(system: System) -> None:
    done = system.wait(system.submit("comes_back")["id"])
    assert (done["status"], done["result"]) == ("completed", {"attempt": 2})


def test_a_permanent_error_is_not_tried_again(system: System) -> None:
    done = system.wait(system.submit("gives_up")["id"])
    assert (done["status"], done["attempt"]) == ("failed", 1)


def test_a_handler_that_runs_past_its_time_is_ended(system: System) -> None:
    task = system.submit("nap_in_child", {"seconds": 60}, timeout_seconds=0.5, max_attempts=1)
    done = system.wait(task["id"])
    assert done["status"] == "failed"
    assert system.executions(task["id"])[0]["status"] == "timed_out"


def test_a_child_process_that_dies_costs_only_its_own_attempt(system: System) -> None:
    neighbours = system.submit_many([{"type": "nap_in_child", "payload": {"seconds": 0.2}} for _ in range(3)])
    done = system.wait(system.submit("dies", max_attempts=2, retry=FIXED)["id"])
    assert done["error"]["type"] == "HandlerDied"
    assert {task["status"] for task in system.wait_all(neighbours).values()} == {"completed"}
