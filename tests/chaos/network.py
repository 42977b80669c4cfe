"""Networks that are slow, cut, half-open or late, between every service and its servers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.chaos.cell import Scale, cell
from tests.chaos.grounds import own_servers
from tests.chaos.stage import Stage
from tests.support.books import Books
from tests.support.proxy import Proxy, fault_proxy

NAP = {"type": "nap", "payload": {"seconds": 0.05}}


class Network(NamedTuple):
    """Servers that the whole system reaches through proxies alone; `books_url` goes past them."""

    postgres: Proxy
    nats: Proxy
    books_url: str

    @property
    def settings(self) -> dict[str, str]:
        """What leads the system through the proxies."""
        return {"DATABASE_URL": self.postgres.url, "NATS_URL": self.nats.url}


@contextmanager
def through_proxies(scale: Scale) -> Iterator[Network]:
    """PostgreSQL and NATS, each behind a proxy."""
    with (
        own_servers(scale) as servers,
        fault_proxy(servers.postgres.url) as postgres,
        fault_proxy(servers.nats.url) as nats,
    ):
        yield Network(postgres, nats, servers.postgres.url)


@contextmanager
def _network(stage: Stage) -> Iterator[Network]:
    """The cell's network, good again afterwards; no service may exit for what it does."""
    network: Network = stage.ground
    stage.books = Books(network.books_url)
    pids = stage.kept_pids()
    try:
        yield network
    finally:
        network.postgres.heal()
        network.nats.heal()
    assert stage.kept_pids() == pids


def _broken_for(
    stage: Stage, network: Network, proxy: Proxy, break_it: Callable[[Proxy], None], seconds: float
) -> None:
    """Tasks come in and run, the network breaks for so many seconds, and is good again: nothing stands still."""
    ids = stage.naps(stage.tasks(2_000), 0.05)
    with stage.load(NAP) as load:
        load.until_accepted(20)
        break_it(proxy)
        stage.lasting(seconds, "the network is bad")
        proxy.heal()
        stage.damage()
        load.until_accepted(20, 60)
        stage.note("accepted again after s", round(time.time() - stage.damaged_at, 1))
    answers = Counter(answer.status for answer in load.answers)
    stage.note("answers", dict(answers))
    assert answers.keys() <= {202, 503}, answers
    assert all(answer.retry_after for answer in load.answers if answer.status == 503)
    stage.until_done(40)
    _note_tries(stage, [*ids, *load.ids.values()])


def _note_tries(stage: Stage, ids: list[str]) -> None:
    """Nobody died, so that nothing may be lost; what was claimed and not heard of may be handed back."""
    seen = Counter(status for tries in stage.books.tries(ids).values() for status in tries)
    stage.note("tries", dict(seen))
    assert set(seen) <= {"succeeded", "released"}, seen


@cell(
    "network to PostgreSQL slow",
    expects="all is done, only later; no lease is lost",
    ground=through_proxies,
    full_only=True,
)
def postgres_slow(stage: Stage) -> None:
    """Every byte between the services and PostgreSQL takes 100 ms each way, 256 KiB/s a connection, for ten seconds."""
    with _network(stage) as network:
        _broken_for(
            stage, network, network.postgres, lambda it: it.slow(0.1, 256 * 1024), 4 if stage.short else 10
        )


@cell(
    "network to PostgreSQL cut",
    expects="503 with Retry-After meanwhile, then all goes on",
    ground=through_proxies,
)
def postgres_cut(stage: Stage) -> None:
    """Every connection to PostgreSQL is reset, and each new one, for longer than a lease."""
    with _network(stage) as network:
        _broken_for(stage, network, network.postgres, Proxy.cut, 4)


@cell(
    "network to PostgreSQL half-open",
    expects="503 with Retry-After meanwhile, then all goes on",
    ground=through_proxies,
)
def postgres_half_open(stage: Stage) -> None:
    """Every connection to PostgreSQL falls silent for ever, and each new one for longer than a lease."""
    with _network(stage) as network:
        _broken_for(stage, network, network.postgres, Proxy.fall_silent, 4)


@cell(
    "network to PostgreSQL late",
    expects="statements that arrive after a lease change nothing twice",
    ground=through_proxies,
)
def postgres_late(stage: Stage) -> None:
    """What goes to PostgreSQL and back is held for longer than a lease, and arrives then."""
    with _network(stage) as network:
        _broken_for(stage, network, network.postgres, Proxy.hold, 4)


@cell("network to NATS slow", expects="all is done, only later", ground=through_proxies, full_only=True)
def nats_slow(stage: Stage) -> None:
    """Every byte between the services and NATS takes 100 ms each way, 64 KiB/s a connection, for ten seconds."""
    with _network(stage) as network:
        _broken_for(
            stage, network, network.nats, lambda it: it.slow(0.1, 64 * 1024), 4 if stage.short else 10
        )


@cell(
    "network to NATS cut",
    expects="submits are accepted meanwhile; then all goes on",
    ground=through_proxies,
    full_only=True,
)
def nats_cut(stage: Stage) -> None:
    """Every connection to NATS is reset, and each new one, for four seconds."""
    with _network(stage) as network:
        _broken_for(stage, network, network.nats, Proxy.cut, 4)


@cell(
    "network to NATS half-open",
    expects="submits are accepted meanwhile; then all goes on",
    ground=through_proxies,
)
def nats_half_open(stage: Stage) -> None:
    """Every connection to NATS falls silent for ever, and each new one for four seconds."""
    with _network(stage) as network:
        _broken_for(stage, network, network.nats, Proxy.fall_silent, 4)
