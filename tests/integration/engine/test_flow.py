"""Queues of their own, cancels in every moment, handlers that talk too much, garbage on the bus."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import nats
import pytest
from tests.integration.engine.conftest import LEASE_SECONDS
from tests.support.books import Books
from tests.support.chaos import PIDS_KEPT, extra_service, since
from tests.support.servers import blocking
from tests.support.systems import System
from tests.support.waiting import wait_until_sync

LEASE = {"WORKER_LEASE": f"{LEASE_SECONDS}s", "HANDLER_GRACE": "1s"}


def test_a_queue_of_its_own_runs_in_order_only_where_it_is_served(system: System, truth: Books) -> None:
    served = [w["id"] for w in system.get("/workers")["items"]]
    lanes = {
        lane: system.submit_many([{"type": "echo", "queue": "reports", "priority": lane}] * 40)
        for lane in ("low", "normal", "critical")
    }
    every = [task for ids in lanes.values() for task in ids]
    assert system.get(f"/tasks/{every[0]}")["waiting_for"] == "worker_for_queue"
    mine = {"WORKER_QUEUES": "reports", "WORKER_CONCURRENCY": "1", "WORKER_IMPORTS": "tests.support.handlers"}
    with extra_service(system, "taskflow_worker", **mine, **LEASE):
        truth.until_all("completed", every, 40)
        alone = system.submit_many([{"type": "nap", "queue": "reports", "payload": {"seconds": 0.02}}] * 100)
        truth.until_all("completed", alone, 20)
    ran = truth.rows(
        "SELECT task_id::text AS id, worker_id::text AS worker FROM executions WHERE task_id = ANY($1::uuid[]) "
        "ORDER BY started_at", [*every, *alone],
    )  # fmt: skip
    assert not {row["worker"] for row in ran} & set(served)
    order = [row["id"] for row in ran]
    # Every 16th start is the lowest lane's, and the first are made before all lanes have been heard of.
    assert len(set(order[:40]) & set(lanes["critical"])) >= 30
    # What a full worker gives back stays away for 0.1 s: some five starts.
    places = [alone.index(i) for i in order[len(every) :]]
    late = max(abs(place - turn) for turn, place in enumerate(places))
    assert late <= 12, f"a task started {late} places out of turn: {places}"
    truth.balance()


def test_a_retry_is_answered_with_what_it_made(system: System, truth: Books) -> None:
    """An idle worker starts the task at once: the answer shows it queued nevertheless."""

    def send_off_again(_: int) -> tuple[str, int, int]:
        task_id = system.submit("echo", delay_seconds=600)["id"]
        system.post(f"/tasks/{task_id}/cancel")
        answer = system.post(f"/tasks/{task_id}/retry", expect=202)
        return answer["status"], answer["life"], answer["attempt"]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(send_off_again, range(400))) == {("queued", 2, 0)}
    truth.balance()


def test_cancels_race_with_everything(system: System, truth: Books) -> None:
    dice = random.Random(7)
    plan = [(dice.random() * 0.12, 0.02 * (n % 5)) for n in range(200)]
    others = system.submit_many([{"type": "nap", "payload": {"seconds": 0.02}}] * 200)

    def race(moment: tuple[float, float]) -> tuple[str, int]:
        """Submit, and cancel while it waits, is claimed, runs, or has just ended."""
        before_cancel, nap = moment
        task_id = system.submit("nap", {"seconds": nap}, priority="high")["id"]
        until = time.monotonic() + before_cancel
        wait_until_sync(lambda: time.monotonic() > until, "its moment has come", 5, interval=0.002)
        return task_id, system.http.post(f"/api/v1/tasks/{task_id}/cancel").status_code

    with ThreadPoolExecutor(8) as pool:
        answers = dict(pool.map(race, plan))
    children = system.submit_many([{"type": "nap_in_child", "payload": {"seconds": 30}}] * 4)
    truth.until_all("running", children, 10)
    for task_id in children:
        answers[task_id] = system.http.post(f"/api/v1/tasks/{task_id}/cancel").status_code
    ids = [*others, *answers]
    assert set(answers.values()) <= {200, 409}
    cancelled = [i for i, status in answers.items() if status == 200]
    assert 20 < len(cancelled) < 200
    truth.until_all("cancelled", cancelled, 5)
    truth.until_all("completed", [i for i in ids if i not in set(cancelled)], 20)
    truth.balance(10)
    tries = truth.tries(ids)
    for task_id in cancelled:
        assert tries.get(task_id, []) in ([], ["cancelled"]), tries[task_id]
    by_status = wait_until_sync(lambda: _conserved(system), "accepted = live + terminal + pruned", 5)
    assert by_status is not None
    assert by_status["running"] == 0


def _conserved(system: System) -> dict[str, int] | None:
    by_status = {"running": 0, **system.get("/tasks/stats")["by_status"]}
    accepted = by_status.pop("accepted", None)
    if accepted is not None and accepted != sum(by_status.values()):
        return None
    return by_status


@pytest.mark.timeout(120)
def test_floods_of_lines_and_progress_are_bounded(system: System, truth: Books) -> None:
    floods = [
        system.submit(name, {"times": 20_000})["id"] for name in ("flood", "flood_in_child", "flood", "flood")
    ]
    reports = system.submit_many([{"type": "reports", "payload": {"times": 1_000}}] * 50)
    slowest = 0.0

    def done() -> bool:
        nonlocal slowest
        began = time.monotonic()
        system.get("/tasks", limit=5)
        quick = system.submit("echo", {}, priority="critical")
        assert system.wait(quick["id"], 10)["status"] == "completed"
        slowest = max(slowest, time.monotonic() - began)
        return truth.statuses([*floods, *reports]) == {"completed": 54}

    wait_until_sync(done, "all have said what they had to say", 60, interval=0.1)
    print(f"the slowest call and task beside the floods: {slowest:.2f} s")
    assert slowest < 5
    for task_id in floods:
        count = truth.value("SELECT count(*) FROM task_logs WHERE task_id = $1", task_id)
        assert 1_000 <= count <= 10_000, count
    for task_id in reports:
        progress = system.get(f"/tasks/{task_id}")["progress"]
        assert progress == {"fraction": 1.0, "message": "step 999"}
    truth.balance()


def test_garbage_on_the_bus_harms_nobody(system: System, truth: Books) -> None:
    pids = {name: system.facts()["pids"][name] for name in PIDS_KEPT}
    log = since(system.log)
    good = system.submit("gives_up")["id"]

    async def litter() -> None:
        client = await nats.connect(system.facts()["nats_url"])
        try:
            js = client.jetstream()
            for rubbish in (b"", b"hello", b"\xff\xfe\x00", b"1\n2\n3", b"0" * 36, b"{}"):
                await js.publish("tasks.normal", rubbish)
                await js.publish("tasks.dlq", rubbish)
            await js.publish("tasks.normal", b"01890000-0000-7000-8000-000000000000\nnonsense")
            notice = (
                b'{"dead_letter_id":"x","task_id":"y","life":1,"type":"z","queue":"q","reason":"permanent"}'
            )
            await js.publish("tasks.dlq", notice)
            for command in ("cancel", "pause", "drain", "unknown"):
                for rubbish in (b"", b"[]", b'{"id":7,"queue":[],"type":{},"worker_id":null,"paused":1}'):
                    await client.publish(f"control.{command}", rubbish)
                    await client.publish("events.0", rubbish)
        finally:
            await client.close()

    blocking(litter)
    ids = system.submit_many([{"type": "nap", "payload": {"seconds": 0.02}}] * 300)
    truth.until_all("completed", ids, 20)
    truth.until_all("failed", [good], 10)

    def drained() -> bool:
        return all(count == 0 for count in blocking(lambda: _pending(system)).values())

    wait_until_sync(drained, "the litter is gone from the work queue", 20, interval=0.5)
    assert {name: system.facts()["pids"][name] for name in PIDS_KEPT} == pids, log()[-3000:]
    truth.balance()


async def _pending(system: System) -> dict[str, int]:
    client = await nats.connect(system.facts()["nats_url"])
    try:
        found: dict[str, int] = {}
        for consumer in await client.jetstream().consumers_info("TASKFLOW"):
            if consumer.name.endswith("-default"):
                found[consumer.name] = (consumer.num_pending or 0) + (consumer.num_ack_pending or 0)
        dlq: Any = await client.jetstream().consumer_info("TASKFLOW_DLQ", "taskflow-worker-dlq")
        return {**found, "dlq": (dlq.num_pending or 0) + (dlq.num_ack_pending or 0)}
    finally:
        await client.close()


def test_a_caller_sees_no_5xx_but_503_in_all_of_this(system: System) -> None:
    assert httpx.get(f"{system.facts()['api_url']}/readyz").status_code == 200
    assert "Traceback" not in system.log()
