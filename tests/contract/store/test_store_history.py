"""History: numbered by the task, in the order of commits, without a gap."""

from __future__ import annotations

import asyncio

import asyncpg
import msgspec
from tests.contract.store import world
from tests.contract.store.conftest import Connect
from tests.contract.store.world import DONE, FAILED, LOST

from taskflow.domain.account import By
from taskflow.domain.task import LOCAL_OWNER, Claimed, TaskEvent
from taskflow.kit.clock import now
from taskflow.kit.ids import new_id
from taskflow.store.commands import cancel_tasks, retry_tasks
from taskflow.store.history import (
    Asked,
    Line,
    append_lines,
    read_executions,
    read_logs,
    read_timelines,
    task_exists,
)
from taskflow.store.tending import turn_tasks


def log(task: Claimed, text: str, level: str = "info") -> Line:
    return Line(task.id, task.number, task.worker_id, now(), level, text)


def progress(task: Claimed, fraction: float | None, text: str | None = None) -> Line:
    return Line(task.id, task.number, task.worker_id, now(), None, text, fraction)


async def told(conn: asyncpg.Connection, task_id: str, after: int = 0, limit: int = 1_000) -> list[TaskEvent]:
    [timeline] = await read_timelines(conn, [Asked(task_id, after, None, limit)])
    assert timeline is not None
    return timeline.events(after)


async def test_the_whole_story_of_a_task(conn: asyncpg.Connection) -> None:
    [task_id] = await world.submit(conn, delay_seconds=600.0, max_attempts=2)
    worker = await world.start_worker(conn)
    await world.make_due(conn, [task_id])
    await turn_tasks(conn, 10)
    [one] = await world.claim(conn, worker, [task_id])
    await append_lines(conn, [log(one, "hello"), progress(one, 0.5, "half"), log(one, "ouch", "error")])
    await world.end(conn, [one], FAILED)
    await world.make_due(conn, [task_id])
    await turn_tasks(conn, 10)
    [two] = await world.claim(conn, worker, [task_id])
    await world.end(conn, [two], FAILED)
    await retry_tasks(conn, [task_id], By("someone"))
    [three] = await world.claim(conn, worker, [task_id])
    await world.end(conn, [three], LOST)
    assert len(await world.claim(conn, worker, [task_id])) == 1
    await cancel_tasks(conn, [task_id], By("someone"))

    events = await told(conn, task_id)
    assert [(e.event, e.status) for e in events] == [
        ("task", "scheduled"), ("task", "queued"), ("task", "running"), ("log", None), ("progress", None),
        ("log", None), ("task", "retrying"), ("task", "queued"), ("task", "running"), ("task", "failed"),
        ("task", "queued"), ("task", "running"), ("task", "queued"), ("task", "running"), ("task", "cancelled"),
    ]  # fmt: skip
    assert [e.seq for e in events] == list(range(1, 16))
    assert (await world.row(conn, task_id))["seq"] == 15
    moves = [e.at for e in events if e.event == "task"]
    assert moves == sorted(moves)
    assert [e.data["life"] for e in events if e.status == "running"] == [1, 1, 2, 2]
    for after in range(16):
        assert [e.seq for e in await told(conn, task_id, after)] == list(range(after + 1, 16))


async def test_pages_join_without_gap_or_repeat(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn)
    for n in range(10):
        await append_lines(conn, [log(task, f"l{n}"), progress(task, n / 10), log(task, f"m{n}")])
    await world.end(conn, [task], DONE)
    seen: list[TaskEvent] = []
    while page := await told(conn, task.id, seen[-1].seq if seen else 0, limit=4):
        seen += page
    assert seen == await told(conn, task.id)
    assert [e.seq for e in seen] == list(range(1, 34))


async def test_many_histories_are_told_as_each_alone(conn: asyncpg.Connection) -> None:
    tasks = await world.run(conn, 4)
    for n, task in enumerate(tasks):
        for _ in range(3 * n):
            await append_lines(conn, [log(task, "a"), progress(task, 0.5), log(task, "b")])
    await world.end(conn, tasks[1:3], FAILED)
    ids = [*(task.id for task in tasks), *await world.submit(conn, delay_seconds=60.0), new_id()]
    asked = [
        Asked(task_id, after, owner, limit)
        for task_id in ids
        for after in (0, 1, 2, 5, 30)
        for owner in (None, LOCAL_OWNER, new_id())
        for limit in (1, 3, 1_000)
    ]
    found = await read_timelines(conn, asked)
    assert [await read_timelines(conn, [one]) for one in asked] == [[one] for one in found]
    for one, timeline in zip(asked, found, strict=True):
        assert (timeline is None) == (one.task_id == ids[-1] or one.owner not in {None, LOCAL_OWNER})
        told = [] if timeline is None else timeline.events(one.after)
        assert [event.seq for event in told] == list(range(one.after + 1, one.after + 1 + len(told)))
        assert timeline is None or len(told) >= min(one.limit, (await seq_of(conn, one.task_id)) - one.after)


