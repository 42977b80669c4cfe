"""The api's connections and verbs, put together. Tests and the program build the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from taskflow.bus.connect import Bus
from taskflow.bus.rights import Role
from taskflow.domain.errors import NameTaken, Unavailable
from taskflow.engine.accounts import Accounts, ensure_admin
from taskflow.engine.api_keys import ApiKeys
from taskflow.engine.checkup import Checkup
from taskflow.engine.commands import Commands
from taskflow.engine.credentials import Credentials
from taskflow.engine.declare import package_version
from taskflow.engine.deliveries import Deliveries
from taskflow.engine.directory import Directory
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.doctor import Doctor, Patience
from taskflow.engine.endpoints import Endpoints
from taskflow.engine.explain import Explainer
from taskflow.engine.feed import Feed
from taskflow.engine.health import Health
from taskflow.engine.limits import Limiter
from taskflow.engine.operations import Operations
from taskflow.engine.passwords import Passwords
from taskflow.engine.read import Reader
from taskflow.engine.series import SeriesReader
from taskflow.engine.settings import TaskDefaults
from taskflow.engine.sign_in import SignIn, SignInRules
from taskflow.engine.signing import SigningSecrets
from taskflow.engine.stream_tickets import StreamTickets
from taskflow.engine.submit import Submitter
from taskflow.engine.tokens import Tokens
from taskflow.engine.users import Users
from taskflow.engine.vault import Vault, vault_of
from taskflow.engine.waiting import Waiters
from taskflow.kit.lifecycle import Guard
from taskflow.kit.logging import get_logger
from taskflow.kit.settings import describe
from taskflow.store.connect import Database, Line
from taskflow_api import feed_frames
from taskflow_api.admission import Admission
from taskflow_api.limits import LimitRules
from taskflow_api.services import Services
from taskflow_api.settings import Settings
from taskflow_api.strangers import refuse_foreign_pages

log = get_logger(__name__)

FIRST_ADMIN_SECONDS = 2.0


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Connect, and build what the routes call. Neither server needs to be there yet."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        database = await enter(Database(settings.database_url, application="taskflow-api", pool_max=20))
        bus = await enter(
            Bus(settings.nats_url, settings.topology(), name="taskflow-api", login=settings.login(Role.API))
        )
        directory = Directory(database)
        dispatcher = await enter(Dispatcher(bus, directory.least_slots))
        reader = await enter(Reader(database, directory))
        submitter = await enter(_submitter(settings, database, directory, dispatcher))
        waiters = await enter(Waiters(database, bus, reader))
        feed = await enter(Feed(bus, feed_frames.frame, feed_frames.mark))
        commands = Commands(database, bus, dispatcher, directory, reader)
        vault = vault_of(settings)
        signing = await _signing(stack, settings, database, vault)
        yield Services(
            submitter=submitter,
            reader=reader,
            explainer=Explainer(database, bus),
            series=SeriesReader(database),
            waiters=waiters,
            feed=feed,
            commands=commands,
            operations=Operations(database, bus),
            health=Health(database, bus),
            checkup=await _checkup(stack, settings, database, bus),
            credentials=signing.credentials,
            admission=_admission(settings, signing.credentials, database, await enter(Limiter(database))),
            users=Users(database, signing.credentials),
            api_keys=ApiKeys(database, signing.credentials),
            accounts=signing.accounts,
            sign_in=signing.sign_in,
            endpoints=Endpoints(settings.egress(), vault),
            deliveries=Deliveries(database, bus),
            signing_secrets=SigningSecrets(database, vault) if vault is not None else None,
        )


async def _checkup(stack: AsyncExitStack, settings: Settings, database: Database, bus: Bus) -> Checkup:
    doctor = Doctor(
        await stack.enter_async_context(Line(database)),
        bus,
        patience=Patience.of(settings.worker_lease),
        handler_grace=settings.handler_grace,
        letters_kept_seconds=settings.dead_letter_retention,
    )
    return Checkup(database, bus, doctor, version=package_version(), settings=describe(settings))


def _submitter(
    settings: Settings, database: Database, directory: Directory, dispatcher: Dispatcher
) -> Submitter:
    defaults = TaskDefaults(
        worker_max_attempts=settings.worker_max_attempts,
        worker_backoff_base=settings.worker_backoff_base,
        worker_backoff_max=settings.worker_backoff_max,
        task_timeout=settings.task_timeout,
    )
    return Submitter(
        database,
        directory,
        dispatcher,
        defaults,
        strict_types=settings.strict_types,
        validate_payloads=settings.validate_payloads,
        waiting_max=settings.queued_tasks_per_user_max,
    )


class _Signing(NamedTuple):
    """What tells callers, and what makes credentials: the latter with SECRET_KEY alone."""

    credentials: Credentials
    accounts: Accounts | None = None
    sign_in: SignIn | None = None


async def _signing(
    stack: AsyncExitStack, settings: Settings, database: Database, vault: Vault | None
) -> _Signing:
    key, previous = settings.secret_key, settings.secret_key_previous
    if key is None or vault is None:
        return _Signing(await stack.enter_async_context(Credentials(database, None)))
    tokens = Tokens(key, previous, seconds=settings.access_token_expire_minutes * 60)
    credentials = await stack.enter_async_context(Credentials(database, tokens))
    passwords = await stack.enter_async_context(Passwords())
    rules = SignInRules(
        refresh_seconds=settings.refresh_token_expire_days * 86_400.0,
        failures_max=settings.max_failed_attempts,
        lock_seconds=float(settings.lockout_duration_seconds),
    )
    accounts = Accounts(database, passwords, vault, registration_open=settings.registration_open)
    if settings.admin_password is not None:
        first = _first_admin(database, passwords, settings.admin_username, settings.admin_password)
        (await stack.enter_async_context(Guard())).spawn(first, "first admin")
    return _Signing(credentials, accounts, SignIn(database, credentials, passwords, tokens, rules))


async def _first_admin(database: Database, passwords: Passwords, username: str, password: str) -> None:
    """Make the first admin as soon as PostgreSQL is there."""
    while True:
        try:
            await ensure_admin(database, passwords, username, password)
        except Unavailable as error:
            log.warning("first_admin.deferred", error=str(error))
            await asyncio.sleep(FIRST_ADMIN_SECONDS)
        except NameTaken as error:
            log.warning("first_admin.refused", username=username, error=error.detail)
            return
        else:
            return


def _admission(
    settings: Settings, credentials: Credentials, database: Database, limiter: Limiter
) -> Admission:
    limits = LimitRules(
        per_key=settings.rate_limit_per_hour,
        per_user=settings.user_rate_limit_per_hour,
        per_address=settings.login_rate_limit_per_hour,
    )
    return Admission(
        credentials,
        StreamTickets(database),
        limiter,
        limits,
        auth_required=settings.auth_required,
        refuse_strangers=lambda scope: refuse_foreign_pages(scope, settings),
    )
