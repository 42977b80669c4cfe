"""A task's history, told from its parts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from tests.unit.domain.samples import NOW

from taskflow.domain.task import LogLine, TaskEvent
from taskflow.domain.timeline import LiveAttempt, Mark, Timeline, Try

LINE = LogLine


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def make_try(number: int, started: int, finished: int | None, moved_to: str | None, **fields: Any) -> Try:
    """A try whose times are its numbers."""
    given: dict[str, Any] = {
        "number": number, "attempt": number, "life": 1, "status": "failed" if finished else "started",
        "moved_to": moved_to, "queued_at": at(started - 0.5), "started_at": at(started),
        "finished_at": at(finished) if finished else None, "started_seq": started, "finished_seq": finished,
        "worker_id": "w",
    }  # fmt: skip
    return Try(**(given | fields))


def mark(seq: int, status: str | None, data: dict[str, Any], kind: Any = "task") -> Mark:
    return Mark(seq, at(seq), kind, status, msgspec.Raw(msgspec.json.encode(data)))


def timeline(
    status: str,
    horizon: int,
    tries: Sequence[Try] = (),
    marks: Sequence[Mark] = (),
    logs: Sequence[LogLine] = (),
) -> Timeline:
    return Timeline(LiveAttempt(status, at(0), at(0)), horizon, list(tries), list(marks), list(logs))


def told(events: list[TaskEvent]) -> list[tuple[int, str, str | None]]:
    return [(event.seq, event.event, event.status) for event in events]


def statuses(line: Timeline, after: int = 0) -> list[str | None]:
    events = line.events(after)
    assert [event.seq for event in events] == list(range(after + 1, line.horizon + 1))
    return [event.status for event in events]


def test_a_task_that_has_just_come() -> None:
    assert statuses(timeline("queued", 1)) == ["queued"]
    assert statuses(timeline("scheduled", 1)) == ["scheduled"]


def test_a_task_that_ran_once() -> None:
    line = timeline("completed", 3, [make_try(1, 2, 3, "completed", status="succeeded")])
    assert statuses(line) == ["queued", "running", "completed"]
    last = line.events(2)[0]
    assert last.data == {"number": 1, "life": 1, "attempt": 1, "worker_id": "w", "execution": "succeeded"}
    assert last.at == "2026-11-22T12:00:03.000000Z"


def test_numbers_that_no_part_explains_are_moves_to_queued() -> None:
    tries = [make_try(1, 2, 3, "retrying"), make_try(2, 5, 6, "retrying"), make_try(3, 8, 9, "completed")]
    line = timeline("completed", 9, tries)
    assert statuses(line) == [
        "queued", "running", "retrying", "queued", "running", "retrying", "queued", "running", "completed",
    ]  # fmt: skip
    due = line.events(3)[0]
    assert (due.data, due.at) == ({}, "2026-11-22T12:00:04.500000Z")


def test_a_scheduled_task_that_came_due() -> None:
    assert statuses(timeline("queued", 2)) == ["scheduled", "queued"]
    assert statuses(timeline("running", 3, [make_try(1, 3, None, None)])) == [
        "scheduled",
        "queued",
        "running",
    ]


def test_commands_say_what_the_task_was_before_them() -> None:
    cancelled = mark(2, "cancelled", {"by": "x", "from": "scheduled"})
    assert statuses(timeline("cancelled", 2, marks=[cancelled])) == ["scheduled", "cancelled"]
    expired = mark(2, "expired", {"from": "queued"})
    assert statuses(timeline("expired", 2, marks=[expired])) == ["queued", "expired"]
    hurried = mark(2, "queued", {"by": "x", "from": "scheduled", "life": 1})
    assert statuses(timeline("queued", 2, marks=[hurried])) == ["scheduled", "queued"]


def test_cancel_of_a_running_task_leaves_its_try_open() -> None:
    cancel = mark(3, "cancelled", {"by": "x", "from": "running"})
    still_open = make_try(1, 2, None, "cancelled")
    assert statuses(timeline("cancelled", 3, [still_open], [cancel])) == ["queued", "running", "cancelled"]
    closed = make_try(1, 2, None, "cancelled", finished_at=at(9))
    assert statuses(timeline("cancelled", 3, [closed], [cancel])) == ["queued", "running", "cancelled"]


def test_a_replay_begins_the_next_life() -> None:
    tries = [make_try(1, 2, 3, "failed"), make_try(2, 5, 6, "completed", life=2, attempt=1)]
    replay = mark(4, "queued", {"by": "x", "from": "failed", "life": 2})
    line = timeline("completed", 6, tries, [replay])
    assert statuses(line) == ["queued", "running", "failed", "queued", "running", "completed"]
    assert [event.data["life"] for event in line.events(4)] == [2, 2]


def test_logs_and_progress_stand_where_they_happened() -> None:
    logs = [LINE(3, "t3", 1, "info", "a"), LINE(5, "t5", 1, "error", "b")]
    progress = mark(4, None, {"fraction": 0.5, "message": None}, "progress")
    line = timeline("completed", 6, [make_try(1, 2, 6, "completed")], [progress], logs)
    assert told(line.events(0)) == [
        (1, "task", "queued"), (2, "task", "running"), (3, "log", None), (4, "progress", None),
        (5, "log", None), (6, "task", "completed"),
    ]  # fmt: skip
    assert line.events(4)[0].data == {"number": 1, "level": "error", "message": "b"}


def test_resuming_after_any_number_misses_and_repeats_nothing() -> None:
    tries = [make_try(1, 2, 4, "retrying"), make_try(2, 6, 7, "completed")]
    line = timeline("completed", 7, tries, logs=[LINE(3, "t", 1, "info", "x")])
    whole = line.events(0)
    for after in range(9):
        assert line.events(after) == whole[after:]


def test_nothing_beyond_the_horizon_is_told() -> None:
    tries = [make_try(1, 2, 40, "completed")]
    logs = [LINE(seq, "t", 1, "info", "x") for seq in range(3, 11)]
    assert [event.seq for event in timeline("completed", 10, tries, logs=logs).events(0)] == list(
        range(1, 11)
    )


def test_a_move_to_queued_is_not_told_later_than_the_try_that_followed() -> None:
    """A try that went straight back to `queued` does not know when it was queued itself."""
    lost = make_try(1, 3, 4, "queued", status="lost", queued_at=None)
    line = Timeline(LiveAttempt("queued", at(0), at(4)), 4, [lost], [], [])
    times = [event.at for event in line.events(0)]
    assert times == sorted(times)


def test_coming_due_is_not_told_later_than_the_command_that_followed() -> None:
    """Came due, cancelled while queued, replayed: the row knows when it was queued last."""
    again = [mark(3, "cancelled", {"from": "queued"}), mark(4, "queued", {"from": "cancelled"})]
    line = Timeline(LiveAttempt("queued", at(0), at(4)), 4, [], again, [])
    events = line.events(0)
    assert [(event.seq, event.status) for event in events] == [
        (1, "scheduled"), (2, "queued"), (3, "cancelled"), (4, "queued"),
    ]  # fmt: skip
    times = [event.at for event in events]
    assert times == sorted(times)
    assert [event.at for event in line.events(1)] == times[1:]
