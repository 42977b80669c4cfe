"""The keyboard alone: from a failed deploy to replayed, and everything it is told to do on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.support.browser import Visit
from tests.support.systems import System

TASKS = 10


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_from_a_failed_deploy_to_replayed(system: System, visit: Visit, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    cause = tmp_path / "config-of-the-deploy"
    ids = system.submit_many(
        [{"type": "needs_file", "payload": {"path": str(cause)}, "max_attempts": 1, "queue": "deploy"}]
        * TASKS
    )
    system.wait_all(ids)
    system.until(lambda: pending(system) == TASKS, "the letters stand")
    page = visit.go("/")
    forbid_mouse(page)
    press(page, "g", "d")
    expect(page.get_by_role("heading", level=1)).to_have_text("Dead letters")
    row = page.locator("tr", has_text="FileNotFoundError").first
    expect(row).to_contain_text(str(TASKS))
    while row.get_attribute("data-cursor") != "true":
        press(page, "j")
    cause.touch()  # the deploy is mended
    press(page, "r")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"{TASKS} dead letters would be touched")
    page.keyboard.type("the deploy is mended")
    press(page, "Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Operation: replay")
    expect(page.get_by_role("heading", name="Canary passed")).to_be_visible()
    expect(page.get_by_text(f"{TASKS} of {TASKS} done")).to_be_visible(timeout=20_000)
    expect(page.locator(".page-head .status")).to_have_text("done")
    assert {task["status"] for task in system.wait_all(ids).values()} == {"completed"}
    assert pending(system) == 0
    [operation] = [
        one for one in system.get("/operations")["items"] if one["reason"] == "the deploy is mended"
    ]
    assert (operation["done"], operation["canary"]["succeeded"]) == (TASKS, 5)


def pending(system: System) -> int:
    return len(system.list_all("/dead-letters", status="pending", queue="deploy"))


def forbid_mouse(page: Page) -> None:
    """Whoever clicks now fails the test."""
    page.evaluate("addEventListener('pointerdown', () => { throw new Error('a click') }, true)")


def test_help_tells_the_shortcuts_and_turns_them_off(visit: Visit) -> None:
    page = visit.go("/")
    press(page, "?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_contain_text("Dead letters")
    switch = dialog.get_by_role("checkbox")
    expect(switch).to_be_checked()
    switch.uncheck()
    press(page, "Escape")
    expect(dialog).to_have_count(0)
    press(page, "g", "t")
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    page.get_by_role("button", name="Keyboard shortcuts").click()
    page.get_by_role("checkbox").check()
    press(page, "Escape")
    expect(page.get_by_role("button", name="Keyboard shortcuts")).to_be_focused()
    press(page, "g", "t")
    expect(page.get_by_role("heading", level=1)).to_have_text("Tasks")
    expect(page.locator("main")).to_be_focused()


def test_a_list_is_searched_walked_selected_and_opened(system: System, visit: Visit) -> None:
    first, second = (system.submit("echo", {"n": n}, tags=["walked"]) for n in range(2))
    page = visit.go("/tasks")
    press(page, "/")
    page.keyboard.type("ta")
    expect(page.get_by_role("option", name="tag:")).to_be_visible()
    press(page, "ArrowDown", "Tab")
    page.keyboard.type("walked")
    press(page, "Enter")
    expect(page.locator("tbody tr")).to_have_count(2)
    assert "q=tag%3Awalked" in page.url
    press(page, "Escape", "j", "j", "x", "k", "x")
    expect(page.get_by_text("2 selected")).to_be_visible()
    press(page, "x")
    expect(page.get_by_text("1 selected")).to_be_visible()
    press(page, "Enter")
    expect(page.get_by_text(second["id"])).to_be_visible()
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(2)
    assert first["id"] != second["id"]


def test_the_theme_turns(visit: Visit) -> None:
    page = visit.go("/")
    shades = []
    for _ in range(3):
        press(page, "t")
        shades.append(page.evaluate("document.documentElement.dataset.theme ?? 'system'"))
    assert shades == ["light", "dark", "system"]


def test_the_content_is_one_key_away(visit: Visit) -> None:
    page = visit.go("/queues")
    press(page, "Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    press(page, "Enter")
    expect(page.locator("main")).to_be_focused()


@pytest.mark.parametrize("field", ["Queue", "Name"])
def test_letters_that_are_typed_command_nothing(visit: Visit, field: str) -> None:
    page = visit.go("/submit")
    page.get_by_label(field, exact=True).fill("")
    page.keyboard.type("gt?nrc")
    expect(page.get_by_label(field, exact=True)).to_have_value("gt?nrc")
    expect(page.get_by_role("heading", level=1)).to_have_text("Submit a task")
