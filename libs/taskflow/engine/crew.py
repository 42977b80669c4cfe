"""A worker's parts at work together: intake, claimer, executor, heart and reconciler, and what they tell each other."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from typing import Any, Self

from msgspec import Struct

from taskflow.bus.announce import subscribe_control
from taskflow.bus.connect import Bus
from taskflow.domain.attempt import Outcome
from taskflow.domain.errors import Unavailable
from taskflow.domain.task import Claimed
from taskflow.engine.beat import Heart
from taskflow.engine.claim import Claimer
from taskflow.engine.declare import declarations, registration
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.execute import Executor
from taskflow.engine.give_up import give_up
from taskflow.engine.heal import unpark
from taskflow.engine.intake import Intake
from taskflow.engine.lines import LineKeeper
from taskflow.engine.meters import BUSY, FETCHING, SLOTS
from taskflow.engine.reconcile import Reconciler
from taskflow.engine.record import Recorder
from taskflow.engine.slots import Identity, Slots
from taskflow.engine.timings import FLUSH_SECONDS, Timings
from taskflow.engine.watchdog import Watchdog
from taskflow.handlers.runner import Runner
from taskflow.kit.lifecycle import Guard
from taskflow.kit.logging import get_logger
from taskflow.kit.ticker import Ticker
from taskflow.store import catalog
from taskflow.store.connect import Database, Line
from taskflow.store.workers import Beat, Registration

log = get_logger(__name__)

TIDY_SECONDS = 0.25


class Parts(Struct, frozen=True):
    """What a crew works with: opened by the worker's `app`, closed there."""

    database: Database
    bus: Bus
    dispatcher: Dispatcher
    recorder: Recorder
    lines: LineKeeper
    runner: Runner
    slots: Slots
    identity: Identity
    claim_line: Line
    timings: Timings


class Limits(Struct, frozen=True):
    """Times of a worker in seconds, and how many deaths in a row make a task poison."""

    lease_seconds: float
    park_seconds: float
    grace_seconds: float
    poison_losses_max: int


