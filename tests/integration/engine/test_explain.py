"""Every reason for which a task does not run, made on a real system, and named by `explain` with its numbers."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from nats.js import JetStreamContext
from tests.support import leaks
from tests.support.books import books
from tests.support.chaos import kill, since
from tests.support.jetstream import ask_jetstream
from tests.support.systems import System, running_system

STREAM = "TASKFLOW"
SLOTS = 2
NEVER = {"strategy": "fixed", "base_seconds": 600, "max_seconds": 600, "jitter": "none"}
DEAD_HOST = "http://127.0.0.1:1024"


@pytest.fixture(scope="module")
def shared_system() -> Iterator[System]:
    """One worker with few slots."""
    before = leaks.running()
    with running_system(
        "--workers", "1", WORKER_CONCURRENCY=str(SLOTS), WORKER_BACKOFF_BASE="50ms", WORKER_BACKOFF_MAX="100ms",
    ) as found:  # fmt: skip
        yield found
    leaks.check_none_left(before)


@pytest.fixture
def system(shared_system: System) -> Iterator[System]:
    """The system. What it logs meanwhile is shown with a failure; what a test leaves behind is cancelled."""
    log = since(shared_system.log)
    try:
        yield shared_system
    finally:
        print(log()[-12_000:])
        shared_system.post("/tasks/cancel", {"filter": {}, "all": True}, expect=202)
        shared_system.until(lambda: not _live(shared_system), "nothing is left", 20)


def _live(system: System) -> list[dict[str, Any]]:
    waiting = ["scheduled", "queued", "running", "retrying"]
    items: list[dict[str, Any]] = system.get("/tasks", status=waiting)["items"]
    return items


def explain(system: System, task: dict[str, Any]) -> dict[str, Any]:
    """The explanation, whose word is the task's own."""
    told = system.get(f"/tasks/{task['id']}/explain")
    assert told["id"] == task["id"]
    assert told["reasons"]
    return told


def codes(told: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in told["reasons"]]


def until_told(system: System, task: dict[str, Any], wanted: list[str], seconds: float = 15) -> Any:
    """The explanation, once its reasons are these."""
    return system.until(
        lambda: (told := explain(system, task)) and codes(told) == wanted and told,
        f"{wanted} is told",
        seconds,
    )


@contextmanager
def stopped(system: System, name: str) -> Iterator[None]:
    """A process that stands still."""
    pid = system.facts()["pids"][name]
    kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        kill(pid, signal.SIGCONT)


@contextmanager
def busy(system: System) -> Iterator[None]:
    """All slots are taken."""
    naps = [system.submit("nap", {"seconds": 60}, timeout_seconds=90)["id"] for _ in range(SLOTS)]
    system.until(
        lambda: all(system.get(f"/tasks/{nap}")["status"] == "running" for nap in naps), "naps run", 10
    )
    try:
        yield
    finally:
        for nap in naps:
            system.post(f"/tasks/{nap}/cancel")


def test_its_time_has_not_come(system: System) -> None:
    task = system.submit("echo", delay_seconds=600)
    told = explain(system, task)
    [reason] = told["reasons"]
    assert (reason["code"], told["waiting_for"]) == ("due_time", "due_time")
    assert 590 < reason["numbers"]["seconds"] <= 600
    assert reason["numbers"]["due_at"] == task["run_at"]


def test_its_time_has_come_and_no_scheduler_is_at_work(system: System) -> None:
    with stopped(system, "scheduler"):
        task = system.submit("echo", delay_seconds=0.5)
        [reason] = system.until(
            lambda: (told := explain(system, task)["reasons"])[0]["numbers"]["overdue_seconds"] > 1 and told,
            "it is overdue",
        )
        assert reason["code"] == "due_time"
        assert reason["detail"].endswith("is one running?")
    assert system.wait(task["id"], 10)["status"] == "completed"


