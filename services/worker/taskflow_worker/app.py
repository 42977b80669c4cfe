"""The worker, put together: intake -> claim -> execute -> record, with a heart beside them.

Entered downstream first, so that leaving closes upstream first: stop taking, finish or hand back, record, close.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from taskflow.bus.connect import Bus
from taskflow.bus.rights import Role
from taskflow.domain.errors import Unavailable
from taskflow.engine.crew import Crew, Limits, Parts
from taskflow.engine.declare import package_version
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.lines import LineKeeper
from taskflow.engine.push import Pusher
from taskflow.engine.push_hosts import PushHosts
from taskflow.engine.record import Recorder
from taskflow.engine.signing import Signer
from taskflow.engine.slots import Identity, Slots
from taskflow.engine.timings import Timings
from taskflow.engine.vault import vault_of
from taskflow.handlers.given import give
from taskflow.handlers.registry import DeclarationError, Registry, load_registry
from taskflow.handlers.runner import Runner
from taskflow.kit.lifecycle import EXIT_BROKEN, Guard, ProgramError
from taskflow.kit.logging import get_logger
from taskflow.kit.outgoing import Outgoing
from taskflow.kit.probes import Probes
from taskflow.kit.tracing import tracing
from taskflow.store.connect import Database, Line
from taskflow_worker.settings import Settings, check_queues

log = get_logger(__name__)

BUILTIN_HANDLERS = "taskflow_worker.handlers"


async def serve(settings: Settings, stop: asyncio.Event) -> int:
    """Work until told to stop, then drain."""
    check_queues(settings)
    imports = [*settings.worker_imports, *([BUILTIN_HANDLERS] if settings.builtin_types else [])]
    try:
        registry = load_registry(imports)
    except DeclarationError as error:
        raise ProgramError(str(error), exit_code=2) from error
    give({"egress": _reach(settings)})
    async with AsyncExitStack() as stack:
        stack.enter_context(tracing(Role.WORKER, on=settings.traces))
        parts = await _opened(settings, registry, imports, stack)
        guard = await stack.enter_async_context(Guard())
        crew = Crew(parts, settings.worker_queues, _limits(settings))
        await stack.enter_async_context(Probes(settings.probe_port, settings.http_host, crew.ready))
        if await _started(crew, stack, stop):
            crew.spawn(guard)
            types = sorted(registry.types)
            log.info("worker.started", worker_id=parts.identity.id, slots=parts.slots.total, types=types)
            in_order = await crew.until_over(stop)
            await crew.drain(settings.worker_drain_timeout if in_order else 0)
            return 0 if in_order else EXIT_BROKEN
    return 0


def _reach(settings: Settings) -> dict[str, tuple[str, ...]]:
    """What `http_request` may reach, as its handler reads it."""
    return {
        "allow": settings.egress_allow,
        "ports": settings.egress_ports,
        "schemes": settings.egress_schemes,
    }


def _limits(settings: Settings) -> Limits:
    return Limits(
        lease_seconds=settings.worker_lease,
        park_seconds=settings.worker_poll_timeout,
        grace_seconds=settings.handler_grace,
        poison_losses_max=settings.poison_losses_max,
    )


async def _opened(settings: Settings, registry: Registry, imports: list[str], stack: AsyncExitStack) -> Parts:
    """What a crew works with; `stack` closes it, the last opened first."""
    enter = stack.enter_async_context
    database = await enter(Database(settings.database_url, application="taskflow-worker"))
    login = settings.login(Role.WORKER)
    bus = await enter(Bus(settings.nats_url, settings.topology(), name="taskflow-worker", login=login))
    dispatcher = await enter(Dispatcher(bus))
    slots = Slots(settings.worker_concurrency, settings.worker_push_concurrency)
    if settings.builtin_types and settings.worker_push_concurrency:
        registry.add_push((await _pusher(settings, database, slots, stack)).run)
    recorder = Recorder(
        await enter(Line(database)),
        dispatcher,
        poison_losses_max=settings.poison_losses_max,
        pending_max=slots.total * 4 + 10_000,
    )
    lines = LineKeeper(await enter(Line(database)), dispatcher)
    runner = Runner(
        registry,
        imports=imports,
        slots=slots.total,
        on_history=lines.keep,
        handler_grace=settings.handler_grace,
    )
    return Parts(
        database=database,
        bus=bus,
        dispatcher=dispatcher,
        recorder=await enter(recorder),
        lines=await enter(lines),
        runner=await enter(runner),
        slots=slots,
        identity=Identity(settings.worker_version or package_version()),
        claim_line=await enter(Line(database)),
        timings=await enter(Timings(database)),
    )


async def _pusher(settings: Settings, database: Database, slots: Slots, stack: AsyncExitStack) -> Pusher:
    """What sends tasks with a target to it."""
    enter = stack.enter_async_context
    vault = vault_of(settings)
    hosts = await enter(PushHosts(await enter(Line(database)), limit=settings.push_host_concurrency))
    outgoing = await enter(Outgoing(settings.egress(), connections_max=settings.worker_push_concurrency + 1))
    return Pusher(hosts, outgoing, Signer(database, vault), vault, slots)


async def _started(crew: Crew, stack: AsyncExitStack, stop: asyncio.Event) -> bool:
    """Wait for PostgreSQL, its schema, NATS and its streams, however long they take; False if told to stop first."""
    while not stop.is_set():
        try:
            await crew.prepare()
            await stack.enter_async_context(crew)
        except Unavailable as error:
            log.warning("worker.start_deferred", reason=str(error))
            await _pause(stop, 0.5)
        else:
            return True
    return False


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    done: Any = asyncio.create_task(stop.wait())
    await asyncio.wait([done], timeout=seconds)
    done.cancel()
