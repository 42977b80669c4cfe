"""One running system for the screens, and a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from tests.support import browser as browsers
from tests.support.browser import Visit, chromium, visiting
from tests.support.systems import System, running_system

FAST = {
    "WORKER_LEASE": "3s",
    "WORKER_DRAIN_TIMEOUT": "1s",
    "HANDLER_GRACE": "1s",
    "WEBHOOK_DELAYS": "60s",
    "WORKER_QUEUES": "default,held,deploy",
}


@pytest.fixture(scope="package")
def system() -> Iterator[System]:
    """Everything, as `taskflow dev` runs it."""
    browsers.needed()
    with running_system("--workers", "2", **FAST) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Playwright keeps an event loop in this thread, which async tests of other modules cannot have beside theirs."""
    with chromium() as found:
        yield found


@pytest.fixture
def visit(system: System, browser: Browser) -> Iterator[Visit]:
    """Somebody who opens the dashboard."""
    with visiting(browser, system.facts()["api_url"]) as found:
        yield found
