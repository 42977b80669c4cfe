"""Operations: the set that was taken, the rate in the row, one step at a time, what a canary comes to."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from tests.contract.store import world
from tests.contract.store.conftest import Connect

from taskflow.domain.account import By
from taskflow.domain.filters import AuditFilters, LetterFilters, TaskFilters
from taskflow.domain.operation import Action, CanaryPlan, Plan
from taskflow.domain.transitions import Status
from taskflow.kit.ids import new_id
from taskflow.store import audit_log, commands, operations, steps

PENDING = LetterFilters(statuses=("pending",))


def plan(action: Action = "replay", **fields: Any) -> Plan:
    """A plan of an operator."""
    kept = {
        "filter": "{}",
        "limit": None,
        "rate_per_second": 100.0,
        "canary": None,
        "by": By("ann", "why"),
    }
    return Plan(action=action, **(kept | fields))


async def accepted(conn: asyncpg.Connection, count: int | None = None, **fields: Any) -> str:
    """An operation on pending letters; its id."""
    operation_id = new_id()
    async with conn.transaction():
        matched = await operations.take(conn, operation_id, PENDING, most=count or 10_000)
        await operations.add(conn, operation_id, plan(**fields), matched)
    return operation_id


async def letters(conn: asyncpg.Connection) -> list[str]:
    """The ids of all letters, the oldest first."""
    return [str(row["id"]) for row in await conn.fetch("SELECT id FROM dead_letters ORDER BY id")]


async def test_the_set_is_what_matched_when_it_was_taken_the_oldest_first(conn: asyncpg.Connection) -> None:
    await world.bury(conn, 2_500)
    there = await letters(conn)
    operation_id = await accepted(conn)
    await world.bury(conn)
    read = []
    while ids := (await steps.read_items(conn, operation_id, len(read), 400)).ids:
        read += ids
    assert read == there
    found = await operations.read(conn, operation_id)
    assert found is not None
    assert (found.matched, found.status, found.created_by, found.reason) == (2_500, "running", "ann", "why")


async def test_tasks_are_taken_by_their_own_filter(conn: asyncpg.Connection) -> None:
    waiting = await world.submit(conn, 3, tags=["a", "b"])
    await world.submit(conn, 2, tags=["a"])
    filters = TaskFilters(statuses=(Status.QUEUED,), tags=("a", "b"))
    assert await operations.preview(conn, filters, most=10, examples=9) == ({"demo": 3}, waiting)
    assert await operations.preview(conn, filters, most=2, examples=9) == ({"demo": 2}, waiting[:2])
    operation_id = new_id()
    assert await operations.take(conn, operation_id, filters, most=10) == 3
    assert await steps.read_items(conn, operation_id, 0, 10) == (waiting, [1, 1, 1])
    assert await operations.take(conn, new_id(), filters, most=2) == 2


async def test_a_retry_passes_over_what_has_moved_since(conn: asyncpg.Connection) -> None:
    ids = await world.bury(conn, 3)
    versions = [(await world.row(conn, task_id))["version"] for task_id in ids]
    await commands.retry_tasks(conn, ids[:1], By("bob"))
    again = await world.claim(conn, await world.start_worker(conn), ids[:1])
    await world.end(conn, again, world.PERMANENT)  # failed as before, but in a life that nobody has seen
    made = await commands.retry_tasks(conn, ids[::-1], By("ann"), versions=versions[::-1])
    assert sorted(move.moved.id for move in made) == ids[1:]


async def test_a_cancel_passes_over_other_statuses_and_later_lives(conn: asyncpg.Connection) -> None:
    [running] = [task.id for task in await world.run(conn)]
    [queued] = await world.submit(conn)
    [replayed] = await world.bury(conn)
    await commands.retry_tasks(conn, [replayed], By("bob"))
    ids = [running, queued, replayed]
    made = await commands.cancel_tasks(conn, ids, By("ann"), statuses=["queued"], lives=[1, 1, 1])
    assert [move.moved.id for move in made] == [queued]
    assert await world.status(conn, running) == "running"
    assert len(await commands.cancel_tasks(conn, ids, By("ann"), lives=[1, 1, 2])) == 2


async def test_an_operation_on_nothing_is_done(conn: asyncpg.Connection) -> None:
    found = await operations.read(conn, await accepted(conn))
    assert found is not None
    assert (found.status, found.matched, found.finished_at is not None) == ("done", 0, True)
    assert await steps.running(conn) == []


async def test_one_step_at_a_time_holds_an_operation(conn: asyncpg.Connection, connect: Connect) -> None:
    await world.bury(conn, 5)
    operation_id = await accepted(conn)
    other = await connect()
    async with conn.transaction():
        assert await steps.hold(conn, operation_id) is not None
        assert await steps.hold(other, operation_id) is None
    assert await steps.hold(other, operation_id) is not None


@pytest.mark.parametrize(
    ("rate", "idle_seconds", "tokens"),
    [(100.0, 0.5, 50.0), (100.0, 60.0, 100.0), (0.5, 60.0, 1.0), (0.5, 1.0, 0.5)],
)
async def test_at_most_a_second_of_the_rate_is_made_up_for(
    conn: asyncpg.Connection, rate: float, idle_seconds: float, tokens: float
) -> None:
    await world.bury(conn)
    operation_id = await accepted(conn, rate_per_second=rate)
    await conn.execute(
        "UPDATE operations SET paced_at = clock_timestamp() - $1 * interval '1 second'", idle_seconds
    )
    held = await steps.hold(conn, operation_id)
    assert held is not None
    assert held.tokens == pytest.approx(tokens, rel=0.1)


async def test_what_is_skipped_costs_nothing_of_the_rate(conn: asyncpg.Connection) -> None:
    await world.bury(conn, 30)
    operation_id = await accepted(conn, rate_per_second=1.0)
    await conn.execute("UPDATE operations SET paced_at = clock_timestamp() + interval '1 hour'")
    before = await conn.fetchval("SELECT paced_at FROM operations")
    await steps.advance(conn, operation_id, taken=10, done=0)
    assert await conn.fetchval("SELECT paced_at FROM operations") == before
    await steps.advance(conn, operation_id, taken=10, done=4, failed=1)
    moved = await conn.fetchval("SELECT paced_at FROM operations") - before
    assert moved.total_seconds() == pytest.approx(5)
    found = await operations.read(conn, operation_id)
    assert found is not None
    assert (found.done, found.skipped, found.failed) == (4, 15, 1)


async def test_only_what_is_open_can_be_turned(conn: asyncpg.Connection) -> None:
    await world.bury(conn)
    operation_id = await accepted(conn)
    paused = await operations.turn(conn, operation_id, ("running",), "paused", "let me see")
    assert paused is not None
    assert (paused.status, paused.status_reason) == ("paused", "let me see")
    assert await steps.hold(conn, operation_id) is None
    assert await operations.turn(conn, operation_id, ("running",), "done", None) is None
    assert await operations.count_open(conn) == 1
    assert await operations.turn(conn, operation_id, ("running", "paused"), "stopped", "enough") is not None
    assert await operations.count_open(conn) == 0
    assert await conn.fetchval("SELECT count(*) FROM operation_pages") == 0
    assert await operations.turn(conn, operation_id, ("paused",), "running", None) is None


async def test_a_canary_is_judged_by_the_lives_it_began(conn: asyncpg.Connection) -> None:
    tasks = await world.bury(conn, 5)
    operation_id = await accepted(conn, canary=CanaryPlan(5))
    made = await commands.replay_letters(conn, await letters(conn), By("ann", None, operation_id))
    lives = [(move.moved.id, move.life) for move in made]
    await steps.advance(conn, operation_id, taken=5, done=5, lives=lives)

    async def judged() -> tuple[int, int, int]:
        held = await steps.hold(conn, operation_id)
        assert held is not None
        return tuple(await steps.judge_canary(conn, held))

    assert await judged() == (0, 0, 0)
    worker = await world.start_worker(conn)
    await world.end(conn, await world.claim(conn, worker, tasks[:1]), world.DONE)
    await world.end(conn, await world.claim(conn, worker, tasks[1:3]), world.PERMANENT)
    await commands.cancel_tasks(conn, tasks[3:4], By("bob"))
    assert await judged() == (2, 1, 4)
    await commands.retry_tasks(
        conn, tasks[1:2], By("bob")
    )  # in its next life again: that one failed all the same
    assert await judged() == (2, 1, 4)


async def test_replays_that_overlap_touch_each_letter_once(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    await world.bury(conn, 200)
    there = await letters(conn)
    lines = [await connect() for _ in range(4)]
    made = await asyncio.gather(
        *(
            commands.replay_letters(line, there[start:] + there[:start], By(f"operator {start}"))
            for start, line in zip((0, 50, 100, 150), lines, strict=True)
        )
    )
    assert sorted(move.moved.id for one in made for move in one) == sorted(
        str(row["id"]) for row in await conn.fetch("SELECT id FROM tasks")
    )
    assert await conn.fetchval("SELECT count(*) FROM tasks WHERE life = 2") == 200
    assert await conn.fetchval("SELECT count(*) FROM dead_letters WHERE status = 'replayed'") == 200


async def test_the_audit_log_is_narrowed_and_told_once(conn: asyncpg.Connection) -> None:
    await audit_log.write_audit(conn, By("ann", "broken"), "queue.paused", "mail")
    async with conn.transaction():
        assert await audit_log.write_once(conn, By("d"), "dead_letters.surge", "f", {"count": 3}, seconds=60)
        assert not await audit_log.write_once(conn, By("d"), "dead_letters.surge", "f", {}, seconds=60)
        assert await audit_log.write_once(conn, By("d"), "dead_letters.surge", "g", {}, seconds=60)

    async def told(**fields: Any) -> list[tuple[str, str | None]]:
        found = await audit_log.list_audit(conn, AuditFilters(**fields), limit=9, before=None)
        return [(event.action, event.target) for event in found]

    surge = "dead_letters.surge"
    assert await told() == [(surge, "g"), (surge, "f"), ("queue.paused", "mail")]
    assert await told(targets=("f",)) == [(surge, "f")]
    assert await told(actors=("ann",), actions=("queue.paused",)) == [("queue.paused", "mail")]
