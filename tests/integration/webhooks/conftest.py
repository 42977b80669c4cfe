"""One running system that sends soon again, and a service that it sends to; each test has paths of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support import leaks
from tests.support.books import Books, books
from tests.support.chaos import since, until_workers
from tests.support.receiver import Receiver, receiving
from tests.support.systems import System, running_system


@pytest.fixture(scope="package")
def shared_system() -> Iterator[System]:
    """Two workers; webhooks are tried twelve times within seconds."""
    before = leaks.running()
    with running_system(
        "--workers", "2",
        WORKER_LEASE="2s", HANDLER_GRACE="1s", WORKER_BACKOFF_BASE="100ms", WORKER_BACKOFF_MAX="500ms",
        WEBHOOK_DELAYS="200ms,500ms,1s,2s", WEBHOOK_MAX_ATTEMPTS="30", WEBHOOK_TIMEOUT="2s",
        DEAD_LETTER_SURGE="20", ALERT_WEBHOOK_URL="http://127.0.0.1:9/alerts",
    ) as found:  # fmt: skip
        yield found
    leaks.check_none_left(before)


@pytest.fixture
def system(shared_system: System) -> Iterator[System]:
    """The system, once it is whole. What it logs meanwhile is shown with a failure."""
    log = since(shared_system.log)
    try:
        until_workers(shared_system, 2)
        yield shared_system
    finally:
        print(log()[-12_000:])


@pytest.fixture
def truth(system: System) -> Books:
    """Its books."""
    return books(system)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody's service."""
    with receiving() as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_left_running() -> None:
    """What is started again here is not left over: it is looked for when the whole system has ended."""
