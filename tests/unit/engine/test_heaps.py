"""In which order entries of one lane come out: each queue's own, and the queues in turns."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from taskflow.engine.heaps import Entry, Heap


def entry(queue: str, sequence: int, since: float = 0.0) -> Entry:
    delivery: Any = SimpleNamespace(sequence=sequence)
    return Entry(f"{queue}{sequence}", 2, queue, delivery, since)


def heap(*entries: Entry) -> Heap:
    filled = Heap()
    for each in entries:
        filled.add(each)
    return filled


def taken(full: Heap) -> list[str]:
    return [full.take().id for _ in range(len(full))]


def test_a_queue_keeps_the_order_of_the_stream_whatever_comes_late() -> None:
    assert taken(heap(*(entry("a", n) for n in (3, 5, 1, 4, 2)))) == ["a1", "a2", "a3", "a4", "a5"]


def test_ids_of_one_message_keep_their_order() -> None:
    both = heap(*(Entry(str(n), 2, "a", entry("a", 7).delivery, 0) for n in range(3)))
    both.add(entry("a", 6))
    assert taken(both) == ["a6", "0", "1", "2"]


def test_a_young_queue_does_not_wait_for_an_old_backlog() -> None:
    full = heap(*(entry("old", n) for n in range(100)), entry("young", 1_000), entry("young", 1_001))
    assert taken(full)[:5] == ["old0", "young1000", "old1", "young1001", "old2"]


def test_shed_takes_the_youngest_of_each_queue_in_turn() -> None:
    full = heap(*(entry(queue, n) for n in range(3) for queue in "ab"))
    assert [full.shed().id for _ in range(4)] == ["b2", "a2", "b1", "a1"]
    assert taken(full) == ["a0", "b0"]


def test_what_is_dropped_is_gone_and_the_rest_keeps_its_order() -> None:
    full = heap(*(entry(queue, n, since=n) for n in range(4) for queue in "ab"))
    full.take()
    assert sorted(each.id for each in full.drop(lambda each: each.since < 2)) == ["a1", "b0", "b1"]
    assert len(full) == 4
    assert taken(full) == ["b2", "a2", "b3", "a3"]
    assert len(full) == 0
