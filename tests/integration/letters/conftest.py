"""One running system whose dlq-consumer is quick to alarm; each test has types or queues of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support import leaks
from tests.support.books import Books, books
from tests.support.chaos import since
from tests.support.systems import System, running_system


@pytest.fixture(scope="package")
def shared_system() -> Iterator[System]:
    """One worker; twenty letters alike are a surge, and thirty of `breaks` pause it."""
    before = leaks.running()
    with running_system(
        "--workers", "1", "--import", "tests.support.letter_handlers",
        WORKER_BACKOFF_BASE="10ms", WORKER_BACKOFF_MAX="20ms", DEAD_LETTER_SURGE="20", DEAD_LETTER_SURGE_WINDOW="1m",
        BURIAL_LIMIT_BY_TYPE="breaks=30", BURIAL_WINDOW="1m", WORKER_LEASE="3s",
        WORKER_VERSION="shop-41c2f0d",
    ) as found:  # fmt: skip
        yield found
    leaks.check_none_left(before)


@pytest.fixture
def system(shared_system: System) -> Iterator[System]:
    """The system. What it logs meanwhile is shown with a failure."""
    log = since(shared_system.log)
    yield shared_system
    print(log()[-12_000:])


@pytest.fixture
def truth(system: System) -> Books:
    """Its books."""
    return books(system)


@pytest.fixture(autouse=True)
def nothing_left_running() -> None:
    """What is started again here is not left over: it is looked for when the whole system has ended."""


Buried = Callable[..., list[str]]


@pytest.fixture
def buried(system: System) -> Buried:
    """Makes tasks that fail for good, and waits until their letters are handled. Gives the ids of the tasks."""

    def bury(count: int, name: str, payload: Any, **fields: Any) -> list[str]:
        ids = system.submit_many([{"type": name, "payload": payload, **fields}] * count)
        done = system.wait_all(ids, 60)
        assert {task["status"] for task in done.values()} == {"failed"}
        wanted = set(ids)

        def handled() -> bool:
            letters = system.list_all("/dead-letters", type=name, status="pending")
            return wanted <= {letter["task_id"] for letter in letters if letter["handled_at"]}

        system.until(handled, "all letters are handled", 30)
        return ids

    return bury


def ended(system: System, operation: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
    """The operation once it has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        now = system.get(f"/operations/{operation['id']}")
        if now["status"] in {"done", "stopped"}:
            return now
        time.sleep(0.05)
    raise AssertionError(f"not ended: {now}")
