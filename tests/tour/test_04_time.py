"""Tasks may wait for their time, and need not be done after it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.support.systems import System


def test_a_delayed_task_starts_within_a_second_of_its_time(system: System) -> None:
    task = system.submit("echo", delay_seconds=1.5)
    assert (task["status"], task["waiting_for"]) == ("scheduled", "due_time")
    done = system.wait(task["id"])
    due = datetime.fromisoformat(task["run_at"])
    assert timedelta() <= datetime.fromisoformat(done["started_at"]) - due < timedelta(seconds=1)


def test_a_task_nobody_started_in_time_expires(system: System) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    task = system.submit("type_without_a_worker", expires_at=soon)
    done = system.wait(task["id"])
    assert (done["status"], done["attempt"]) == ("expired", 0)
    events = system.get(f"/tasks/{task['id']}/events")["items"]
    assert [event["status"] for event in events] == ["queued", "expired"]
