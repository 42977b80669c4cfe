"""How we reach NATS: one connection a process that is found again for ever, and errors that are heard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Self

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext

from taskflow.bus.errors import BusAway, translated
from taskflow.bus.topology import Topology
from taskflow.kit.logging import get_logger

log = get_logger(__name__)


class Bus:
    """NATS as a program sees it. Entering never waits for the server: a program is up while NATS is away."""

    def __init__(self, url: str, topology: Topology, *, name: str) -> None:
        self.topology = topology
        self._url = url
        self._name = name
        self._client: Client | None = None
        self._jetstream: JetStreamContext | None = None
        self._dial: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._closing = False
        self._on_connected: list[Callable[[], Awaitable[None]]] = []

    async def __aenter__(self) -> Self:
        self._dial = asyncio.create_task(self._connect(), name="bus.connect")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), 2)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._dial is not None:
            self._dial.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._dial
        self._closing = True
        if self._client is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._client.flush(), 1)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._client.close(), 2)

    def beside(self) -> Bus:
        """A connection of its own to the same server, for another event loop; not entered yet."""
        return Bus(self._url, self.topology, name=self._name)

    @property
    def connected(self) -> bool:
        """Whether the server is there right now."""
        return self._client is not None and self._client.is_connected

    @property
    def client(self) -> Client:
        """The connection; raises `BusAway` while there is none."""
        if self._client is None or not self._client.is_connected:
            raise BusAway("NATS is not connected", retry_after_seconds=1)
        return self._client

    @property
    def jetstream(self) -> JetStreamContext:
        """JetStream on the connection; raises `BusAway` while there is none."""
        client = self.client
        if self._jetstream is None:
            self._jetstream = client.jetstream(timeout=5, publish_async_max_pending=20_000)
        return self._jetstream

    async def wait_connected(self) -> None:
        """Until the first connection stands."""
        await self._arrived.wait()

    def on_connected(self, act: Callable[[], Awaitable[None]]) -> None:
        """Call `act` whenever the connection stands, again after each reconnect."""
        self._on_connected.append(act)

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Core publish: nobody confirms it."""
        client = self.client
        with translated():
            await client.publish(subject, payload, reply=reply)

    async def subscribe(self, subject: str, on_message: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Core subscribe; nats-py renews it after a reconnect."""
        client = self.client
        with translated():
            return await client.subscribe(subject, cb=on_message)

    async def _connect(self) -> None:
        while True:
            try:
                self._client = await nats.connect(
                    self._url,
                    name=self._name,
                    connect_timeout=2,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.25,
                    ping_interval=10,
                    max_outstanding_pings=2,
                    allow_reconnect=True,
                    pending_size=8 * 1024 * 1024,
                    error_cb=self._heard,
                    disconnected_cb=self._gone,
                    reconnected_cb=self._back,
                )
                break
            except Exception as error:  # an initial refusal of any kind: the server may come yet
                log.warning("NATS is away", error=repr(error))
                await asyncio.sleep(0.5)
        self._arrived.set()
        await self._tell_connected()

    async def _tell_connected(self) -> None:
        for act in self._on_connected:
            try:
                await act()
            except BusAway as error:
                log.warning("after connecting", error=str(error))

    async def _heard(self, error: Exception) -> None:
        log.warning("NATS says", error=repr(error))

    async def _gone(self) -> None:
        if not self._closing:
            log.warning("NATS connection lost")

    async def _back(self) -> None:
        log.info("NATS connection is back")
        await self._tell_connected()