class Crew:
    """Everything of a worker between its connections and its handlers. Enter it once `prepare` has succeeded."""

    def __init__(self, parts: Parts, queues: list[str], limits: Limits) -> None:
        self._limits = limits
        self._bus = parts.bus
        self._database = parts.database
        self._dispatcher = parts.dispatcher
        self._runner = parts.runner
        self._slots = parts.slots
        self._identity = parts.identity
        self._claim_line = parts.claim_line
        self._timings = parts.timings
        self._queues = sorted(set(queues))
        self._stack = AsyncExitStack()
        self._beats: asyncio.Queue[tuple[dict[tuple[str, int], Claimed], Beat]] = asyncio.Queue()
        self._broken = asyncio.Event()
        self._stopping = False
        self._subscribed = False
        self._executor = Executor(
            parts.runner, parts.recorder, parts.lines, parts.slots, parts.timings, on_free=self._slot_freed
        )
        self._claimer = self._made_claimer()
        self._intake = Intake(
            parts.bus,
            self._queues,
            free_slots=lambda: parts.slots.free,
            on_arrival=self._claimer.wake,
            park_seconds=limits.park_seconds,
        )
        self._heart = self._made_heart()
        self._reconciler = self._made_reconciler(parts)
        SLOTS.set(parts.slots.total)
        BUSY.set_function(lambda: parts.slots.busy)
        FETCHING.set_function(lambda: self._intake.fetching and self._heart.lease_live)

    def _made_claimer(self) -> Claimer:
        return Claimer(
            self._claim_line,
            self._identity,
            self._slots,
            self._dispatcher,
            self._executor,
            self._timings,
            types=self._startable,
            paused_types=lambda: self._reconciler.paused_types,
        )

    def _made_heart(self) -> Heart:
        watchdog = Watchdog(
            self._runner,
            self._held_now,
            grace_seconds=self._limits.grace_seconds,
            lease_seconds=self._limits.lease_seconds,
            on_stuck=self._broken.set,
            give_up=self._give_up,
        )
        return Heart(
            self._database,
            self._registration,
            lease_seconds=self._limits.lease_seconds,
            held=self._held_now,
            busy=lambda: self._slots.busy,
            on_beat=lambda held, beat: self._beats.put_nowait((held, beat)),
            watchdog=watchdog,
        )

    def _made_reconciler(self, parts: Parts) -> Reconciler:
        return Reconciler(
            parts.database,
            parts.identity,
            self._executor,
            self._claimer,
            parts.recorder,
            self._intake,
            register=self._heart.register,
        )

    async def prepare(self) -> None:
        """Make types, queues and consumers known. Raises `Unavailable` while a server is not ready for it."""
        async with self._database.connection() as conn:
            await catalog.declare_types(conn, declarations(self._runner.registry))
            await catalog.add_queues(conn, self._queues)
            paused_queues, self._reconciler.paused_types = await catalog.read_pauses(conn)
        await self._intake.pause(paused_queues)
        await self._intake.prepare()

    async def __aenter__(self) -> Self:
        """Raises `Unavailable` with nothing left open if a server goes away meanwhile: it may be entered again."""
        try:
            await self._stack.enter_async_context(self._heart)
            await self._stack.enter_async_context(self._intake)
            self._bus.on_connected(self._subscribe)
            await self._subscribe()
            served = [(queue, name) for queue in self._queues for name in self._startable()]
            await unpark(self._claim_line, self._dispatcher, served)
        except Unavailable:
            await self._stack.aclose()
            raise
        await self._intake.open(True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def spawn(self, guard: Guard) -> None:
        """Start the loops."""
        guard.spawn(self._claimer.run(self._intake), "claimer")
        guard.spawn(self._learn(), "reconciler")
        guard.spawn(_failure(self._executor.failed), "executor")
        guard.spawn(_failure(self._heart.failed), "heart")
        guard.spawn(Ticker("intake", self._tidy, TIDY_SECONDS, passing=(Unavailable,)).run(), "intake")
        flush = Ticker("timings", self._timings.flush, FLUSH_SECONDS, passing=(Unavailable,))
        guard.spawn(flush.run(), "timings")

    async def until_over(self, stop: asyncio.Event) -> bool:
        """Until the worker is told to stop (True), or one of its handlers does not end (False)."""
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(self._broken.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return not self._broken.is_set()

    async def drain(self, timeout_seconds: float) -> None:
        """Take nothing new, let handlers finish, hand the rest back."""
        self._stopping = True
        await self._intake.open(False)
        with contextlib.suppress(TimeoutError):  # what a claim in flight wins is still ours to finish
            await asyncio.wait_for(self._claimer.settled(), timeout_seconds)
        log.info("drain.begun", running=len(self._executor.held))
        await self._executor.drain(timeout_seconds, self._limits.grace_seconds)

    async def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether this worker fetches: connected, its pulls answered, its lease believed in."""
        found: dict[str, Any] = {
            "fetching": self._intake.fetching,
            "lease_live": self._heart.lease_live,
            "draining": self._stopping or self._reconciler.draining,
            "denied": self._bus.denied,
        }
        return bool(
            found["fetching"] and found["lease_live"] and not found["draining"] and not found["denied"]
        ), found

    async def _give_up(self, ends: list[tuple[Claimed, Outcome]]) -> None:
        await give_up(
            self._database,
            self._bus,
            self._identity.id,
            ends,
            poison_losses_max=self._limits.poison_losses_max,
            lease_seconds=self._limits.lease_seconds,
        )

    def _startable(self) -> list[str]:
        paused = self._reconciler.paused_types
        return [name for name in self._runner.registry.types if name not in paused]

    def _held_now(self) -> dict[tuple[str, int], Claimed]:
        return dict(self._executor.held)  # a copy at one stroke: other threads ask too

    def _slot_freed(self) -> None:
        self._claimer.wake()

    def _registration(self) -> Registration:
        return registration(self._identity, self._queues, self._runner.registry, self._slots.total)

    async def _tidy(self) -> None:
        accept = self._heart.lease_live and not self._stopping and not self._reconciler.draining
        await self._intake.open(accept)
        await self._intake.tidy()

    async def _learn(self) -> None:
        while True:
            held, beat = await self._beats.get()
            try:
                await self._reconciler.learn(held, beat)
            except Unavailable as error:
                log.warning("beat.deferred", error=str(error))

    async def _subscribe(self) -> None:
        """nats-py renews subscriptions after a reconnect, so that this is done once."""
        if self._subscribed or not self._bus.connected:
            return
        await subscribe_control(self._bus, "cancel", self._told_cancel)
        await subscribe_control(self._bus, "pause", self._told_pause)
        await subscribe_control(self._bus, "drain", self._told_drain)
        self._subscribed = True

    async def _told_cancel(self, body: dict[str, Any]) -> None:
        if isinstance(task_id := body.get("id"), str) and isinstance(version := body.get("version"), int):
            self._executor.cancel(task_id, version)

    async def _told_pause(self, body: dict[str, Any]) -> None:
        """Take the message at its word at once; what PostgreSQL says then decides."""
        if body.get("paused") and isinstance(name := body.get("queue"), str):
            await self._intake.pause(self._intake.paused | {name})
        if body.get("paused") and isinstance(name := body.get("type"), str):
            self._reconciler.paused_types = self._reconciler.paused_types | {name}
        async with self._database.connection() as conn:
            queues, self._reconciler.paused_types = await catalog.read_pauses(conn)
        await self._intake.pause(queues)

    async def _told_drain(self, body: dict[str, Any]) -> None:
        if body.get("worker_id") == self._identity.id:
            self._reconciler.draining = True
            await self._intake.open(False)


async def _failure(of: asyncio.Future[None]) -> None:
    await of
