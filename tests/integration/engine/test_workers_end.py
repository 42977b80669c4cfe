"""Workers that die: what they had in hand is finished, once, by someone. (More of that in tests/chaos.)"""

from __future__ import annotations

from collections import Counter

import pytest
from tests.integration.engine.conftest import LEASE_SECONDS
from tests.support.books import Books
from tests.support.chaos import extra_service, kill
from tests.support.systems import System
from tests.support.waiting import wait_until_sync


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
