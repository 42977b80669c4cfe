"""JetStream asked directly: what tests change behind the system's back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import nats
from nats.js import JetStreamContext
from tests.support.servers import blocking

T = TypeVar("T")


def ask_jetstream(urls: str | Sequence[str], act: Callable[[JetStreamContext], Awaitable[T]]) -> T:
    """What `act` gets from JetStream, on a connection of its own."""

    async def work() -> T:
        servers = [urls] if isinstance(urls, str) else list(urls)
        client = await nats.connect(servers, connect_timeout=2, max_reconnect_attempts=3, error_cb=_unheard)
        try:
            return await act(client.jetstream(timeout=5))
        finally:
            await client.close()

    return blocking(work)


def change_stream(url: str, stream: str, **fields: Any) -> None:
    """Give a stream other settings."""

    async def act(js: JetStreamContext) -> None:
        config = (await js.stream_info(stream)).config
        await js.update_stream(config.evolve(**fields))

    ask_jetstream(url, act)


def change_consumer(url: str, stream: str, consumer: str, **fields: Any) -> None:
    """Give a consumer other settings."""

    async def act(js: JetStreamContext) -> None:
        config = (await js.consumer_info(stream, consumer)).config
        await js.add_consumer(stream, config.evolve(**fields))

    ask_jetstream(url, act)


async def _unheard(_error: Exception) -> None:
    """Nodes that are down are no news."""
