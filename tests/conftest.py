"""Fixtures of all tests: real servers, a database of one's own, names on the bus, and nothing left
running.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import structlog
from tests.support import leaks
from tests.support import servers as real

from taskflow.cli.dev import places

# Before any test starts a process: all of them must inherit it.
leaks.mark_session()


def pytest_xdist_auto_num_workers() -> int:
    """Two processes of tests, each with servers of its own. One if NATS is given: two streams would overlap there."""
    return 1 if os.environ.get("TASKFLOW_TEST_NATS_URL") else 2


class BusNames(NamedTuple):
    """Names no other test uses: NATS_STREAM_NAME and NATS_CONSUMER_NAME."""

    stream: str
    consumer: str


@pytest.fixture(scope="session")
def servers() -> Iterator[real.Servers]:
    """PostgreSQL and NATS, for the whole session."""
    with real.open_servers() as found:
        yield found


@pytest.fixture(scope="session")
def databases(servers: real.Servers) -> Iterator[real.Databases]:
    """Makes migrated databases."""
    made = real.Databases(servers.database_admin_url)
    yield made
    made.close()


@pytest.fixture
def database_url(databases: real.Databases) -> Iterator[str]:
    """A fresh, migrated database."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
def nats_url(servers: real.Servers) -> str:
    """The NATS server of the session."""
    return servers.nats_url


@pytest.fixture
def bus_names(nats_url: str) -> Iterator[BusNames]:
    """Names for this test's streams and consumers; the streams are deleted before and after."""
    real.delete_streams(nats_url)
    mark = uuid.uuid4().hex[:8]
    yield BusNames(f"{real.STREAM_PREFIX}_{mark.upper()}", f"test-{mark}")
    real.delete_streams(nats_url)


@pytest.fixture
def stream_name(bus_names: BusNames) -> str:
    """The NATS_STREAM_NAME of this test."""
    return bus_names.stream


@pytest.fixture
def free_port() -> int:
    """A loopback port that nothing listens on."""
    return places.free_port()


@pytest.fixture(autouse=True)
def logs_given_back() -> Iterator[None]:
    """What a test sets up for the logs of this process ends with it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)  # said so, since loggers remember what they may say
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def nothing_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves a process behind. The session's servers, if used, start before it looks."""
    if "servers" in request.fixturenames:
        request.getfixturevalue("servers")
    before = leaks.running()
    yield
    leaks.check_none_left(before)
