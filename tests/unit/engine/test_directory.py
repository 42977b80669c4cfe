"""What a task waits for, in a word."""

from __future__ import annotations

from tests.unit.engine.waiting_tasks import DEMO, FULL, directory, make_task, worker


def test_a_foreign_type_and_a_foreign_queue_are_told_apart() -> None:
    other_type = worker("a", queues=["default"], types=["mail"])
    other_queue = worker("b", queues=["mail"], types=["demo"])
    waits = [directory(*w).waiting_for(make_task()) for w in ((other_type,), (other_queue,))]
    assert waits == ["worker_for_type", "worker_for_queue"]


def test_gone_and_draining_workers_do_not_count() -> None:
    gone = worker("a", queues=["default"], types=["demo"], live=False)
    draining = worker("b", queues=["default"], types=["demo"], drain=True)
    assert directory(gone, draining).waiting_for(make_task()) == "worker_for_queue"


def test_busy_slots_are_waited_for() -> None:
    assert directory(FULL).waiting_for(make_task()) == "free_slot"
    assert directory(DEMO).waiting_for(make_task()) is None


def test_slots_that_are_free_for_other_types_do_not_count() -> None:
    idle = worker("b", queues=["default"], types=["mail"])
    assert directory(FULL, idle).waiting_for(make_task()) == "free_slot"
    assert directory(FULL, idle).waiting_for(make_task(type="mail")) is None
    assert directory(FULL, DEMO).waiting_for(make_task()) is None
