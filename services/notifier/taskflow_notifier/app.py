"""The notifier, put together: deliveries are leased, sent and recorded, when one was written and when one is due."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from taskflow.bus.announce import subscribe_control
from taskflow.bus.connect import Bus
from taskflow.bus.rights import Role
from taskflow.engine.notify import Notifier
from taskflow.engine.signing import Signer
from taskflow.engine.vault import vault_of
from taskflow.kit.lifecycle import Guard
from taskflow.kit.outgoing import Outgoing
from taskflow.kit.probes import Probes
from taskflow.store.connect import Database, Line
from taskflow_notifier.settings import Settings


async def serve(settings: Settings, stop: asyncio.Event) -> int:
    """Deliver webhooks until told to stop; what is under way then is finished."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        database = await enter(Database(settings.database_url, application="taskflow-notifier"))
        login = settings.login(Role.NOTIFIER)
        bus = await enter(Bus(settings.nats_url, settings.topology(), name="taskflow-notifier", login=login))
        vault, rules = vault_of(settings), settings.rules()
        notifier = Notifier(
            await enter(Line(database)),
            await enter(Line(database)),
            await enter(Outgoing(settings.egress(), connections_max=rules.concurrency + 1)),
            Signer(database, vault),
            vault,
            rules,
            alert_secret=settings.alert_webhook_secret,
        )
        await enter(notifier)

        async def told(_body: dict[str, Any]) -> None:
            notifier.heard()

        await subscribe_control(bus, "webhook", told)
        guard = await enter(Guard())
        guard.spawn(notifier.ticker.run(), notifier.ticker.name)

        async def ready() -> tuple[bool, dict[str, Any]]:
            well = notifier.ticker.on_time and not bus.denied
            return well, {"deliveries": notifier.ticker.on_time, "nats": bus.connected, "denied": bus.denied}

        await enter(Probes(settings.probe_port, settings.http_host, ready))
        await stop.wait()
    return 0
