"""A caller submits a task; it is durable once answered, and its result is there to read."""

from __future__ import annotations

from tests.support.systems import System


def test_a_submitted_task_is_executed_and_keeps_its_result(system: System) -> None:
    answer = system.http.post("/api/v1/tasks", json={"type": "demo", "payload": {"hello": "world"}})
    assert answer.status_code == 202
    task = answer.json()
    assert answer.headers["Location"].endswith(f"/api/v1/tasks/{task['id']}")
    assert (task["status"], task["version"], task["life"], task["attempt"]) == ("queued", 1, 1, 0)
    done = system.get(f"/tasks/{task['id']}", wait=10)
    assert done["status"] == "completed"
    assert done["result"] == {"ok": True, "echo": {"hello": "world"}}


def test_a_caller_may_wait_for_the_result_in_one_call(system: System) -> None:
    answer = system.http.post(
        "/api/v1/tasks?wait=10", json={"type": "compute", "payload": {"operation": "sum", "numbers": [1, 2]}}
    )
    assert answer.status_code == 200
    assert answer.json()["result"] == {"operation": "sum", "result": 3}


def test_a_wait_that_ends_first_answers_with_the_task_as_it_is(system: System) -> None:
    answer = system.http.post("/api/v1/tasks?wait=0.2", json={"type": "nap", "payload": {"seconds": 1}})
    assert answer.status_code == 202
    assert answer.json()["status"] in {"queued", "running"}
