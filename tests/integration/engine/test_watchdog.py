"""Ways of not ending beside those of the chaos cells `a blocked event loop` and `a coroutine that swallows its cancel`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.books import Books, books
from tests.support.chaos import Extra, extra_service
from tests.support.systems import System
from tests.support.waiting import wait_until_sync

QUEUE = "stuck"
GRACE_SECONDS = 1.0
LEASE_SECONDS = 2.0


@pytest.fixture
def worker(system: System) -> Iterator[Extra]:
    """A worker of its own for the queue of these tests; it is expected to die."""
    with extra_service(
        system, "taskflow_worker", codes={0, 70, -signal.SIGPROF},
        WORKER_IMPORTS="tests.support.stuck_handlers,tests.support.handlers", WORKER_QUEUES=QUEUE,
        WORKER_CONCURRENCY="20", WORKER_LEASE=f"{LEASE_SECONDS}s", HANDLER_GRACE=f"{GRACE_SECONDS}s",
        WORKER_BACKOFF_BASE="100ms",
    ) as extra:  # fmt: skip
        yield extra


def begin(system: System, type_: str, path: Path, **fields: object) -> dict[str, object]:
    """Submit a handler that gets stuck beside ten others, and wait until it is."""
    neighbours = [{"type": "nap", "payload": {"seconds": 4}, "queue": QUEUE} for _ in range(10)]
    ids = system.submit_many(neighbours)
    books(system).until_all("running", ids, 20)
    stuck = system.submit(type_, {"path": str(path)}, queue=QUEUE, max_attempts=1, **fields)
    wait_until_sync(path.exists, "it runs", 10)
    return {"id": stuck["id"], "neighbours": ids}


def ended(worker: Extra, seconds: float = 15) -> int:
    """The exit code of a worker that is about to end itself."""
    return worker.process.wait(seconds)


def finish(system: System, neighbours: list[str], expected: list[str]) -> None:
    """Another worker takes over: the neighbours complete, and none has spent an attempt."""
    with extra_service(
        system, "taskflow_worker", WORKER_IMPORTS="tests.support.handlers", WORKER_QUEUES=QUEUE,
        WORKER_CONCURRENCY="20", WORKER_LEASE=f"{LEASE_SECONDS}s",
    ):  # fmt: skip
        truth = books(system)
        truth.until_all("completed", neighbours, 30)
        assert {tuple(tries) for tries in truth.tries(neighbours).values()} == {tuple(expected)}
        found = truth.rows("SELECT DISTINCT attempt FROM tasks WHERE id = ANY($1::uuid[])", neighbours)
        assert [row["attempt"] for row in found] == [1]


def test_a_cancel_that_a_blocked_loop_cannot_hear_costs_the_process_too(
    system: System, truth: Books, worker: Extra, tmp_path: Path
) -> None:
    begun = begin(system, "spins_on_loop", tmp_path / "pid", timeout_seconds=3_600)
    system.post(f"/tasks/{begun['id']}/cancel")
    assert ended(worker) == 70
    assert truth.tries([begun["id"]]) == {begun["id"]: ["cancelled"]}
    assert "spins_on_loop" in worker.log(), "the log shows where the loop was blocked"
    finish(system, begun["neighbours"], ["released", "succeeded"])
    truth.balance()


def test_a_blocked_loop_with_time_left_is_left_alone(
    system: System, truth: Books, worker: Extra, tmp_path: Path
) -> None:
    seconds = LEASE_SECONDS * 2.5
    task = system.submit("blocks_loop", {"seconds": seconds, "path": str(tmp_path / "pid")}, queue=QUEUE)
    assert system.wait(task["id"])["result"] == "at last"
    assert truth.tries([task["id"]]) == {task["id"]: ["succeeded"]}
    assert worker.process.poll() is None


def test_the_kernel_ends_a_process_whose_interpreter_is_hogged(
    system: System, truth: Books, worker: Extra, tmp_path: Path
) -> None:
    task = system.submit("hogs_interpreter", {"path": str(tmp_path / "pid")}, queue=QUEUE, max_attempts=1)
    assert ended(worker, 60) == -signal.SIGPROF
    assert "hogs_interpreter" in worker.log(), "the log shows what it computed"
    truth.until_all("failed", [task["id"]], 10)
    assert truth.tries([task["id"]]) == {task["id"]: ["lost"]}


def test_an_idle_worker_whose_loop_is_blocked_ends_itself(
    system: System, truth: Books, worker: Extra, tmp_path: Path
) -> None:
    task = system.submit("leaves_a_spinner", {"path": str(tmp_path / "pid")}, queue=QUEUE)
    assert system.wait(task["id"])["result"] == "fine"
    assert ended(worker, 20) == 70
    truth.balance()


def test_a_child_past_its_time_is_killed_while_the_loop_is_blocked(
    system: System, truth: Books, worker: Extra, tmp_path: Path
) -> None:
    child = system.submit("nap_in_child", {"seconds": 60}, queue=QUEUE, timeout_seconds=3, max_attempts=1)
    truth.until_all("running", [child["id"]], 10)
    body = {"seconds": 9, "path": str(tmp_path / "pid")}
    blocker = system.submit("blocks_loop", body, queue=QUEUE)
    assert system.wait(blocker["id"])["result"] == "at last"
    truth.until_all("failed", [child["id"]], 10)
    assert truth.tries([child["id"]]) == {child["id"]: ["timed_out"]}
    assert worker.process.poll() is None
