"""A caller changes his mind."""

from __future__ import annotations

from tests.support.systems import System


def test_a_waiting_task_is_cancelled(system: System) -> None:
    task = system.submit("echo", delay_seconds=60)
    assert system.post(f"/tasks/{task['id']}/cancel")["status"] == "cancelled"
    again = system.http.post(f"/api/v1/tasks/{task['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "task_finished")
    assert again.json()["current_status"] == "cancelled"


def test_a_running_task_is_cancelled_at_once_and_its_handler_ends(system: System) -> None:
    for kind in ("nap", "nap_in_child"):
        task = system.submit(kind, {"seconds": 30})
        system.until(lambda i=task["id"]: system.get(f"/tasks/{i}")["status"] == "running", "the task runs")
        assert system.post(f"/tasks/{task['id']}/cancel")["status"] == "cancelled"
        system.until(
            lambda i=task["id"]: [e["status"] for e in system.executions(i)] == ["cancelled"],
            f"the handler of {kind} has ended",
            3,
        )


def test_a_cancelled_task_can_be_retried_in_a_new_life(system: System) -> None:
    task = system.submit("echo", {"n": 1}, delay_seconds=60)
    system.post(f"/tasks/{task['id']}/cancel")
    again = system.post(f"/tasks/{task['id']}/retry", expect=202)
    assert (again["status"], again["life"], again["run_at"]) == ("queued", 2, None)
    assert system.wait(task["id"])["result"] == {"n": 1}
