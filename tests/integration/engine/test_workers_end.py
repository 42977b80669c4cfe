"""Workers that drain, die and stand still: what they had in hand is finished, once, by someone."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest
from tests.integration.engine.conftest import LEASE_SECONDS
from tests.support.chaos import Books, extra_service, kill, rung_again, since, until_replaced, until_workers
from tests.support.systems import System
from tests.support.waiting import wait_until_sync


def busiest(system: System, truth: Books, at_least: int = 2) -> int:
    """The pid of a worker that runs several tasks."""
    pids = system.facts()["pids"]["workers"]

    def found() -> int | None:
        return next((pid for pid in pids if len(truth.running_on(pid)) >= at_least), None)

    pid = wait_until_sync(found, f"a worker runs {at_least} tasks", 15)
    assert pid is not None
    return pid


def test_a_drain_of_all_workers_spends_no_attempt(system: System, truth: Books) -> None:
    log = since(system.log)
    pids = system.facts()["pids"]["workers"]
    nap = {"type": "nap", "payload": {"seconds": 0.3}}
    ids = system.submit_many([nap] * 290 + [{**nap, "max_attempts": 1}] * 10)
    busiest(system, truth)
    for pid in pids:
        kill(pid, signal.SIGTERM)
    truth.until_all("completed", ids, 45)
    assert {row["attempt"] for row in truth.rows(
        "SELECT attempt FROM tasks WHERE id = ANY($1::uuid[])", ids)} == {1}  # fmt: skip
    assert {status for tries in truth.tries(ids).values() for status in tries} <= {"succeeded", "released"}
    ended = [line for line in log().splitlines() if "ended" in line and "how=" in line]
    assert len(ended) == 3, ended
    assert all("exit code 0" in line for line in ended), ended
    truth.balance()


def test_a_killed_worker_and_two_schedulers(system: System, truth: Books) -> None:
    """Its tasks run again within a lease and ten seconds, each lost once, though two schedulers look for them."""
    log = since(system.log)
    with extra_service(system, "taskflow_scheduler", WORKER_LEASE=f"{LEASE_SECONDS}s") as second:
        nap = {"type": "nap", "payload": {"seconds": 3}}
        ids = system.submit_many([nap] * 18 + [{**nap, "max_attempts": 1}] * 6)
        due = system.submit_many([{"type": "echo", "delay_seconds": 2}] * 300)
        dead = system.submit_many([{"type": "gives_up"}] * 50)
        pid = busiest(system, truth, 4)
        kill(pid)
        killed_at = time.monotonic()
        lost = [i for i in truth.running_on(pid) if i in ids]
        assert lost
        single = [i for i in ids[18:] if i in lost]
        again = [i for i in lost if i not in single]

        def all_lost() -> bool:
            tries = truth.tries(lost)
            return all(tries.get(i, [""])[0] == "lost" for i in lost)

        wait_until_sync(all_lost, "all its tasks are lost", LEASE_SECONDS + 10, interval=0.2)
        truth.until_all("completed", [i for i in ids if i not in single], LEASE_SECONDS + 10 + 3 * 3)
        seconds = time.monotonic() - killed_at
        tries = truth.tries(lost)
        # `released`: it waited in vain for a process of its own.
        assert {tuple(one for one in tries[i] if one != "released") for i in again} <= {("lost", "succeeded")}
        assert {tuple(tries[i]) for i in single} <= {("lost",)}
        for task_id in single:
            letters = system.get("/dead-letters", limit=200)["items"]
            (letter,) = [letter for letter in letters if letter["task_id"] == task_id]
            assert letter["reason"] == "attempts_exhausted"
        truth.until_all("completed", due, 15)
        truth.until_all("failed", dead, 15)
        assert all(tries == ["succeeded"] for tries in truth.tries(due).values())
        assert truth.value("SELECT count(*) FROM dead_letters WHERE task_id = ANY($1::uuid[])", dead) == 50
        print(f"{len(lost)} tasks of the killed worker were over after {seconds:.1f} s")
        assert second.process.poll() is None
        assert not rung_again(log())
        assert not rung_again(second.log())
    until_replaced(system, "workers", pid)
    truth.balance()


def test_a_worker_that_stood_still_changes_nothing_and_works_on_under_another_id(
    system: System, truth: Books
) -> None:
    ids = system.submit_many([{"type": "nap", "payload": {"seconds": 2.5}}] * 15)
    pid = busiest(system, truth)
    (old_id,) = {
        w["id"] for w in system.get("/workers")["items"] if w["pid"] == pid and w["status"] == "live"
    }
    kill(pid, signal.SIGSTOP)
    try:
        lost = truth.running_on(pid)
        truth.until_all("completed", ids, 30)
    finally:
        kill(pid, signal.SIGCONT)
    assert lost
    until_workers(system, 3)

    def renewed() -> bool:
        workers = system.get("/workers")["items"]
        return any(w["pid"] == pid and w["status"] == "live" and w["id"] != old_id for w in workers)

    wait_until_sync(renewed, "the worker has another id", 10)
    assert os.path.exists(f"/proc/{pid}")
    tries = truth.tries(ids)
    assert {tuple(one for one in tries[i] if one != "released") for i in lost} == {("lost", "succeeded")}
    new_ids = {w["id"] for w in system.get("/workers")["items"] if w["pid"] == pid and w["id"] != old_id}

    def works() -> bool:
        system.submit_many([{"type": "nap", "payload": {"seconds": 0.02}}] * 60)
        return bool(truth.value(
            "SELECT count(*) FROM executions WHERE worker_id = ANY($1::uuid[])", list(new_ids)))  # fmt: skip

    wait_until_sync(works, "it runs tasks under the new id", 15, interval=0.3)
    truth.balance()


@pytest.mark.timeout(90)
def test_tasks_that_lost_their_worker_wait_for_a_process_of_their_own_without_being_spent(
    system: System, truth: Books
) -> None:
    """They run a few at a time; those that wait may be cancelled, and their waiting is no timeout."""
    queue = {"WORKER_QUEUES": "frail", "WORKER_LEASE": f"{LEASE_SECONDS}s", "HANDLER_GRACE": "1s",
             "WORKER_IMPORTS": "tests.support.handlers", "WORKER_CONCURRENCY": "14"}  # fmt: skip
    nap = {"type": "nap", "queue": "frail", "payload": {"seconds": 1.5}, "timeout_seconds": 4}
    with extra_service(system, "taskflow_worker", **queue) as first:
        ids = system.submit_many([nap] * 14)
        wait_until_sync(lambda: len(truth.running_on(first.process.pid)) == 14, "all run", 15)
        kill(first.process.pid)
    with extra_service(system, "taskflow_worker", **queue):
        wait_until_sync(
            lambda: truth.value(
                "SELECT count(*) FROM tasks WHERE id = ANY($1::uuid[]) AND status = 'running' AND losses = 1", ids) == 14,
            "all are claimed again", 20,
        )  # fmt: skip
        cancelled, rest = ids[-1], ids[:-1]
        system.post(f"/tasks/{cancelled}/cancel")
        truth.until_all("completed", rest, 60)
    tries = truth.tries(ids)
    seen = Counter(status for i in rest for status in tries[i])
    assert set(seen) <= {"lost", "released", "succeeded"}, seen
    assert seen["lost"] == seen["succeeded"] == 13
    assert seen["released"] < 30
    assert tries[cancelled][-1] == "cancelled"
    truth.balance()
