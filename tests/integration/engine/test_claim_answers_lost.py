"""A claim is committed and its answer never arrives: the tasks are handed back and run, each once."""

from __future__ import annotations

from collections import Counter

from tests.integration.engine.conftest import LEASE_SECONDS
from tests.support.chaos import Books, extra_service
from tests.support.proxy import lossy_proxy
from tests.support.systems import System


def test_answers_to_claims_are_lost_again_and_again(system: System, truth: Books) -> None:
    nap = {"type": "nap", "queue": "faraway", "payload": {"seconds": 0.01}}
    ids = [task for _ in range(6) for task in system.submit_many([nap] * 50)]
    ids += system.submit_many([{**nap, "max_attempts": 1}] * 50)
    with (
        lossy_proxy(system.facts()["database_url"], 0.2) as proxy,
        extra_service(
            system, "taskflow_worker", DATABASE_URL=proxy.url, WORKER_QUEUES="faraway",
            WORKER_IMPORTS="tests.support.handlers", WORKER_LEASE=f"{LEASE_SECONDS}s", HANDLER_GRACE="1s",
        ),
    ):  # fmt: skip
        truth.until_all("completed", ids, 60)
    tries = truth.tries(ids)
    seen = Counter(status for each in tries.values() for status in each)
    print(f"{proxy.lost} answers lost; tries: {dict(seen)}")
    assert proxy.lost >= 3
    assert set(seen) <= {"succeeded", "released"}
    assert seen["released"] > 0
    assert {row["attempt"] for row in truth.rows(
        "SELECT attempt FROM tasks WHERE id = ANY($1::uuid[])", ids)} == {1}  # fmt: skip
    truth.balance()
