"""How we reach NATS: one connection a process that is found again for ever, and errors that are heard."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Self

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import NoServersError
from nats.js import JetStreamContext

from taskflow.bus.confirmed import Confirmations
from taskflow.bus.errors import BusAway, translated
from taskflow.bus.login import KeyedClient, Login, connect_options
from taskflow.bus.topology import Topology
from taskflow.kit.logging import get_logger
from taskflow.kit.metrics import counter, gauge

log = get_logger(__name__)

CONNECTED = gauge("taskflow_nats_connected", "1 while this process is connected to NATS.")
LOST = counter(
    "taskflow_nats_connections_lost_total", "Connections to NATS that ended though nobody closed them."
)
DENIED = counter("taskflow_nats_denied_total", "Actions that NATS denied this process.")

PING_SECONDS = 2
"""A connection that has not answered the last two pings is dead, whatever the kernel believes of it."""
SAID_AGAIN_SECONDS = 5.0
DENIED_MAX = 20


class _Client(KeyedClient):
    """nats-py, but for this too: before it reconnects it waits until the far side has taken what was left to send, which
    on a half-open connection is for ever.
    """

    async def _attempt_reconnect(self) -> None:
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        await super()._attempt_reconnect()


class Hearing:
    """A subscription. It outlives its connection: nats-py renews it when it reconnects, the bus when that gives up."""

    def __init__(self, bus: Bus, subject: str, on_message: Callable[[Msg], Awaitable[None]]) -> None:
        self._bus = bus
        self._subject = subject
        self._on_message = on_message
        self._subscription: Subscription | None = None

    async def attach(self, client: Client) -> None:
        """Subscribe on this connection."""
        with translated():
            self._subscription = await client.subscribe(self._subject, cb=self._on_message)

    async def unsubscribe(self) -> None:
        """Hear no more."""
        self._bus.forget(self)
        if self._subscription is not None:
            await self._subscription.unsubscribe()


class Bus:
    """NATS as a program sees it. Entering never waits for the server: a program is up while NATS is away.

    `login` is who it is there; without it, what the URL says, with the inbox that everyone has.
    """

    def __init__(self, url: str, topology: Topology, *, name: str, login: Login | None = None) -> None:
        self.topology = topology
        self._url = url
        self._name = name
        self._login = login
        self._client: Client | None = None
        self._jetstream: JetStreamContext | None = None
        self._dial: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._closing = False
        self._on_connected: list[Callable[[], Awaitable[None]]] = []
        self._hearings: list[Hearing] = []
        self.confirmations = Confirmations(self)
        self._said, self._said_at = "", 0.0
        self._refusal = ""  # the last before there was a connection
        self.denied: list[str] = []
        """What this connection has tried and may not, as NATS words it. It stays until there is another connection."""
        self.connections = 0
        """How many there have been: what the server held for an earlier one is gone."""

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
        return Bus(self._url, self.topology, name=self._name, login=self._login)

    @property
    def connected(self) -> bool:
        """Whether the server is there right now."""
        return self._client is not None and self._client.is_connected

    @property
    def trouble(self) -> str | None:
        """Why the bus cannot be used as it should, in words; None if it can."""
        if not self.connected:
            return f"NATS is not connected{self._refusal and ': ' + self._refusal}"
        return "NATS denies: " + ", ".join(self.denied) if self.denied else None

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
            self._jetstream = JetStreamContext(client, timeout=5)
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

    async def subscribe(self, subject: str, on_message: Callable[[Msg], Awaitable[None]]) -> Hearing:
        """Core subscribe; it holds for every later connection too."""
        hearing = Hearing(self, subject, on_message)
        await hearing.attach(self.client)
        self._hearings.append(hearing)
        return hearing

    def forget(self, hearing: Hearing) -> None:
        """Do not renew this subscription any more."""
        if hearing in self._hearings:
            self._hearings.remove(hearing)

    async def _connect(self) -> None:
        """Until a connection stands, and all that is heard is heard on it."""
        while True:
            client = _Client()
            self.denied = []
            try:
                await client.connect(
                    **connect_options(self._url, self._login),
                    name=self._name,
                    connect_timeout=2,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.25,  # type: ignore[arg-type]  # said to be an int, only slept for
                    ping_interval=PING_SECONDS,
                    max_outstanding_pings=2,
                    allow_reconnect=True,
                    pending_size=8 * 1024 * 1024,
                    error_cb=self._heard,
                    disconnected_cb=self._gone,
                    reconnected_cb=self._back,
                    closed_cb=self._closed,
                )
                self._client, self._jetstream = client, None
                for hearing in self._hearings:
                    await hearing.attach(client)
                break
            except Exception as error:  # an initial refusal of any kind: the server may come yet
                self._refusal = _refusal(error) or self._refusal
                self._say("nats.connect_failed", self._refusal or repr(error))
                self._client = None
                with contextlib.suppress(Exception):
                    await client.close()
                await asyncio.sleep(0.5)
        self._arrived.set()
        await self._tell_connected()

    async def _tell_connected(self) -> None:
        CONNECTED.set(1)
        self.connections += 1
        self._refusal = ""
        for act in self._on_connected:
            try:
                await act()
            except BusAway as error:
                log.warning("nats.setup_failed", error=str(error))

    async def _heard(self, error: Exception) -> None:
        """What NATS says beside its answers. A denied action may be of no consequence at once, and is for good."""
        said = str(error).removeprefix("nats: ").strip("'")
        if not said.lower().startswith("permissions violation"):
            if not self.connected:
                self._refusal = _refusal(error) or self._refusal
            self._say("nats.error_received", repr(error))
        elif (what := said[len("permissions violation for ") :]) not in self.denied:
            DENIED.inc()
            self.denied = [*self.denied[-DENIED_MAX + 1 :], what]
            log.error("nats.action_denied", action=what, role=self._login.role if self._login else None)

    def _say(self, event: str, error: str) -> None:
        """The same is told once in five seconds: it may be said of every message."""
        if event + error != self._said or time.monotonic() - self._said_at > SAID_AGAIN_SECONDS:
            self._said, self._said_at = event + error, time.monotonic()
            log.warning(event, error=error)

    async def _gone(self) -> None:
        self.denied = []  # not when it is back: by then nats-py has subscribed again, and may have been denied it
        CONNECTED.set(0)
        if not self._closing:
            LOST.inc()
            log.warning("nats.disconnected")

    async def _closed(self) -> None:
        """NATS refused us (its accounts were reloaded, say), and nats-py has given up for good: begin anew."""
        if not self._closing and self._client is not None:
            log.error("nats.closed", error=repr(self._client.last_error))
            self._client = None
            self._dial = asyncio.create_task(self._connect(), name="bus.connect")

    async def _back(self) -> None:
        log.info("nats.reconnected")
        await self._tell_connected()


def _refusal(error: Exception) -> str:
    """What is worth telling of a connection that was not made: the server's or our own refusal, not that it is away."""
    refused = isinstance(error, NatsError | ssl.SSLError) and not isinstance(error, NoServersError)
    return str(error).removeprefix("nats: ").strip("'") if refused else ""
