"""What happens shows on open pages: at once, in its place, and again after the api was away."""

from __future__ import annotations

import os
import re
import signal
import statistics
from collections.abc import Iterator
from datetime import datetime

import httpx
import pytest
from playwright.sync_api import Page, expect
from tests.support.browser import FIRST_ROW, HEADLINE, SEEN_AT, Visit
from tests.support.systems import System

LATE_SECONDS = 0.5
ROUNDS = 5


@pytest.fixture
def held(system: System) -> Iterator[str]:
    """A queue that starts nothing until it is let go."""
    system.submit("echo", queue="held")
    system.post("/queues/held/pause", {})
    yield "held"
    system.post("/queues/held/resume", {})


def started_at(system: System, task_id: str) -> float:
    """When the worker began, by the events of the task."""
    [event] = [one for one in system.get(f"/tasks/{task_id}/events")["items"] if one["status"] == "running"]
    return datetime.fromisoformat(event["at"]).timestamp()


@pytest.mark.parametrize("place", ["task", "list"])
def test_a_move_shows_within_half_a_second(system: System, visit: Visit, place: str) -> None:
    late = []
    for _ in range(ROUNDS):
        task = system.submit("nap", {"seconds": 1.0}, delay_seconds=1.5)
        page = visit.go(f"/tasks/{task['id']}" if place == "task" else "/tasks?q=type:nap")
        page.get_by_text("Live", exact=True).wait_for()
        selector = HEADLINE if place == "task" else FIRST_ROW
        page.locator(selector, has_text="scheduled").first.wait_for()
        seen = page.evaluate(SEEN_AT, [selector, "running"])
        late.append(seen - started_at(system, task["id"]))
        page.locator(selector, has_text="completed").first.wait_for()
    print(f"{place}: shown after {[round(one, 3) for one in late]} s")
    assert statistics.median(late) < LATE_SECONDS


def test_logs_and_progress_come_as_they_are_said(system: System, visit: Visit) -> None:
    task = system.submit("talks", delay_seconds=2.0)
    page = visit.go(f"/tasks/{task['id']}")
    expect(page.get_by_role("heading", name="Why it does not run yet")).to_be_visible()
    expect(page.get_by_role("log")).to_contain_text("info")
    expect(page.get_by_role("progressbar", name="Progress of the task")).to_have_attribute(
        "aria-valuenow", "100"
    )
    expect(page.locator(".timeline")).to_contain_text("completed")


def test_new_tasks_are_announced_and_move_nothing(system: System, visit: Visit) -> None:
    tag = "announced"
    first = system.submit("echo", tags=[tag])
    page = visit.go(f"/tasks?q=tag:{tag}")
    rows = page.locator("table.tasks tbody tr")
    expect(rows).to_have_count(1)
    system.submit("echo", tags=[tag])
    system.submit("echo", tags=["another"])
    news = page.get_by_role("button", name="1 new task")
    expect(news).to_be_visible()
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text(first["id"][-6:])
    news.click()
    expect(rows).to_have_count(2)
    expect(news).to_have_count(0)


def test_the_overview_counts_what_happens_now(system: System, visit: Visit) -> None:
    page = visit.go("/")
    before = number_of(page, "completed")
    task = system.submit("echo")
    expect(page.locator("table", has=page.get_by_role("link", name="echo")).first).to_be_visible()
    system.wait(task["id"])
    visit.until(lambda: number_of(page, "completed") > before, "the tile counts it")


def number_of(page: Page, tile: str) -> int:
    """What a tile of the overview says."""
    return int(page.locator(".tile", has_text=tile).locator("b").inner_text().replace(",", ""))


def test_after_the_api_was_away_the_page_goes_on_by_itself(system: System, visit: Visit, held: str) -> None:
    task = system.submit("echo", queue=held)
    page = visit.go("/tasks?q=queue:held status:queued")
    rows = page.locator("table.tasks tbody tr")
    expect(rows).not_to_have_count(0)
    page.get_by_text("Live", exact=True).wait_for()
    page.evaluate("window.neverReloaded = true")
    os.kill(system.facts()["pids"]["api"], signal.SIGKILL)
    banner = page.get_by_role("alert")
    expect(banner).to_contain_text("cannot be reached")
    expect(banner).to_contain_text(re.compile(r"is \d+ s old"))
    assert rows.count() > 0, "what was shown is shown"
    expect(banner).to_have_count(0, timeout=30_000)
    page.get_by_text("Live", exact=True).wait_for()
    system.until(lambda: answers(system), "the api is back")
    system.post("/queues/held/resume", {})
    expect(page.locator("tr", has_text=task["id"][-6:])).to_contain_text("completed")
    assert page.evaluate("window.neverReloaded")


def answers(system: System) -> bool:
    """Whether the api does."""
    try:
        return system.http.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def test_screens_that_were_not_opened_yet_open_while_the_api_is_away(system: System, visit: Visit) -> None:
    page = visit.go("/")
    visit.until(
        lambda: any("/assets/queues" in url for url in visit.requests), "the other screens are loaded"
    )
    os.kill(system.facts()["pids"]["api"], signal.SIGKILL)
    page.get_by_role("alert").wait_for()
    page.get_by_role("link", name="Queues", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Queues")
    expect(page.get_by_role("alert")).to_have_count(0, timeout=30_000)
    expect(page.get_by_role("row", name=re.compile("^default "))).to_be_visible()


def test_a_task_that_others_retry_goes_on_where_it_is_open(system: System, visit: Visit) -> None:
    task = system.submit("echo", delay_seconds=600)
    system.post(f"/tasks/{task['id']}/cancel")
    page = visit.go(f"/tasks/{task['id']}")
    expect(page.locator(HEADLINE)).to_have_text("cancelled")
    system.post(f"/tasks/{task['id']}/retry", expect=202)
    expect(page.locator(HEADLINE)).to_have_text("completed")
    expect(page.locator(".timeline li").last).to_contain_text("completed")