def test_a_retry_waits_for_its_delay(system: System, tmp_path: Any) -> None:
    missing = str(tmp_path / "missing")
    task = system.submit("needs_file", {"path": missing}, max_attempts=3, retry=NEVER)
    told = until_told(system, task, ["retry_delay"])
    [reason] = told["reasons"]
    assert told["waiting_for"] == "due_time" == system.get(f"/tasks/{task['id']}")["waiting_for"]
    numbers = reason["numbers"]
    assert (numbers["attempt"], numbers["max_attempts"]) == (1, 3)
    assert numbers["last_error"] == {"type": "FileNotFoundError", "message": missing}
    assert 580 < numbers["seconds"] <= 600
    assert reason["detail"].startswith("attempt 1 of 3 did not succeed (FileNotFoundError: ")


@pytest.mark.parametrize(("kind", "name"), [("queue", "default"), ("type", "compute")])
def test_it_is_paused(system: System, kind: str, name: str) -> None:
    path = f"/{kind}s/{name}"
    if kind == "type":
        system.until(lambda: any(t["name"] == name for t in system.get("/types")["items"]), "it is declared")
    system.post(f"{path}/pause", {"reason": "bad deploy"})
    try:
        system.until(lambda: _is_held_back(system), "the pause has reached the worker")
        task = system.submit("compute", {"operation": "sum", "numbers": [1]})
        told = explain(system, task)
        [reason] = told["reasons"]
        assert reason["code"] == told["waiting_for"] == f"{kind}_paused"
        assert reason["numbers"] | {"since": None} == {
            kind: name, "by": "local", "reason": "bad deploy", "since": None,
        }  # fmt: skip
        assert abs(datetime.fromisoformat(reason["numbers"]["since"]).timestamp() - time.time()) < 60
        assert "by local since" in reason["detail"]
        assert f"POST /api/v1{path}/resume" in reason["detail"]
    finally:
        system.post(f"{path}/resume")
    assert system.wait(task["id"], 15)["status"] == "completed"


def _is_held_back(system: System) -> bool:
    """A new task of this type is not started."""
    task = system.submit("compute", {"operation": "sum", "numbers": [1]})
    return bool(system.get(f"/tasks/{task['id']}", wait=0.3)["status"] == "queued")


def test_nobody_serves_its_queue(system: System) -> None:
    task = system.submit("echo", queue="reports")
    told = explain(system, task)
    [reason] = told["reasons"]
    assert reason["code"] == told["waiting_for"] == "worker_for_queue"
    assert reason["numbers"] == {"queue": "reports", "workers_live": 1, "queues_served": ["default"]}
    assert "WORKER_QUEUES" in reason["detail"]


def test_nobody_declares_its_type(system: System) -> None:
    task = system.submit("proces_data")
    told = explain(system, task)
    [reason] = told["reasons"]
    assert reason["code"] == told["waiting_for"] == "worker_for_type"
    assert reason["numbers"]["workers_of_queue"] == 1
    assert reason["numbers"]["types_alike"][0] == "process_data"
    assert "did you mean process_data" in reason["detail"]
    truth = books(system)
    parked = "SELECT rung_at = 'infinity' FROM tasks WHERE id = $1"
    system.until(lambda: truth.value(parked, task["id"]), "it is parked")
    assert codes(explain(system, task)) == ["worker_for_type"]


def test_all_slots_are_busy(system: System) -> None:
    with busy(system):
        ids = system.submit_many([{"type": "echo"}] * 5)
        high = system.submit("echo", priority="high")
        told = explain(system, {"id": max(ids)})
        [reason] = told["reasons"]
        assert reason["code"] == told["waiting_for"] == "free_slot"
        numbers = reason["numbers"]
        assert {name: numbers[name] for name in ("slots", "busy", "slots_free", "waiting")} == {
            "slots": SLOTS, "busy": SLOTS, "slots_free": 0, "waiting": 6,
        }  # fmt: skip
        assert (numbers["position"], numbers["position_is_at_least"]) == (5, False)
        assert explain(system, high)["reasons"][0]["numbers"]["position"] == 0
        places = [explain(system, {"id": one})["reasons"][0]["numbers"]["position"] for one in sorted(ids)]
        assert places == [1, 2, 3, 4, 5]
        # what a queue that has been at work for some minutes has
        books(system).rows(
            "INSERT INTO stat_series (step_seconds, at, queue, type, started) "
            "VALUES (60, date_trunc('minute', now()) - interval '3 minutes', 'default', 'rated', 600)"
        )
        [rated] = explain(system, {"id": max(ids)})["reasons"]
        assert rated["numbers"]["estimated_by"] == "starts_per_second"
        rate = rated["numbers"]["starts_per_second"]
        assert rate >= 2
        assert rated["numbers"]["estimated_start_seconds"] == pytest.approx(6 / rate, rel=0.01)
        assert f"5 tasks start before it; it may start in {6 / rate:.1f} s" in rated["detail"]
        system.until(
            lambda: system.get(f"/tasks/{max(ids)}")["waiting_for"] == "free_slot", "the task says so"
        )
    done = system.wait_all([*ids, high["id"]])
    assert {task["status"] for task in done.values()} == {"completed"}


