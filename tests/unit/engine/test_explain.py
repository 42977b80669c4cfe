"""Why a task does not run now: judged by what a directory knows."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from taskflow.domain.retry import RetryPolicy
from taskflow.domain.task import Task
from taskflow.engine.directory import Directory
from taskflow.engine.explain import explain
from taskflow.kit.clock import rfc3339
from taskflow.store.catalog import QueueRow
from taskflow.store.connect import Database
from taskflow.store.workers import WorkerRow, served

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BUSY = QueueRow("default", False, {0: 0, 1: 2, 2: 5, 3: 0}, 4, NOW)


def make_task(status: str = "queued", **fields: Any) -> Task:
    kept: dict[str, Any] = {
        "id": "t", "type": "demo", "name": None, "queue": "default", "priority": "normal",
        "waiting_for": None, "version": 1, "life": 1, "attempt": 0, "max_attempts": 5,
        "payload": msgspec.Raw(b"{}"), "result": None, "error": None, "progress": None, "tags": [],
        "metadata": msgspec.Raw(b"{}"), "timeout_seconds": 30.0, "retry": RetryPolicy(), "run_at": None,
        "next_attempt_at": None, "expires_at": None, "created_at": rfc3339(NOW), "queued_at": None,
        "started_at": None, "finished_at": None, "worker_id": None, "owner_id": None, "callback": None,
        "target": None,
    }  # fmt: skip
    return Task(status=status, **(kept | fields))


def worker(name: str, *, queues: list[str], types: list[str], **fields: Any) -> WorkerRow:
    kept: dict[str, Any] = {
        "host": "h", "pid": 1, "version": "0", "slots": 4, "running": 0, "drain": False, "live": True,
        "seen_at": NOW,
    }  # fmt: skip
    return WorkerRow(id=name, queues=queues, types=types, **(kept | fields))


def directory(
    *workers: WorkerRow, queues: set[str] | None = None, types: set[str] | None = None
) -> Directory:
    """A directory that has just read this; it does not ask its database again."""
    known = Directory(Database("postgresql://nowhere", application="test"))
    known.workers = list(workers)
    known.paused_queues, known.paused_types = queues or set(), types or set()
    known._served = served(workers)
    known._read_at = time.monotonic()
    return known


DEMO = worker("a", queues=["default"], types=["demo"])
FULL = worker("a", queues=["default"], types=["demo"], running=4)


def codes(task: Task, known: Directory, queue: QueueRow | None = BUSY) -> list[str]:
    return [reason.code for reason in explain(task, known, queue, NOW).reasons]


def test_nothing_blocks_a_task_that_may_start() -> None:
    assert codes(make_task(), directory(DEMO)) == []
    assert directory(DEMO).waiting_for(make_task()) is None


def test_ended_and_running_tasks_say_so_first() -> None:
    ended = explain(make_task("completed", finished_at="x"), directory(), None, NOW)
    assert [(r.code, r.numbers) for r in ended.reasons] == [("finished", {"finished_at": "x"})]
    running = explain(make_task("running", started_at="x", worker_id="w"), directory(), None, NOW)
    assert [r.code for r in running.reasons] == ["running"]
    assert running.reasons[0].numbers == {"started_at": "x", "worker_id": "w"}


def test_reasons_come_in_the_order_in_which_they_must_go() -> None:
    due = rfc3339(NOW + timedelta(seconds=90))
    task = make_task("retrying", next_attempt_at=due)
    known = directory(queues={"default"}, types={"demo"})
    reasons = explain(task, known, BUSY, NOW).reasons
    assert [r.code for r in reasons] == ["due_time", "queue_paused", "type_paused", "worker_for_queue"]
    assert reasons[0].numbers == {"due_at": due, "seconds": 90.0}
    assert "next attempt" in reasons[0].detail


def test_a_due_time_that_has_passed_counts_no_seconds() -> None:
    task = make_task("scheduled", next_attempt_at=rfc3339(NOW - timedelta(seconds=1)))
    reasons = explain(task, directory(DEMO), BUSY, NOW).reasons
    assert [(r.code, r.numbers["seconds"]) for r in reasons] == [("due_time", 0.0)]


def test_a_foreign_type_and_a_foreign_queue_are_told_apart() -> None:
    other_type = worker("a", queues=["default"], types=["mail"])
    other_queue = worker("b", queues=["mail"], types=["demo"])
    assert codes(make_task(), directory(other_type, other_queue)) == ["worker_for_type"]
    assert codes(make_task(), directory(other_queue)) == ["worker_for_queue"]
    waits = [directory(*w).waiting_for(make_task()) for w in ((other_type,), (other_queue,))]
    assert waits == ["worker_for_type", "worker_for_queue"]


def test_gone_and_draining_workers_do_not_count() -> None:
    gone = worker("a", queues=["default"], types=["demo"], live=False)
    draining = worker("b", queues=["default"], types=["demo"], drain=True)
    assert codes(make_task(), directory(gone, draining)) == ["worker_for_queue"]


def test_busy_slots_are_told_with_numbers() -> None:
    reasons = explain(make_task(), directory(FULL), BUSY, NOW).reasons
    assert [(r.code, r.numbers) for r in reasons] == [
        ("free_slot", {"slots": 4, "slots_free": 0, "waiting": 7})
    ]
    assert codes(make_task("scheduled"), directory(FULL)) == []
    assert directory(FULL).waiting_for(make_task()) == "free_slot"


def test_the_word_is_the_first_reason() -> None:
    """`waiting_for` on the task and the explanation must not contradict each other."""
    due = rfc3339(NOW + timedelta(seconds=5))
    for known in (
        directory(), directory(FULL), directory(DEMO, queues={"default"}), directory(DEMO, types={"demo"}),
        directory(DEMO), directory(worker("x", queues=["default"], types=["mail"])),
    ):  # fmt: skip
        for status in ("queued", "retrying", "scheduled"):
            task = make_task(status, next_attempt_at=None if status == "queued" else due)
            first = next(iter(codes(task, known)), None)
            assert first == known.waiting_for(task)
