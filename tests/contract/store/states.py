"""Tasks in every state that a healthy system knows."""

from __future__ import annotations

import asyncpg
from tests.contract.store import world

from taskflow.domain.attempt import Cancelled, Released, Snoozed, TimedOut
from taskflow.store import commands


async def every_state(conn: asyncpg.Connection) -> None:
    """Tasks in all states that a healthy system knows."""
    await world.submit(conn, 3)
    await world.submit(conn, 2, delay_seconds=60.0)
    await world.run(conn, 2)
    for outcome in (
        world.DONE, world.FAILED, world.PERMANENT, world.LOST, world.RELEASED, TimedOut(world.ERROR), Snoozed(60),
        Released("unread", begun=False),
    ):  # fmt: skip
        await world.end(conn, await world.run(conn, 2), outcome)
    once = await world.run(conn, max_attempts=1)
    await world.end(conn, once, world.RELEASED)  # lost: it may not start twice, and has no attempt left
    tried = await world.run(conn)
    await world.end(conn, tried, world.LOST)
    await world.end(conn, await world.claim(conn, await world.start_worker(conn), [tried[0].id]), world.DONE)
    ids = await world.bury(conn, 2)
    await commands.retry_tasks(conn, ids[:1], commands.By("ann"))
    await world.end(conn, await world.claim(conn, await world.start_worker(conn), ids[:1]), world.DONE)
    running = await world.run(conn, 2)
    await commands.cancel_tasks(conn, [task.id for task in running], commands.By("ann"))
    await commands.retry_tasks(conn, [running[0].id], commands.By("ann"))
    await world.end(conn, running[1:], Cancelled(world.ERROR))
