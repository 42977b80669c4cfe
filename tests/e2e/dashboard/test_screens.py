"""Every screen, in both themes and on a small one: it stands, asks nobody else, and keeps nobody out."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser
from tests.support.browser import grave_faults, photograph, visiting
from tests.support.systems import System

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": {"color_scheme": "light", "viewport": {"width": 320, "height": 700}},
}
HEADINGS = {
    "overview": "Overview",
    "tasks": "Tasks",
    "search": "Tasks",
    "failed": "needs_file",
    "running": "nap",
    "submit": "Submit a task",
    "resubmit": "Edit and resubmit",
    "queues": "Queues",
    "workers": "Workers",
    "dead-letters": "Dead letters",
    "letter": "Dead letter: gives_up",
    "operations": "Operations",
    "operation": "Operation: replay",
    "webhooks": "Webhooks",
    "access": "Access",
    "system": "System",
}
WEIGHT_BYTES_MAX = 250_000


@pytest.fixture(scope="module")
def paths(system: System) -> dict[str, str]:
    """The address of each screen, with something to be seen on it."""
    hook = {"callback": {"url": "http://127.0.0.1:1099/hook"}}
    for number in range(3):
        system.submit("echo", {"number": number}, tags=["seen"], name=f"No. {number}", **hook)
    failed = system.submit(
        "needs_file", {"path": "/nowhere"}, retry={"strategy": "fixed", "base_seconds": 0}, **hook
    )
    given_up = system.submit("gives_up")
    for task in (failed, given_up):
        assert system.wait(task["id"])["status"] == "failed"
    running = system.submit("nap", {"seconds": 600}, timeout_seconds=900)
    system.submit("nobody_runs_this", queue="unserved")
    system.submit("echo", delay_seconds=3_600, priority="high")
    letter = system.until(lambda: system.get("/dead-letters", type="gives_up")["items"], "the letter stands")[
        0
    ]
    bulk = {"filter": {"type": "needs_file"}, "reason": "to be seen"}
    operation = system.post("/dead-letters/replay", bulk, expect=202)
    system.post("/api-keys", {"name": "to be seen"}, expect=201)
    return {
        "overview": "/",
        "tasks": "/tasks",
        "search": "/tasks?q=status:failed age<1h",
        "failed": f"/tasks/{failed['id']}",
        "running": f"/tasks/{running['id']}",
        "submit": "/submit?type=process_data",
        "resubmit": f"/submit?from={failed['id']}",
        "queues": "/queues",
        "workers": "/workers",
        "dead-letters": "/dead-letters",
        "letter": f"/dead-letters/{letter['id']}",
        "operations": "/operations",
        "operation": f"/operations/{operation['id']}",
        "webhooks": "/webhooks",
        "access": "/access",
        "system": "/system",
    }


@pytest.mark.parametrize("look", LOOKS)
def test_every_screen_stands(browser: Browser, system: System, paths: dict[str, str], look: str) -> None:
    assert paths.keys() == HEADINGS.keys()
    with visiting(browser, system.facts()["api_url"], **LOOKS[look]) as visit:
        for name, path in paths.items():
            page = visit.go(path)
            page.get_by_role("heading", level=1, name=HEADINGS[name], exact=True).wait_for()
            page.locator("[aria-busy]").first.wait_for(state="detached")
            assert page.get_by_text("This screen cannot be shown").count() == 0
            photograph(page, f"{name}-{look}")
            assert grave_faults(page) == [], (name, look)
            if look == "narrow":
                assert page.evaluate("document.documentElement.scrollWidth") <= 320, name
                assert page.get_by_role("navigation", name="Screens").get_by_role("link").count() == 10


def test_the_screens_lead_to_each_other(browser: Browser, system: System) -> None:
    with visiting(browser, system.facts()["api_url"]) as visit:
        page = visit.go("/")
        links = page.get_by_role("navigation", name="Screens").get_by_role("link")
        for index in range(links.count()):
            links.nth(index).click()
            page.get_by_role("heading", level=1).wait_for()
            assert links.nth(index).get_attribute("aria-current") == "page"
        page.goto(f"{visit.url}/admin")
        assert page.url == f"{visit.url}/"
        page.goto(f"{visit.url}/no/such/screen")
        assert "there is no /no/such/screen" in page.content()


def test_the_page_is_light(browser: Browser, system: System) -> None:
    """All that is ever loaded of it, as it is sent: what the first view needs is a part of that."""
    with visiting(browser, system.facts()["api_url"]) as visit:
        page = visit.page
        sizes: dict[str, int] = {}
        page.on(
            "requestfinished",
            lambda request: sizes.update({request.url: request.sizes()["responseBodySize"]}),
        )
        visit.go("/")
        visit.until(lambda: any("/assets/system" in url for url in sizes), "the other screens are loaded")
        own = {url: size for url, size in sizes.items() if "/api/" not in url}
    assert len(own) > 10
    assert sum(own.values()) < WEIGHT_BYTES_MAX, sorted(own.items())
