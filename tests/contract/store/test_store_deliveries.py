"""Deliveries as callers see and command them: sent now, sent again, listed; alerts; and what old ones leave."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.contract.store import deliveries, world
from tests.contract.store.deliveries import callback, host_of, lease, record, row, send, url_of, write

from taskflow.domain.filters import DeliveryFilters
from taskflow.domain.task import LOCAL_OWNER
from taskflow.domain.webhook import SLOWED_AFTER_FAILURES, SURGE_EVENT, Delivery
from taskflow.kit.clock import now
from taskflow.kit.ids import first_id_at, new_id
from taskflow.store import webhook_reads, webhooks, wire
from taskflow.store.partitions import (
    RANGE,
    TABLES,
    drop_empty_ranges,
    ensure_ranges,
    range_start,
    range_starts,
)
from taskflow.store.snapshots import snapshot_task
from taskflow.store.webhook_reads import ATTEMPTS_SHOWN_MAX

Conn = asyncpg.Connection


async def replay(conn: Conn, delivery_id: str, owner: str | None = None) -> bool:
    """By who knows whose it is."""
    task_id = str((await row(conn, delivery_id))["task_id"])
    return await webhooks.replay(conn, delivery_id, task_id, owner)


@pytest.mark.parametrize("error", [None, "no"])
async def test_what_has_ended_is_sent_again_with_a_fresh_budget(conn: Conn, error: str | None) -> None:
    [delivery_id] = await write(conn)
    await send(conn, "no", 0.0)
    [last] = await send(conn, error)
    assert (await row(conn, delivery_id))["status"] == ("failed" if error else "delivered")
    assert await replay(conn, delivery_id)
    kept = await row(conn, delivery_id)
    assert (kept["status"], kept["spent_before"], kept["attempts"]) == ("pending", 2, 2)
    assert (kept["finished_at"], kept["leased_until"]) == (None, None)
    assert await record(conn, [last]) == {}, "who held it before cannot record any more"
    [one] = await lease(conn)
    assert (one.id, one.turn, one.attempts, one.spent_before) == (delivery_id, 3, 2, 2)
    assert await record(conn, [one]) == {delivery_id: 0}
    assert await replay(conn, delivery_id)
    assert (await row(conn, delivery_id))["spent_before"] == 3


async def test_what_waits_goes_at_once_in_its_budget(conn: Conn) -> None:
    [delivery_id] = await write(conn)
    await send(conn, "no", 500.0)
    assert await lease(conn) == []
    assert await replay(conn, delivery_id)
    [one] = await lease(conn)
    assert (one.attempts, one.spent_before) == (1, 0)


async def test_what_is_under_way_is_left_to_who_holds_it(conn: Conn) -> None:
    [delivery_id] = await write(conn)
    held = await lease(conn)
    before = await row(conn, delivery_id)
    assert await replay(conn, delivery_id)
    assert await row(conn, delivery_id) == before
    assert await lease(conn) == []
    assert await record(conn, held) == {delivery_id: 0}


async def test_a_replay_is_of_ones_own_and_of_this_task(conn: Conn) -> None:
    owner = new_id()
    [delivery_id], [other] = await write(conn, owner=owner), await write(conn, owner=owner)
    await send(conn)
    foreign = str((await row(conn, other))["task_id"])
    assert not await webhooks.replay(conn, delivery_id, foreign, None)
    assert not await webhooks.replay(conn, new_id(), foreign, None)
    assert not await replay(conn, delivery_id, new_id())
    assert (await row(conn, delivery_id))["status"] == "delivered"
    assert await replay(conn, delivery_id, owner)


async def test_a_task_is_told_now_as_it_is(conn: Conn) -> None:
    owner = new_id()
    [task_id] = await world.submit(conn, owner_id=owner)
    told = {
        "event": "task.test",
        "url": url_of("b"),
        "host": host_of("b"),
        "sealed": "eA==",
        "max_attempts": 3,
    }
    assert await webhooks.send_now(conn, task_id, new_id(), **told) is None
    assert await webhooks.send_now(conn, new_id(), None, **told) is None
    first = await webhooks.send_now(conn, task_id, owner, **told)
    second = await webhooks.send_now(conn, task_id, None, **told | {"sealed": None, "max_attempts": None})
    assert first and second and first != second
    one = await row(conn, first)
    assert {name: one[name] for name in told} == told
    assert (str(one["task_id"]), str(one["owner_id"]), one["status"]) == (task_id, owner, "pending")
    assert snapshot_task(one["content"]).status == "queued"
    assert {one.id for one in await lease(conn)} == {first, second}


async def test_operators_are_told_of_no_task(conn: Conn) -> None:
    await webhooks.alert(conn, LOCAL_OWNER, SURGE_EVENT, url_of("ops"), host_of("ops"), None, '{"n":1e400}')
    [one] = await lease(conn)
    assert (one.task_id, one.owner_id, one.event, one.content) == (
        None,
        LOCAL_OWNER,
        SURGE_EVENT,
        '{"n":1e400}',
    )
    assert (one.url, one.host, one.max_attempts) == (url_of("ops"), host_of("ops"), None)
    assert await record(conn, [one], "no", 5.0) == {one.id: 1}
    [listed] = await listed_by(conn)
    assert (listed.task_id, listed.event, listed.attempt) == (None, SURGE_EVENT, 1)


async def listed_by(
    conn: Conn, *, limit: int = 100, before: str | None = None, **filters: Any
) -> list[Delivery]:
    """What a list shows."""
    return await webhook_reads.list_deliveries(conn, DeliveryFilters(**filters), limit=limit, before=before)


async def test_lists_show_what_is_asked_for_newest_first(conn: Conn) -> None:
    owner = new_id()
    mine = await write(conn, 3, owner=owner)
    [other] = await write(conn, path="other")
    [task] = await world.run(conn, callback=callback("task.started"), owner_id=owner)
    [started] = [str(r["id"]) for r in await deliveries.told(conn, task.id)]
    held = {one.id: one for one in await lease(conn)}
    done, over, again = mine
    await record(conn, [held[done]])
    await record(conn, [held[over]], "no")
    await record(conn, [held[again]], "no", 60.0)

    async def ids(**asked: Any) -> list[str]:
        return [one.id for one in await listed_by(conn, **asked)]

    everything = newest(*mine, other, started)
    assert await ids() == everything
    assert await ids(statuses=("delivered",)) == [done]
    assert await ids(statuses=("delivered", "failed")) == newest(over, done)
    assert await ids(statuses=("pending",)) == newest(started, other, again)
    assert await ids(events=("task.started", "task.failed")) == [started]
    assert await ids(url=url_of("a", "other")) == [other]
    assert await ids(owner=owner) == newest(started, *mine)
    assert await ids(owner=new_id()) == []
    assert await ids(task_id=task.id) == await ids(task_id=task.id, owner=owner) == [started]
    assert await ids(task_id=task.id, owner=new_id()) == []
    assert await ids(task_id=task.id, statuses=("failed",)) == []
    assert await ids(limit=2) == everything[:2]
    assert await ids(limit=2, before=everything[1]) == everything[2:4]
    assert await ids(before=everything[-1]) == []
    own = newest(started, *mine)
    assert await ids(owner=owner, before=own[1], limit=1) == own[2:3]


def newest(*ids: str) -> list[str]:
    """In the order of lists."""
    return sorted(ids, reverse=True)


async def test_a_delivery_reads_as_it_stands(conn: Conn) -> None:
    [delivery_id] = await write(conn)
    kept = await row(conn, delivery_id)
    task_id = str(kept["task_id"])

    async def read() -> Delivery:
        found = await webhook_reads.read_delivery(conn, delivery_id, task_id)
        assert found is not None
        assert [found] == await listed_by(conn)
        return found

    new = await read()
    assert (new.id, new.task_id, new.event, new.url) == (delivery_id, task_id, "task.test", url_of("a"))
    assert (new.status, new.attempt, new.attempts, new.max_attempts) == ("pending", 0, [], None)
    assert (new.created_at, new.next_attempt_at) == (
        wire.time_text(kept["created_at"]),
        wire.time_text(kept["due_at"]),
    )
    [one] = await lease(conn)
    assert (await read()).next_attempt_at is None, "it is under way"
    await record(conn, [one], "no", 60.0)
    waits = await read()
    assert (waits.next_attempt_at, waits.finished_at) == (
        wire.time_text((await row(conn, delivery_id))["due_at"]),
        None,
    )
    [attempt] = waits.attempts
    assert (attempt.number, attempt.status_code, attempt.error, attempt.answer) == (1, 500, "no", "said")
    await conn.execute("UPDATE webhook_deliveries SET due_at = now()")
    assert (await read()).endpoint == "active"
    await conn.execute("UPDATE webhook_endpoints SET failures = $1", SLOWED_AFTER_FAILURES)
    assert (await read()).endpoint == "slowed"
    await send(conn)
    done = await read()
    assert (done.status, done.attempt, done.next_attempt_at, done.endpoint) == (
        "delivered",
        2,
        None,
        "active",
    )
    assert done.finished_at == wire.time_text((await row(conn, delivery_id))["finished_at"])
    assert [one.error for one in done.attempts] == ["no", None]
    assert await webhook_reads.read_delivery(conn, delivery_id, new_id()) is None
    assert await webhook_reads.read_delivery(conn, delivery_id, task_id, new_id()) is None
    assert await webhook_reads.read_delivery(conn, delivery_id, task_id, LOCAL_OWNER) == done


async def test_the_newest_attempts_are_shown_oldest_first(conn: Conn) -> None:
    ids = await write(conn, 2)
    await conn.execute(
        "INSERT INTO webhook_attempts (delivery_id, number, started_at, duration_seconds) "
        "SELECT id, n, now(), 1 FROM unnest($1::uuid[]) AS d(id), generate_series(1, $2) AS n",
        ids, ATTEMPTS_SHOWN_MAX + 3,
    )  # fmt: skip
    for one in await listed_by(conn):
        assert [attempt.number for attempt in one.attempts] == [*range(4, ATTEMPTS_SHOWN_MAX + 4)]


async def test_a_callback_is_read_with_its_tasks_status(conn: Conn) -> None:
    owner = new_id()
    [task_id] = await world.submit(conn, callback=callback(), owner_id=owner)
    [plain] = await world.submit(conn)
    found = await webhook_reads.read_callback(conn, task_id, owner)
    assert (
        found
        == ("queued", wire.to_json(callback()))
        == await webhook_reads.read_callback(conn, task_id, None)
    )
    assert await webhook_reads.read_callback(conn, task_id, new_id()) is None
    assert await webhook_reads.read_callback(conn, plain, None) == ("queued", None)
    assert await webhook_reads.read_callback(conn, new_id(), None) is None


async def test_old_ones_that_have_ended_go_with_their_attempts(conn: Conn) -> None:
    old, young, pending = await write(conn, 3), await write(conn), await write(conn)
    leased = {one.id: one for one in await lease(conn)}
    await record(conn, [leased[one] for one in (*old[:2], *young)])
    await record(conn, [leased[old[2]]], "no")
    await conn.execute(
        "UPDATE webhook_deliveries SET finished_at = now() - interval '2 h', created_at = now() - interval '2 h' "
        "WHERE id <> $1", young[0],
    )  # fmt: skip
    await conn.execute("UPDATE webhook_deliveries SET finished_at = NULL WHERE id = $1", pending[0])

    async def prune(limit: int = 10, before: datetime | None = None) -> int:
        horizon = first_id_at(before or now() + timedelta(hours=1))
        return await webhook_reads.prune_deliveries(conn, before_id=horizon, keep_seconds=3_600, limit=limit)

    assert await prune(before=now() - timedelta(hours=1)) == 0, "their ids are younger"
    assert [await prune(2), await prune(2), await prune(2)] == [2, 1, 0]
    assert {str(r["id"]) for r in await deliveries.told(conn)} == {*young, *pending}
    left = await conn.fetch("SELECT delivery_id::text AS id FROM webhook_attempts")
    assert [r["id"] for r in left] == young


async def test_a_range_with_a_delivery_is_kept(conn: Conn) -> None:
    start = range_start(datetime(2022, 3, 1, tzinfo=UTC))
    assert await ensure_ranges(conn, [start]) == len(TABLES)
    await write(conn)
    await conn.execute("UPDATE webhook_deliveries SET id = $1", first_id_at(start + timedelta(hours=1)))
    await send(conn)
    assert await drop_empty_ranges(conn, start + RANGE) == 0
    assert await conn.fetchval("SELECT count(*) FROM webhook_attempts") == 1
    assert await webhook_reads.prune_deliveries(
        conn, before_id=first_id_at(start + RANGE), keep_seconds=0, limit=10
    ) == 1  # fmt: skip
    assert await drop_empty_ranges(conn, start + RANGE - timedelta(seconds=1)) == 0
    assert await drop_empty_ranges(conn, start + RANGE) == 1
    assert start not in await range_starts(conn)
    for table in TABLES:
        assert await conn.fetchval("SELECT to_regclass($1)", f"{table}_{start:%Y%m%d}") is None
