"""The dlq-consumer, put together: one undertaker that takes notices from `tasks.dlq`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from taskflow.bus.connect import Bus
from taskflow.bus.rights import Role
from taskflow.engine.bury import Undertaker
from taskflow.kit.lifecycle import Guard
from taskflow.kit.probes import Probes
from taskflow.store.connect import Database, Line
from taskflow_dlq_consumer.settings import Settings


async def serve(settings: Settings, stop: asyncio.Event) -> int:
    """Handle dead letters until told to stop."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        database = await enter(Database(settings.database_url, application="taskflow-dlq-consumer"))
        login = settings.login(Role.DLQ_CONSUMER)
        bus = await enter(
            Bus(settings.nats_url, settings.topology(), name="taskflow-dlq-consumer", login=login)
        )
        undertaker = Undertaker(await enter(Line(database)), bus)
        guard = await enter(Guard())
        guard.spawn(undertaker.run(), "undertaker")

        async def ready() -> tuple[bool, dict[str, Any]]:
            fetching = bus.connected and undertaker.puller.fetching
            return fetching and not bus.denied, {"fetching": fetching, "denied": bus.denied}

        await enter(Probes(settings.probe_port, settings.http_host, ready))
        await stop.wait()
    return 0
