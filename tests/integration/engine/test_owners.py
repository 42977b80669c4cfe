"""Owners beside each other: each one's figures, the queues he sees, and how many of his tasks may wait at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest
from tests.conftest import BusNames
from tests.support.waiting import wait_until

from taskflow.bus.connect import Bus
from taskflow.bus.streams import ensure_streams
from taskflow.bus.topology import Topology
from taskflow.domain.account import By
from taskflow.domain.errors import QueueLimit
from taskflow.domain.task import LOCAL_OWNER, NewTask, Submitted
from taskflow.engine import quota, read
from taskflow.engine.directory import Directory
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.read import Reader
from taskflow.engine.settings import TaskDefaults
from taskflow.engine.submit import Submitter
from taskflow.kit.ids import new_id
from taskflow.store import commands, stats
from taskflow.store.connect import Conn, Database

ANN, BOB = new_id(), new_id()
WAITING_MAX = 5


class House(NamedTuple):
    """Two apis' parts on an empty database, where nobody works."""

    database: Database
    reader: Reader
    submitters: tuple[Submitter, Submitter]

    async def submit(self, owner: str, *, api: int = 0, limited: bool = True, **fields: Any) -> Submitted:
        task = NewTask(new_id(), "demo", owner_id=owner, **fields)
        return await self.submitters[api].submit(task, limited=limited)

    async def submit_batch(
        self, owner: str, n: int, *, api: int = 0, limited: bool = True, key: str | None = None, **fields: Any
    ) -> list[bool]:
        """Whether each was a replay."""
        items = [NewTask(new_id(), "demo", owner_id=owner, **fields) for _ in range(n)]
        answers = await self.submitters[api].submit_batch(items, key, b"same", limited=limited)
        return [answer.replayed for answer in answers]

    async def stored(self, owner: str) -> list[str]:
        async with self.database.connection() as conn:
            rows = await conn.fetch("SELECT id FROM tasks WHERE owner_id = $1 ORDER BY id", owner)
        return [str(row["id"]) for row in rows]

    async def cancel(self, ids: list[str]) -> None:
        async with self.database.connection() as conn:
            assert len(await commands.cancel_tasks(conn, ids, By("ann"))) == len(ids)


@pytest.fixture
async def house(database_url: str, nats_url: str, bus_names: BusNames) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        database = await enter(Database(database_url, application="test"))
        bus = await enter(Bus(nats_url, Topology(bus_names.stream, bus_names.consumer), name="test"))
        await bus.wait_connected()
        await ensure_streams(bus)
        dispatcher, directory = await enter(Dispatcher(bus)), Directory(database)
        submitters = [
            await enter(Submitter(
                database, directory, dispatcher, TaskDefaults(), strict_types=False, validate_payloads=False,
                waiting_max=WAITING_MAX,
            ))
            for _ in range(2)
        ]  # fmt: skip
        yield House(database, await enter(Reader(database, directory)), (submitters[0], submitters[1]))


async def test_each_owner_is_told_of_his_own_tasks(house: House) -> None:
    for owner, queue, n in (
        (ANN, "default", 1),
        (ANN, "mail", 3),
        (BOB, "mail", 2),
        (LOCAL_OWNER, "disk", 4),
    ):
        await house.submit_batch(owner, n, limited=False, queue=queue)
    await house.cancel((await house.stored(BOB))[:1])
    ann, bob, every = [await house.reader.stats(owner) for owner in (ANN, BOB, None)]
    assert ann.by_status == {"accepted": 4, "queued": 4}
    assert ann.by_queue == {"default": {"accepted": 1, "queued": 1}, "mail": {"accepted": 3, "queued": 3}}
    assert ann.by_type == {"demo": {"accepted": 4, "queued": 4}}
    assert bob.by_status == {"accepted": 2, "queued": 1, "cancelled": 1}
    assert [day.submitted for day in ann.history] == [0] * 6 + [4]
    assert [day.submitted for day in every.history] == [0] * 6 + [10]
    theirs = Counter(ann.by_status) + Counter(bob.by_status) + Counter({"accepted": 4, "queued": 4})
    assert every.by_status == theirs
    assert ann.workers_live == every.workers_live == 0


async def test_figures_are_remembered_for_a_moment_of_so_many_owners(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "STATS_KEPT_MAX", 2)
    monkeypatch.setattr(read, "STATS_SECONDS", 60.0)
    first = await house.reader.stats(ANN)
    told = await asyncio.gather(*[house.reader.stats(BOB) for _ in range(20)])
    assert {id(one) for one in told} == {id(told[0])}, "parallel callers did not share a reading"
    assert await house.reader.stats(ANN) is first
    await house.reader.stats()
    assert await house.reader.stats(BOB) is told[0]
    assert await house.reader.stats(ANN) is not first


