"""The notifier, put together: what delivers webhooks."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from taskflow.bus.connect import Bus
from taskflow.bus.rights import Role
from taskflow.kit.probes import Probes
from taskflow.store.connect import Database
from taskflow_notifier.settings import Settings


async def serve(settings: Settings, stop: asyncio.Event) -> int:
    """Deliver webhooks until told to stop."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        await enter(Database(settings.database_url, application="taskflow-notifier"))
        login = settings.login(Role.NOTIFIER)
        bus = await enter(Bus(settings.nats_url, settings.topology(), name="taskflow-notifier", login=login))

        async def ready() -> tuple[bool, dict[str, Any]]:
            return bus.connected and not bus.denied, {"connected": bus.connected, "denied": bus.denied}

        await enter(Probes(settings.probe_port, settings.http_host, ready))
        await stop.wait()
    return 0
