"""The tour: nine small stories, told on one running system. Read these first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.systems import System, running_system


@pytest.fixture(scope="package")
def system() -> Iterator[System]:
    """TaskFlow with two workers, as `taskflow dev` starts it."""
    with running_system(WORKER_LEASE="3s", WORKER_DRAIN_TIMEOUT="1s", HANDLER_GRACE="1s") as found:
        yield found