async def test_an_owner_sees_the_queues_of_his_tasks_as_they_are(house: House) -> None:
    for owner, queue, n in (
        (ANN, "mail", 1),
        (BOB, "mail", 2),
        (BOB, "disk", 1),
        (LOCAL_OWNER, "default", 3),
    ):
        await house.submit_batch(owner, n, limited=False, queue=queue)
    waiting = {info.name: info.waiting["normal"] for info in await house.reader.queues(ANN)}
    assert waiting == {"default": 3, "mail": 3}
    await house.cancel(await house.stored(ANN))
    async with house.database.connection() as conn:
        while await stats.fold(conn):
            pass
    assert [info.name for info in await house.reader.queues(ANN)] == ["default", "mail"]
    assert [info.name for info in await house.reader.queues(BOB)] == ["default", "disk", "mail"]
    assert [info.name for info in await house.reader.queues()] == ["default", "disk", "mail"]


async def test_no_more_tasks_of_an_owner_wait_than_he_may_have(house: House) -> None:
    await house.submit(ANN)
    await house.submit(ANN, delay_seconds=600.0)
    await house.submit_batch(ANN, 2)
    with pytest.raises(QueueLimit, match="4 of this account's tasks wait, 5 may at once: no room for 2 more"):
        await house.submit_batch(ANN, 2, queue="never")
    await house.submit(ANN)
    for api in (0, 1):
        with pytest.raises(
            QueueLimit, match="5 of this account's tasks wait, 5 may at once: no room for 1 more"
        ):
            await house.submit(ANN, api=api, queue="never")
    assert len(await house.stored(ANN)) == WAITING_MAX
    assert "never" not in {info.name for info in await house.reader.queues()}
    with pytest.raises(QueueLimit, match="0 of this account's tasks wait, 5 may at once: no room for 6 more"):
        await house.submit_batch(BOB, WAITING_MAX + 1)
    await house.submit_batch(BOB, WAITING_MAX)


async def test_admins_and_the_built_in_owner_have_no_quota(house: House) -> None:
    await house.submit_batch(ANN, 2 * WAITING_MAX, limited=False)
    await house.submit(ANN, limited=False)
    await house.submit_batch(LOCAL_OWNER, 2 * WAITING_MAX)
    await house.submit(LOCAL_OWNER)
    with pytest.raises(QueueLimit):
        await house.submit(ANN)


async def test_a_refused_request_uses_up_no_key_and_a_replay_is_answered(house: House) -> None:
    made = await house.submit(ANN, idempotency_key="one", request_hash=b"same")
    assert await house.submit_batch(ANN, 3, key="many") == [False] * 3
    assert await house.submit_batch(ANN, 3, key="many") == [True] * 3
    await house.submit(ANN)  # for replays take no room
    for api in (0, 1):
        again = await house.submit(ANN, api=api, idempotency_key="one", request_hash=b"same")
        assert (again.id, again.replayed) == (made.id, True)
        assert await house.submit_batch(ANN, 3, api=api, key="many") == [True] * 3
        with pytest.raises(QueueLimit):
            await house.submit(ANN, api=api, idempotency_key="new", request_hash=b"same")
        with pytest.raises(QueueLimit):
            await house.submit_batch(ANN, 3, api=api, key="new batch")
    await house.cancel(await house.stored(ANN))

    async def is_taken() -> bool:
        try:
            return not (await house.submit(ANN, idempotency_key="new", request_hash=b"same")).replayed
        except QueueLimit:
            return False

    await wait_until(is_taken, "there is room again", 5)
    assert await house.submit_batch(ANN, 3, key="new batch") == [False] * 3


async def test_callers_at_once_share_a_reading_and_the_room(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = []

    async def counting(conn: Conn, owner: str) -> int:
        readings.append(owner)
        return await read_count(conn, owner)

    read_count = stats.count_waiting
    monkeypatch.setattr(stats, "count_waiting", counting)
    monkeypatch.setattr(quota, "COUNT_SECONDS", 60.0)
    answers = await asyncio.gather(*[house.submit(ANN) for _ in range(50)], return_exceptions=True)
    assert Counter(type(answer) for answer in answers) == {Submitted: WAITING_MAX, QueueLimit: 45}
    assert readings == [ANN]
    assert len(await house.stored(ANN)) == WAITING_MAX


async def test_who_is_forgotten_is_counted_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "OWNERS_MAX", 1)
    monkeypatch.setattr(quota, "COUNT_SECONDS", 60.0)
    await house.submit_batch(ANN, 4)
    await house.submit(BOB)
    await house.submit(ANN)
    with pytest.raises(QueueLimit):
        await house.submit(ANN)
