"""The dlq-consumer, put together: an undertaker that takes notices from `tasks.dlq`, and what works operations off."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from taskflow.bus.announce import subscribe_control
from taskflow.bus.connect import Bus
from taskflow.bus.rights import Role
from taskflow.domain.errors import Unavailable
from taskflow.engine.bulk import Bulk
from taskflow.engine.burial import Watch
from taskflow.engine.bury import Undertaker
from taskflow.engine.dispatch import Dispatcher
from taskflow.kit.lifecycle import Guard
from taskflow.kit.probes import Probes
from taskflow.kit.ticker import Ticker
from taskflow.store.connect import Database, Line
from taskflow_dlq_consumer.settings import Settings

OPERATIONS_SECONDS = 10.0
"""How late an operation may begin of which nobody told us: NATS was away."""


async def serve(settings: Settings, stop: asyncio.Event) -> int:
    """Handle dead letters until told to stop."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        database = await enter(Database(settings.database_url, application="taskflow-dlq-consumer"))
        login = settings.login(Role.DLQ_CONSUMER)
        bus = await enter(
            Bus(settings.nats_url, settings.topology(), name="taskflow-dlq-consumer", login=login)
        )
        line = await enter(Line(database))
        undertaker = Undertaker(line, bus, Watch(line, bus, settings.limits()))
        dispatcher = await enter(Dispatcher(bus))
        bulk = Bulk(await enter(Line(database)), bus, dispatcher)
        operations = Ticker("operations", bulk.run_once, OPERATIONS_SECONDS, passing=(Unavailable,))

        async def told(_body: dict[str, Any]) -> None:
            operations.wake()

        await subscribe_control(bus, "operation", told)
        guard = await enter(Guard())
        guard.spawn(undertaker.run(), "undertaker")
        guard.spawn(operations.run(), operations.name)

        async def ready() -> tuple[bool, dict[str, Any]]:
            fetching = bus.connected and undertaker.puller.fetching
            well = fetching and operations.on_time and not bus.denied
            return well, {"fetching": fetching, "operations": operations.on_time, "denied": bus.denied}

        await enter(Probes(settings.probe_port, settings.http_host, ready))
        await stop.wait()
    return 0
