"""A task that does not run says why."""

from __future__ import annotations

from typing import Any

from tests.support.systems import System


def test_a_type_without_a_worker_waits_and_says_so(system: System) -> None:
    task = system.submit("type_of_tomorrow")
    system.until(
        lambda: system.get(f"/tasks/{task['id']}")["waiting_for"] == "worker_for_type", "the task says why"
    )
    explained = system.get(f"/tasks/{task['id']}/explain")
    assert [reason["code"] for reason in explained["reasons"]] == ["worker_for_type"]
    system.post(f"/tasks/{task['id']}/cancel")


def test_a_queue_without_a_worker_waits_and_says_so(system: System) -> None:
    task = system.submit("echo", queue="nobody-here")
    assert system.get(f"/tasks/{task['id']}")["waiting_for"] == "worker_for_queue"
    system.post(f"/tasks/{task['id']}/cancel")


def test_a_paused_queue_starts_nothing_until_it_is_resumed(system: System) -> None:
    system.post("/queues/default/pause")
    try:
        task = system.until(lambda: _left_waiting(system), "the pause has reached every worker", 5)
        assert system.get(f"/tasks/{task['id']}", wait=2)["waiting_for"] == "queue_paused"
    finally:
        system.post("/queues/default/resume")
    assert system.wait(task["id"], 10)["status"] == "completed"


def _left_waiting(system: System) -> dict[str, Any] | None:
    """A new task, if nobody starts it."""
    task = system.get(f"/tasks/{system.submit('echo')['id']}", wait=0.3)
    return task if task["status"] == "queued" else None


def test_a_paused_type_starts_nothing_until_it_is_resumed(system: System) -> None:
    system.post("/types/compute/pause")
    try:
        system.until(
            lambda: system.get("/types")["items"] and _paused(system, "compute"), "the type is paused"
        )
        task = system.submit("compute", {"operation": "sum", "numbers": [2]})
        other = system.submit("echo")
        assert system.wait(other["id"], 10)["status"] == "completed"
        assert system.get(f"/tasks/{task['id']}", wait=1)["waiting_for"] == "type_paused"
    finally:
        system.post("/types/compute/resume")
    assert system.wait(task["id"], 10)["result"] == {"operation": "sum", "result": 2}


def _paused(system: System, name: str) -> bool:
    return any(item["paused"] for item in system.get("/types")["items"] if item["name"] == name)
