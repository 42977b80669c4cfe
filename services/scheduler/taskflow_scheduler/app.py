"""The scheduler, put together: one loop a duty. Every duty is safe when two schedulers overlap."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from taskflow.bus.connect import Bus
from taskflow.bus.rights import Role
from taskflow.bus.streams import ensure_streams
from taskflow.domain.errors import Unavailable
from taskflow.engine.beat import BEATS_PER_LEASE
from taskflow.engine.bury import Reminder
from taskflow.engine.census import Census
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.heal import HEAL_SECONDS, Healer
from taskflow.engine.janitor import Janitor, Keeping
from taskflow.engine.lookout import Lookout
from taskflow.engine.prune import Pruner
from taskflow.engine.rescue import Rescuer
from taskflow.engine.rounds import Rounds
from taskflow.engine.turn import Turner
from taskflow.kit.lifecycle import Guard
from taskflow.kit.probes import Probes
from taskflow.kit.ticker import Ticker
from taskflow.store.connect import Database, Line
from taskflow_scheduler.settings import Settings

TURN_SECONDS = 0.75
"""How late a task may be that comes due sooner than this after it was written; of others the last look told when."""
TOPOLOGY_SECONDS = 5.0
FOLD_SECONDS = 15.0
REMIND_SECONDS = 30.0
PRUNE_SECONDS = 300.0
RANGES_SECONDS = 3_600.0
SWEEP_SECONDS = 3_600.0
LOOK_SECONDS = 60.0
SCAN_SECONDS = 3_600.0


async def serve(settings: Settings, stop: asyncio.Event) -> int:
    """Tend until told to stop."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        database = await enter(Database(settings.database_url, application="taskflow-scheduler"))
        login = settings.login(Role.SCHEDULER)
        bus = await enter(Bus(settings.nats_url, settings.topology(), name="taskflow-scheduler", login=login))
        dispatcher = await enter(Dispatcher(bus))
        urgent, slow = await enter(Line(database)), await enter(Line(database))
        rounds = Rounds(
            database,
            await enter(Line(database)),
            bus,
            lease_seconds=settings.worker_lease,
            handler_grace=settings.handler_grace,
            letters_kept_seconds=settings.dead_letter_retention,
        )
        duties = _duties(settings, bus, dispatcher, urgent, slow, rounds)
        guard = await enter(Guard())
        for duty in duties:
            guard.spawn(duty.run(), duty.name)

        async def ready() -> tuple[bool, dict[str, Any]]:
            late = [duty.name for duty in duties if not duty.on_time]
            return not late and not bus.denied, {"late": late, "nats": bus.connected, "denied": bus.denied}

        census = Census(await enter(Line(database, hot=False)))
        await enter(Probes(settings.probe_port, settings.http_host, ready, census.refresh))
        await stop.wait()
    return 0


def _duties(
    settings: Settings, bus: Bus, dispatcher: Dispatcher, urgent: Line, slow: Line, rounds: Rounds
) -> list[Ticker]:
    lookout = Lookout(urgent)
    rescuer = Rescuer(
        urgent,
        dispatcher,
        lease_seconds=settings.worker_lease,
        handler_grace=settings.handler_grace,
        poison_losses_max=settings.poison_losses_max,
        none_run=lambda: lookout.none(lambda signs: signs.running),
    )
    healer, reminder = Healer(slow, bus, dispatcher), Reminder(slow, dispatcher)
    pruner = Pruner(
        slow,
        keep_tasks_seconds=settings.task_retention,
        keep_letters_seconds=settings.dead_letter_retention,
        keep_stats_seconds=settings.stats_retention,
    )
    keeping = Keeping(
        accounts_seconds=settings.account_retention,
        audit_seconds=settings.audit_retention,
        key_idle_seconds=settings.api_key_idle_max,
    )
    away = (Unavailable,)
    heal_once = lookout.unless_none(lambda signs: signs.queued, healer.run_once)
    remind_once = lookout.unless_none(lambda signs: signs.letters, reminder.run_once)
    fold_once = lookout.unless_none(lambda signs: signs.deltas, pruner.fold_once)
    return [
        Ticker("topology", lambda: ensure_streams(bus), TOPOLOGY_SECONDS, passing=away),
        Ticker("turn", Turner(urgent, dispatcher, lookout).run_once, TURN_SECONDS, passing=away),
        Ticker("rescue", rescuer.run_once, settings.worker_lease / BEATS_PER_LEASE, passing=away),
        Ticker("heal", heal_once, HEAL_SECONDS, passing=away),
        Ticker("remind", remind_once, REMIND_SECONDS, passing=away),
        Ticker("fold", fold_once, FOLD_SECONDS, passing=away),
        Ticker("ranges", pruner.ranges_once, RANGES_SECONDS, passing=away),
        Ticker("prune", pruner.prune_once, PRUNE_SECONDS, passing=away),
        Ticker("sweep", Janitor(slow, keeping).run_once, SWEEP_SECONDS, passing=away),
        Ticker("look", rounds.look_once, LOOK_SECONDS, passing=away),
        Ticker("scan", rounds.scan_once, SCAN_SECONDS, passing=away),
    ]
