"""The dashboard in Chromium: how long its first view takes, and how late it shows what a worker does.

*First view*: from the navigation of a browser that has never been here until the tiles of the overview show their figures.
*Shown*: from the start of an attempt, by PostgreSQL's clock, until an open page (on the same machine) shows the task as
running: on the task's own page, and in a list. One worker, nothing else to do.
"""

from __future__ import annotations

import time
from datetime import datetime

from playwright.sync_api import Browser
from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.figures import Row, Table, percentiles, short
from tests.support.browser import FIRST_ROW, HEADLINE, SEEN_AT, chromium, visiting
from tests.support.systems import System, running_system

TIMES = 20
NAP = {"seconds": 0.2}
PLACES = {"task": ("/tasks/{id}", HEADLINE), "list": ("/tasks?q=type:nap", FIRST_ROW)}


@cell("The dashboard", once=True)
def measure(asked: Asked) -> list[Table]:
    """Both, as often as is asked for."""
    times = asked.size(TIMES)
    with running_system("--workers", "1") as system, chromium() as browser:
        system.wait(system.submit("echo")["id"])
        rows = [_row("first view", [_first_view(browser, system) for _ in range(times)])]
        for place in PLACES:
            late = [_shown_after(browser, system, place) for _ in range(times)]
            rows.append(_row(f"a start is shown, {place}", late))
    return [Table("The dashboard", rows)]


def _first_view(browser: Browser, system: System) -> float:
    """Milliseconds."""
    with visiting(browser, system.facts()["api_url"]) as visit:
        began = time.perf_counter()
        visit.page.goto(f"{visit.url}/")
        visit.page.locator(".tile b").first.wait_for()
        return (time.perf_counter() - began) * 1000


def _shown_after(browser: Browser, system: System, place: str) -> float:
    """Milliseconds."""
    task = system.submit("nap", NAP, delay_seconds=1.5)
    path, selector = PLACES[place]
    with visiting(browser, system.facts()["api_url"]) as visit:
        page = visit.go(path.format(id=task["id"]))
        page.get_by_text("Live", exact=True).wait_for()
        seen: float = page.evaluate(SEEN_AT, [selector, "running"])
    events = system.get(f"/tasks/{task['id']}/events")["items"]
    [started] = [event["at"] for event in events if event["status"] == "running"]
    return (seen - datetime.fromisoformat(started).timestamp()) * 1000


def _row(what: str, found: list[float]) -> Row:
    return Row(what, {name: short(value) for name, value in percentiles(found, 50, 90, 100).items()})
