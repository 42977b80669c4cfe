"""give_up: hand back all that a worker process holds when its event loop is blocked; run on another thread's loop."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from taskflow.bus.connect import Bus
from taskflow.domain.attempt import Outcome, Released
from taskflow.domain.task import Claimed
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.record import Recorder
from taskflow.store import workers
from taskflow.store.connect import Database, Line
from taskflow.store.tending import read_claims

_UNREAD = Released("the worker process had to end before it read the answer to the claim", begun=False)


async def give_up(
    database: Database,
    bus: Bus,
    worker_id: str,
    ends: list[tuple[Claimed, Outcome]],
    *,
    poison_losses_max: int,
    lease_seconds: float,
) -> None:
    """Record these ends, release what else PostgreSQL believes to run here, and give the lease up.

    Over connections of its own. Guarded like every record: what the loop had sent already stands.
    """
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        line = await enter(Line(database))
        dispatcher = await enter(Dispatcher(await enter(bus.beside())))
        recorder = Recorder(
            line, dispatcher, poison_losses_max=poison_losses_max, pending_max=len(ends) + 10_000
        )
        await enter(recorder)
        beat = await line.run(lambda conn: workers.beat(conn, worker_id, lease_seconds, 0))
        known = {(task.id, task.version) for task, _ in ends}
        unread = sorted({task_id for task_id, _ in beat.running - known})
        claims = await line.run(lambda conn: read_claims(conn, worker_id, unread)) if unread else []
        every = [*ends, *((task, _UNREAD) for task in claims)]
        await asyncio.gather(*(recorder.finish(task, outcome) for task, outcome in every))
        await line.run(lambda conn: workers.end(conn, worker_id))
