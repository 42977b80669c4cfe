"""Debian's Chromium, driven by Playwright, and what a page of the dashboard must never do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from tests.support.systems import ROOT
from tests.support.waiting import wait_until_sync

from taskflow_api.dashboard_page import FOLDER

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
GRAVE = {"serious", "critical"}
SCREENSHOTS = Path(os.environ.get("TASKFLOW_SCREENSHOTS", ROOT / "build" / "screenshots"))
SEEN_AT = """
([selector, text]) => new Promise((resolve) => {
  const look = () => document.querySelector(selector)?.textContent.includes(text) && resolve(Date.now() / 1000);
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
  look();
})
"""
"""When (seconds since the epoch) the page first shows a text at a place."""
HEADLINE, FIRST_ROW = ".page-head .status", "table.tasks tbody tr .status"
"""Where a task page and a list show a status."""
_EXPECTED = (
    "the server responded with a status of 4",
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "ERR_EMPTY_RESPONSE",
    "ERR_INCOMPLETE",
)
"""What Chromium itself writes to the console of answers that a test brings about."""


def needed() -> str:
    """The path of Chromium; skips where it or the built dashboard is missing."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium on this machine")
    if not (FOLDER / "index.html").exists():
        pytest.skip("the dashboard is not built: make dashboard")
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; each test opens a context of its own in it."""
    path = needed()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page of the dashboard, and everything that it asked for and complained of."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page = self._watched(context.new_page())
        context.on("page", self._watched)

    def _watched(self, page: Page) -> Page:
        page.set_default_timeout(10_000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self._hear(said.type, said.text))
        return page

    def _hear(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not any(known in text for known in _EXPECTED):
            self.complaints.append(text)

    def go(self, path: str) -> Page:
        """Open a screen, by its address."""
        self.page.goto(f"{self.url}{path}")
        self.page.get_by_role("heading", level=1).wait_for()
        return self.page

    def until(self, test: Callable[[], Any], description: str, seconds: float = 15) -> Any:
        """Wait for something that the page brings about: its events are told only while Playwright is at work."""

        def asked() -> Any:
            self.page.wait_for_timeout(20)
            return test()

        return wait_until_sync(asked, description, seconds)

    def check(self) -> None:
        """Nothing was complained of (of a broken policy neither), and nothing asked of anybody else."""
        assert not self.complaints, self.complaints
        ours = urlsplit(self.url).netloc
        assert [
            url for url in self.requests if urlsplit(url).netloc != ours and not url.startswith("data:")
        ] == []


@contextmanager
def visiting(browser: Browser, url: str, **options: Any) -> Iterator[Visit]:
    """A browser of somebody who has never been here. Leaving, it is checked."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    try:
        visit = Visit(context, url)
        yield visit
        visit.check()
    finally:
        context.close()


def grave_faults(page: Page) -> list[str]:
    """What axe finds that keeps somebody from using the page. https://github.com/dequelabs/axe-core"""
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": WCAG}}).response["violations"]
    return [
        f"{fault['id']}: {fault['nodes'][0]['html'][:200]}" for fault in found if fault["impact"] in GRAVE
    ]


def photograph(page: Page, name: str) -> None:
    """The whole page as a picture, for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
