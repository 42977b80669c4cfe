"""Idempotency keys: one request, one task, however many callers."""

from __future__ import annotations

import asyncio

import asyncpg
from tests.contract.store import world
from tests.contract.store.conftest import Connect

from taskflow.domain.task import LOCAL_OWNER
from taskflow.kit.ids import new_id
from taskflow.store.idempotency import Key, has_key, take_keys
from taskflow.store.inserts import insert_tasks

OTHER_OWNER = new_id()


def key(name: str, *task_ids: str, owner: str = LOCAL_OWNER, request: bytes = b"r") -> Key:
    return Key(owner, name, request, list(task_ids))


async def test_twenty_parallel_callers_of_one_key_make_one_task(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    lines = [await connect() for _ in range(20)]

    async def call(line: asyncpg.Connection) -> str:
        task = world.new_task()
        async with line.transaction():
            held = await take_keys(line, [key("k", task.id)])
            if held:
                return held[LOCAL_OWNER, "k"].task_ids[0]
            await insert_tasks(line, [task])
        return task.id

    answers = await asyncio.gather(*(call(line) for line in lines))
    assert len(set(answers)) == 1
    assert [str(r["id"]) for r in await conn.fetch("SELECT id FROM tasks")] == [answers[0]]


async def test_keys_of_a_batch_in_any_order_do_not_deadlock(
    conn: asyncpg.Connection, connect: Connect
) -> None:
    lines = [await connect() for _ in range(4)]
    names = [f"k{n}" for n in range(100)]

    async def call(line: asyncpg.Connection, order: list[str]) -> int:
        async with line.transaction():
            return len(order) - len(await take_keys(line, [key(name, new_id()) for name in order]))

    for _ in range(3):
        orders = [names, names[::-1], names[50:] + names[:50], sorted(names)]
        taken = await asyncio.gather(*(call(*both) for both in zip(lines, orders, strict=True)))
        assert sum(taken) == 100
        await conn.execute("DELETE FROM idempotency_keys")


async def test_a_held_key_tells_what_it_stands_for(conn: asyncpg.Connection) -> None:
    first, second = new_id(), new_id()
    assert await take_keys(conn, [key("a", first, second, request=b"one")]) == {}
    held = await take_keys(conn, [key("b", new_id()), key("a", new_id(), request=b"two")])
    assert held == {(LOCAL_OWNER, "a"): key("a", first, second, request=b"one")}
    assert await take_keys(conn, [key("a", new_id(), owner=OTHER_OWNER)]) == {}


async def test_a_rolled_back_request_uses_up_no_key(conn: asyncpg.Connection) -> None:
    transaction = conn.transaction()
    await transaction.start()
    await take_keys(conn, [key("a", new_id())])
    await transaction.rollback()
    assert await take_keys(conn, [key("a", new_id())]) == {}


async def test_a_key_is_free_again_after_a_day(conn: asyncpg.Connection) -> None:
    old, new = new_id(), new_id()
    await take_keys(conn, [key("a", old)])
    assert await has_key(conn, LOCAL_OWNER, "a")
    assert not await has_key(conn, OTHER_OWNER, "a")
    await conn.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 h'")
    assert not await has_key(conn, LOCAL_OWNER, "a")
    assert await take_keys(conn, [key("a", new)]) == {}
    held = await take_keys(conn, [key("a", new_id())])
    assert held[LOCAL_OWNER, "a"].task_ids == [new]