def test_without_figures_the_start_is_estimated_by_the_time_its_type_takes(system: System) -> None:
    truth = books(system)
    with stopped(system, "scheduler"), busy(system):  # which else folds what has started
        truth.rows("DELETE FROM stat_series")
        task = system.submit("loaded_modules")
        [unknown] = explain(system, task)["reasons"]
        assert unknown["numbers"]["estimated_start_seconds"] is None
        assert unknown["numbers"]["estimated_by"].startswith("unknown: none started")
        runs = [0] * 60
        runs[41] = 10  # of 1.02 to 1.22 s
        truth.rows(
            "INSERT INTO stat_series (step_seconds, at, queue, type, runs) "
            "VALUES (3600, date_trunc('hour', now()) - interval '1 h', 'default', 'loaded_modules', $1::integer[])", runs,
        )  # fmt: skip
        [known] = explain(system, task)["reasons"]
        assert known["numbers"]["estimated_by"] == "run_seconds"
        assert known["numbers"]["estimated_start_seconds"] == pytest.approx(
            known["numbers"]["run_seconds"] / SLOTS, rel=0.01
        )


def test_nats_is_away(system: System) -> None:
    with stopped(system, "nats"):
        task = system.submit("echo")
        began = time.monotonic()
        told = explain(system, task)
        assert time.monotonic() - began < 3
        assert codes(told) == ["bus_away"]
        assert told["waiting_for"] is None
        noticed = system.until(
            lambda: (found := explain(system, task)["reasons"][0])["numbers"]["nats"].startswith("NATS is not")
            and found,
            "the api has noticed", 20,
        )  # fmt: skip
        assert noticed["code"] == "bus_away"
        assert (noticed["numbers"]["position"], noticed["numbers"]["estimated_start_seconds"]) == (0, None)
        assert "it waits in PostgreSQL and runs once NATS is back" in noticed["detail"]
    assert system.wait(task["id"], 30)["status"] == "completed"


def test_its_doorbell_is_lost(system: System) -> None:
    url = system.facts()["nats_url"]

    async def last(js: JetStreamContext) -> int:
        return (await js.get_last_msg(STREAM, "tasks.normal")).seq or 0

    async def remove_last(js: JetStreamContext) -> None:
        await js.delete_msg(STREAM, await last(js))

    with stopped(system, "scheduler"):
        with busy(system):
            older = system.submit("echo")
            assert codes(explain(system, older)) == ["free_slot"]
            ask_jetstream(url, remove_last)
            assert codes(explain(system, older)) == ["free_slot"], "it may be on its way"
            told = until_told(system, older, ["free_slot", "doorbell_lost"])
            lost = told["reasons"][1]
            rung_at = datetime.fromisoformat(lost["numbers"]["rung_at"])
            age = datetime.fromisoformat(told["as_of"]) - rung_at
            assert 5 < age.total_seconds() < 20
            assert lost["numbers"]["oldest_doorbell_at"] is None
            assert lost["detail"].startswith("no doorbell yet (healing): its lane has none")
            younger = system.submit("echo")
            [_, lost] = explain(system, older)["reasons"]
            oldest = datetime.fromisoformat(lost["numbers"]["oldest_doorbell_at"])
            assert (oldest - rung_at).total_seconds() > 5
            assert "younger" in lost["detail"]
            assert codes(explain(system, younger)) == ["free_slot"]
        assert system.wait(younger["id"], 10)["status"] == "completed"
        told = until_told(system, older, ["doorbell_lost"])
        assert told["waiting_for"] is None
        assert told["reasons"][0]["numbers"]["heals_within_seconds"] == 5
    assert system.wait(older["id"], 15)["status"] == "completed"


