"""One whole system with short leases for all tests here: what they break must mend before the next begins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support import leaks
from tests.support.books import Books, books
from tests.support.chaos import since, until_workers
from tests.support.systems import System, running_system

LEASE_SECONDS = 2.0


@pytest.fixture(scope="package")
def shared_system() -> Iterator[System]:
    """Three workers of ten slots."""
    before = leaks.running()
    with running_system(
        "--workers", "3", "--import", "tests.support.chaos_handlers",
        WORKER_LEASE=f"{LEASE_SECONDS}s", HANDLER_GRACE="1s", WORKER_BACKOFF_BASE="100ms", WORKER_BACKOFF_MAX="500ms",
    ) as found:  # fmt: skip
        yield found
    leaks.check_none_left(before)


@pytest.fixture
def system(shared_system: System) -> Iterator[System]:
    """The system, once it is whole again. What it logs meanwhile is shown with a failure."""
    log = since(shared_system.log)
    try:
        until_workers(shared_system, 3)
        yield shared_system
    finally:
        print(log()[-12_000:])


@pytest.fixture
def truth(system: System) -> Books:
    """Its books."""
    return books(system)


@pytest.fixture(autouse=True)
def nothing_left_running() -> None:
    """What is started again here is not left over: it is looked for when the whole system has ended."""
