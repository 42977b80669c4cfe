"""The api's connections and verbs, put together. Tests and the program build the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from taskflow.bus.connect import Bus
from taskflow.bus.rights import Role
from taskflow.engine.commands import Commands
from taskflow.engine.directory import Directory
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.health import Health
from taskflow.engine.operations import Operations
from taskflow.engine.read import Reader
from taskflow.engine.settings import TaskDefaults
from taskflow.engine.submit import Submitter
from taskflow.engine.waiting import Waiters
from taskflow.store.connect import Database
from taskflow_api.services import Services
from taskflow_api.settings import Settings


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Connect, and build what the routes call. Neither server needs to be there yet."""
    defaults = TaskDefaults(
        worker_max_attempts=settings.worker_max_attempts,
        worker_backoff_base=settings.worker_backoff_base,
        worker_backoff_max=settings.worker_backoff_max,
        task_timeout=settings.task_timeout,
    )
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        database = await enter(Database(settings.database_url, application="taskflow-api", pool_max=20))
        bus = await enter(
            Bus(settings.nats_url, settings.topology(), name="taskflow-api", login=settings.login(Role.API))
        )
        directory = Directory(database)
        dispatcher = await enter(Dispatcher(bus, directory.least_slots))
        reader = await enter(Reader(database, directory))
        submitter = await enter(
            Submitter(
                database,
                directory,
                dispatcher,
                defaults,
                strict_types=settings.strict_types,
                validate_payloads=settings.validate_payloads,
                waiting_max=settings.queued_tasks_per_user_max,
            )
        )
        waiters = await enter(Waiters(database, bus, reader))
        commands = Commands(database, bus, dispatcher, directory, reader)
        yield Services(
            submitter=submitter,
            reader=reader,
            waiters=waiters,
            commands=commands,
            operations=Operations(database, bus),
            health=Health(database, bus),
        )