def test_the_stream_of_tasks_is_missing(system: System) -> None:
    async def remove(js: JetStreamContext) -> None:
        await js.delete_stream(STREAM)

    with stopped(system, "scheduler"):
        ask_jetstream(system.facts()["nats_url"], remove)
        task = system.submit("echo")
        [reason] = explain(system, task)["reasons"]
        assert reason["code"] == "doorbell_lost"
        assert "the stream of tasks is missing" in reason["detail"]
    assert system.wait(task["id"], 30)["status"] == "completed"


def test_its_attempts_are_spent(system: System, tmp_path: Any) -> None:
    cause = tmp_path / "cause"
    task = system.submit("needs_file", {"path": str(cause)}, max_attempts=2)
    assert system.wait(task["id"])["status"] == "failed"
    told = explain(system, task)
    [reason] = told["reasons"]
    assert (reason["code"], told["waiting_for"]) == ("attempts_spent", None)
    [letter] = [one for one in system.list_all("/dead-letters") if one["task_id"] == task["id"]]
    numbers = reason["numbers"]
    assert numbers["dead_letter_id"] == letter["id"]
    assert (numbers["attempt"], numbers["max_attempts"], numbers["dead_letter_status"]) == (2, 2, "pending")
    assert numbers["last_error"] == {"type": "FileNotFoundError", "message": str(cause)}
    way_on = f"/tasks/{task['id']}/retry"
    assert f"POST /api/v1{way_on} gives it a new life" in reason["detail"]
    cause.touch()
    system.post(way_on, expect=202)
    assert system.wait(task["id"])["status"] == "completed"
    assert codes(explain(system, task)) == ["finished"]


def test_other_ends_and_a_running_task_say_so(system: System) -> None:
    given_up = system.submit("gives_up")
    cancelled = system.submit("echo", delay_seconds=600)
    expired = system.submit("echo", delay_seconds=600)
    system.post(f"/tasks/{cancelled['id']}/cancel")
    books(system).rows("UPDATE tasks SET expires_at = now() WHERE id = $1", expired["id"])
    for task, said in (
        (given_up, "no further attempt can help (PermanentError: no attempt can help)"),
        (cancelled, "it was cancelled"),
        (expired, "it had not started by its expires_at"),
    ):
        system.wait(task["id"])
        [reason] = explain(system, task)["reasons"]
        assert reason["code"] == "finished"
        assert said in reason["detail"]
    assert explain(system, given_up)["reasons"][0]["numbers"]["reason"] == "permanent"
    nap = system.submit("nap", {"seconds": 30})
    system.until(lambda: system.get(f"/tasks/{nap['id']}")["status"] == "running", "it runs")
    [reason] = explain(system, nap)["reasons"]
    assert (reason["code"], reason["numbers"]["attempt"]) == ("running", 1)


def test_the_host_of_a_push_has_failed_too_often(system: System) -> None:
    def handed_back() -> dict[str, Any] | None:
        body = {"target": {"url": f"{DEAD_HOST}/work"}, "max_attempts": 1}
        task = system.answered(system.http.post("/api/v1/tasks", json=body), 202)
        now = system.get(f"/tasks/{task['id']}", wait=1)
        return now if now["status"] == "retrying" else None

    task = system.until(handed_back, "one is handed back", 30)
    told = explain(system, task)
    assert codes(told) == ["retry_delay", "push_host"]
    delay, host = told["reasons"]
    assert delay["detail"].startswith("it was handed back, which spends no attempt (Deferred: ")
    assert host["numbers"]["host"] == DEAD_HOST
    assert host["numbers"]["failures"] >= 5
    assert 0 < host["numbers"]["open_seconds"] <= 10
