"""What can happen to a task, and what is told of it by webhook."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

import asyncpg
from tests.contract.store import world
from tests.contract.store.world import DONE, ERROR, FAILED, LOST, PERMANENT, RELEASED

from taskflow.domain.account import By
from taskflow.domain.attempt import Deferred, Outcome, Released, Snoozed, TimedOut
from taskflow.kit.clock import now
from taskflow.store import tending
from taskflow.store.commands import cancel_tasks, retry_tasks

Conn = asyncpg.Connection
BY = By("ann")
STARTED = ["task.started"]


class Story(NamedTuple):
    """What happens to a new task, and what is told of it if all is asked for."""

    name: str
    happen: Callable[[Conn, str], Awaitable[Any]]
    told: list[str]
    fields: Mapping[str, Any] = MappingProxyType({})


def _ends(name: str, outcome: Outcome, *events: str, **fields: Any) -> Story:
    async def happen(conn: Conn, task_id: str) -> None:
        won = await world.claim(conn, await world.start_worker(conn), [task_id])
        assert set(await world.end(conn, won, outcome)) == {task_id}

    return Story(name, happen, [*STARTED, *events], fields)


async def _claimed(conn: Conn, task_id: str) -> None:
    assert await world.claim(conn, await world.start_worker(conn), [task_id])


async def _cancelled(conn: Conn, task_id: str) -> None:
    assert await cancel_tasks(conn, [task_id], BY)


async def _cancelled_running(conn: Conn, task_id: str) -> None:
    await _claimed(conn, task_id)
    await _cancelled(conn, task_id)


async def _turned(conn: Conn, task_id: str) -> None:
    await world.make_due(conn, [task_id])
    assert await tending.turn_tasks(conn, 10)


async def _expired(conn: Conn, task_id: str) -> None:
    await world.make_due(conn, [task_id], "expires_at")
    assert await tending.turn_tasks(conn, 10)


async def _failed_and_retried(conn: Conn, task_id: str) -> None:
    await _ends("", PERMANENT).happen(conn, task_id)
    assert await retry_tasks(conn, [task_id], BY)


LATER = {"delay_seconds": 600.0}
STORIES = [
    Story("is claimed", _claimed, STARTED),
    _ends("succeeds", DONE, "task.succeeded"),
    _ends("fails", PERMANENT, "task.failed"),
    _ends("fails at its last attempt", FAILED, "task.failed", max_attempts=1),
    _ends("fails and is retried", FAILED, "task.retrying"),
    _ends("takes too long", TimedOut(ERROR), "task.retrying"),
    _ends("is lost and goes straight back", LOST, "task.retrying"),
    _ends("is lost at its last attempt", LOST, "task.failed", max_attempts=1),
    _ends("is released", RELEASED),
    _ends("is released unread", Released("unread", begun=False)),
    _ends("snoozes", Snoozed(60)),
    _ends("is deferred", Deferred(60, "host is away")),
    Story("is cancelled while it waits", _cancelled, ["task.cancelled"]),
    Story("is cancelled before it is due", _cancelled, ["task.cancelled"], LATER),
    Story("is cancelled while it runs", _cancelled_running, [*STARTED, "task.cancelled"]),
    Story("comes due", _turned, [], LATER),
    Story("expires", _expired, ["task.expired"], {"expires_at": now() + timedelta(days=1)}),
    Story(
        "expires before it is due",
        _expired,
        ["task.expired"],
        {**LATER, "expires_at": now() + timedelta(days=1)},
    ),
    Story("gets a new life", _failed_and_retried, [*STARTED, "task.failed"]),
]
