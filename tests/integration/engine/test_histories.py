"""Many who want to know what happened are answered by few transactions, and each exactly what it asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest
from tests.contract.store import world

from taskflow.domain.errors import Overloaded
from taskflow.engine import histories
from taskflow.engine.histories import READS_MAX, Histories
from taskflow.kit.clock import now
from taskflow.kit.ids import new_id
from taskflow.store import history
from taskflow.store.connect import Conn, Database
from taskflow.store.history import Asked, Line

TASKS = 40


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many histories each transaction has read."""
    found: list[int] = []
    read = history.read_timelines

    async def counted(conn: Conn, asked: Sequence[Asked]) -> list[object]:
        found.append(len(asked))
        return list(await read(conn, asked))

    monkeypatch.setattr(histories.history, "read_timelines", counted)
    return found


async def test_streams_share_their_readings(database_url: str, trips: list[int]) -> None:
    conn = await asyncpg.connect(database_url)
    tasks = await world.run(conn, TASKS)
    for n, task in enumerate(tasks):
        lines = [Line(task.id, task.number, task.worker_id, now(), "info", f"{n}") for _ in range(n)]
        await history.append_lines(conn, lines)
    await conn.close()
    unknown = Asked(new_id(), 0, None, 10)
    asked = [Asked(task.id, after, None, 100) for after in (0, 1, 2, 10) for task in tasks for _ in range(5)]
    async with Database(database_url, application="test") as database, Histories(database) as reader:
        told = await asyncio.gather(*map(reader.events, [*asked, unknown]))
        assert told.pop() is None
        for one, events in zip(asked, told, strict=True):
            n = next(n for n, task in enumerate(tasks) if task.id == one.task_id)
            assert events is not None
            assert [event.seq for event in events] == list(range(one.after + 1, 2 + n + 1))
    assert len(trips) < 20
    assert max(trips) <= READS_MAX
    assert sum(trips) < len(asked) / 2, "what several want is read once"


async def test_too_many_at_once_are_turned_away(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "READS_WAITING_MAX", 10)
    async with Database(database_url, application="test") as database, Histories(database) as reader:
        asked = [Asked(new_id(), 0, None, 10) for _ in range(20)]
        told = await asyncio.gather(*map(reader.events, asked), return_exceptions=True)
    assert told[:10] == [None] * 10
    assert {type(error) for error in told[10:]} == {Overloaded}
