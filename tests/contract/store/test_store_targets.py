"""Tasks with a target: claimed by workers that push and by nobody else; parked and unparked as one type."""

from __future__ import annotations

import asyncpg
from tests.contract.store import world
from tests.contract.store.deliveries import TARGET
from tests.contract.store.world import TYPES, claim_pushed

from taskflow.domain.callback import PUSH_TYPE, shown_target
from taskflow.kit.ids import new_id
from taskflow.store import doorbells
from taskflow.store.moves import read_remainder
from taskflow.store.tasks import Wanted, read_tasks

Conn = asyncpg.Connection


async def test_only_a_worker_that_pushes_takes_what_has_a_target(conn: Conn) -> None:
    """Whatever its type is, declared or not."""
    worker, owner = await world.start_worker(conn), new_id()
    ids = [
        *await world.submit(conn, target=TARGET, owner_id=owner),
        *await world.submit(conn, target=TARGET, type=PUSH_TYPE, owner_id=owner),
        *await world.submit(conn, target=TARGET, type="unheard.of", owner_id=owner),
    ]
    plain = await world.submit(conn)
    assert [task.id for task in await world.claim(conn, worker, [*ids, *plain])] == plain
    remainder = await read_remainder(conn, worker, [*ids, *plain])
    assert {task_id: row.pushed for task_id, row in remainder.items()} == {
        **dict.fromkeys(ids, True), plain[0]: False,
    }  # fmt: skip
    won = await claim_pushed(conn, worker, ids)
    assert sorted(task.id for task in won) == sorted(ids)
    assert {(task.owner_id, task.target is not None) for task in won} == {(owner, True)}


async def test_a_declared_push_type_takes_nothing_by_itself(conn: Conn) -> None:
    """Of tasks with a target; one without may have this type, too."""
    worker = await world.start_worker(conn)
    [pushed] = await world.submit(conn, target=TARGET, type=PUSH_TYPE)
    [plain] = await world.submit(conn, type=PUSH_TYPE)
    assert await claim_pushed(conn, worker, [plain], types=TYPES) == []
    won = await claim_pushed(conn, worker, [pushed, plain], types=[PUSH_TYPE])
    assert sorted(task.id for task in won) == sorted([pushed, plain])
    assert {task.id: task.target is None for task in won} == {pushed: False, plain: True}


async def test_paused_types_stay_with_or_without_a_target(conn: Conn) -> None:
    worker = await world.start_worker(conn)
    [paused] = await world.submit(conn, target=TARGET, type="demo")
    [other] = await world.submit(conn, target=TARGET, type="else")
    won = await claim_pushed(conn, worker, [paused, other], types=TYPES, paused=["demo", "echo"])
    assert [task.id for task in won] == [other]
    assert [task.id for task in await claim_pushed(conn, worker, [paused], paused=["else"])] == [paused]


async def test_a_claim_of_both_hands_each_what_it_needs(conn: Conn) -> None:
    worker, owner = await world.start_worker(conn), new_id()
    [pushed] = await world.submit(conn, target=TARGET, owner_id=owner, payload='{"a":1e400}')
    [plain] = await world.submit(conn, owner_id=owner)
    won = {task.id: task for task in await claim_pushed(conn, worker, [pushed, plain], types=TYPES)}
    assert (won[plain].target, won[pushed].owner_id, won[pushed].payload) == (None, owner, '{"a":1e400}')
    assert won[pushed].target is not None
    read = (await read_tasks(conn, [Wanted(pushed)]))[Wanted(pushed)]
    assert read.target == shown_target(TARGET)
    assert len(await world.end(conn, list(won.values()), world.DONE)) == 2


async def test_parked_tasks_with_a_target_wait_for_a_worker_that_pushes(conn: Conn) -> None:
    pushed = [
        *await world.submit(conn, target=TARGET, type="demo"),
        *await world.submit(conn, target=TARGET, type=PUSH_TYPE, lane=1),
        *await world.submit(conn, target=TARGET, type="unheard.of"),
    ]
    [mail] = await world.submit(conn, target=TARGET, queue="mail")
    [demo] = await world.submit(conn)
    [named] = await world.submit(conn, type=PUSH_TYPE)  # which has none: a handler of this name takes it
    await doorbells.park(conn, [*pushed, mail, demo, named])

    async def unparked(*served: tuple[str, str]) -> set[str]:
        return {rung.id for rung in await doorbells.unpark(conn, served, 10)}

    assert await unparked(("default", "unheard.of"), ("default", "echo")) == set()
    assert await unparked(("default", "demo")) == {demo}
    assert await unparked(("default", PUSH_TYPE)) == {*pushed, named}
    assert await unparked(("default", PUSH_TYPE), ("mail", "demo")) == set()
    assert await unparked(("mail", PUSH_TYPE)) == {mail}