async def seq_of(conn: asyncpg.Connection, task_id: str) -> int:
    """The newest number of a task's history."""
    newest: int = (await world.row(conn, task_id))["seq"]
    return newest


async def test_lines_are_numbered_in_the_order_they_were_given(conn: asyncpg.Connection) -> None:
    one, other = await world.run(conn, 2)
    taken = await append_lines(conn, [log(other, "o1"), log(one, "a"), log(other, "o2"), log(one, "b")])
    assert taken == {(one.id, one.number): 2, (other.id, other.number): 2}
    logs = await read_logs(conn, one.id, after=0, limit=10)
    assert [(line.seq, line.message, line.number) for line in logs] == [(3, "a", 1), (4, "b", 1)]
    assert [line.message for line in await read_logs(conn, other.id, after=3, limit=10)] == ["o2"]


async def test_progress_shows_its_newest_on_the_task(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn)
    await append_lines(conn, [progress(task, 0.1), progress(task, 0.2, "b"), log(task, "x")])
    kept = msgspec.json.decode((await world.row(conn, task.id))["progress"])
    assert kept == {"fraction": 0.2, "message": "b"}
    await append_lines(conn, [log(task, "y")])
    assert msgspec.json.decode((await world.row(conn, task.id))["progress"]) == kept


async def test_lines_of_an_attempt_that_is_over_are_dropped(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn)
    await world.end(conn, [task], LOST)
    [again] = await world.claim(conn, await world.start_worker(conn), [task.id])
    before = (await world.row(conn, task.id))["seq"]
    assert await append_lines(conn, [log(task, "late")]) == {}
    assert (await world.row(conn, task.id))["seq"] == before
    mixed = [
        log(task, "late"),
        log(again, "one"),
        progress(task, 0.9),
        log(again, "two"),
        progress(again, 0.1),
    ]
    assert await append_lines(conn, mixed) == {(again.id, again.number): before}
    logs = await read_logs(conn, task.id, after=0, limit=9)
    assert [(line.seq - before, line.message) for line in logs] == [(1, "one"), (2, "two")]
    assert msgspec.json.decode((await world.row(conn, task.id))["progress"])["fraction"] == 0.1
    assert [e.event for e in await told(conn, task.id, before)] == ["log", "log", "progress"]


async def test_parallel_writers_leave_no_gap(conn: asyncpg.Connection, connect: Connect) -> None:
    [task] = await world.run(conn)
    lines = [await connect() for _ in range(4)]

    async def write(line: asyncpg.Connection, name: str) -> None:
        for n in range(10):
            await append_lines(line, [log(task, f"{name}{n}a"), log(task, f"{name}{n}b")])

    await asyncio.gather(*(write(line, str(n)) for n, line in enumerate(lines)))
    await world.end(conn, [task], DONE)
    logs = await read_logs(conn, task.id, after=0, limit=1_000)
    assert [line.seq for line in logs] == list(range(3, 83))
    for name in "0123":
        own = [line.message for line in logs if line.message.startswith(name)]
        assert own == [f"{name}{n}{x}" for n in range(10) for x in "ab"]
    assert [e.seq for e in await told(conn, task.id)] == list(range(1, 84))


async def test_executions_show_the_running_try_too(conn: asyncpg.Connection) -> None:
    [task] = await world.run(conn)
    await world.end(conn, [task], LOST)
    [again] = await world.claim(conn, await world.start_worker(conn), [task.id])
    first, second = await read_executions(conn, task.id)
    assert (first.status, first.worker_id, first.attempt) == ("lost", task.worker_id, 1)
    assert first.duration_seconds is not None
    assert first.duration_seconds >= 0
    assert msgspec.json.decode(first.error)["type"] == "ValueError"
    assert (second.status, second.worker_id, second.attempt, second.number) == (
        "started",
        again.worker_id,
        2,
        2,
    )
    assert (second.finished_at, second.duration_seconds, second.error) == (None, None, None)
    assert await read_executions(conn, new_id()) == []


async def test_unknown_tasks_have_no_history(conn: asyncpg.Connection) -> None:
    assert await read_timelines(conn, [Asked(new_id(), 0, None, 5)]) == [None]
    assert not await task_exists(conn, new_id())
