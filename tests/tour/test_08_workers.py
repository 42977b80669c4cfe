"""Workers come and go; their tasks do not get lost."""

from __future__ import annotations

import os
import signal

from tests.support.systems import System


def test_a_killed_worker_loses_its_lease_and_its_task_runs_again_elsewhere(system: System) -> None:
    task = system.submit("nap", {"seconds": 4}, max_attempts=3)
    holder = _holder(system, task["id"])
    os.kill(holder["pid"], signal.SIGKILL)
    done = system.wait(task["id"], 40)
    assert done["status"] == "completed"
    assert [each["status"] for each in system.executions(task["id"])] == ["lost", "succeeded"]
    assert done["worker_id"] != holder["id"]


def test_a_worker_told_to_stop_gives_back_what_it_cannot_finish_without_spending_an_attempt(
    system: System,
) -> None:
    system.until(lambda: len(_live(system)) == 2, "both workers are back", 30)
    task = system.submit("nap", {"seconds": 3})
    holder = _holder(system, task["id"])
    os.kill(holder["pid"], signal.SIGTERM)
    done = system.wait(task["id"], 40)
    tries = system.executions(task["id"])
    assert [(each["number"], each["attempt"], each["status"]) for each in tries] == [
        (1, 1, "released"), (2, 1, "succeeded"),
    ]  # fmt: skip
    assert (done["status"], done["attempt"]) == ("completed", 1)


def _live(system: System) -> list[dict[str, object]]:
    return [worker for worker in system.get("/workers")["items"] if worker["status"] == "live"]


def _holder(system: System, task_id: str) -> dict[str, object]:
    """The worker that runs the task."""
    system.until(lambda: system.get(f"/tasks/{task_id}")["status"] == "running", "the task runs")
    worker_id = system.get(f"/tasks/{task_id}")["worker_id"]
    (holder,) = [worker for worker in system.get("/workers")["items"] if worker["id"] == worker_id]
    return holder
