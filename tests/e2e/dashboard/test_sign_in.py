"""Signing in where the api asks for it: by password or key, in several tabs, and out again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.support import accounts
from tests.support.apis import running_api
from tests.support.browser import Visit, needed, visiting

PASSWORD = "four words of Bob, really"
STORED = "JSON.parse(localStorage.getItem('taskflow.session'))"


@pytest.fixture
def api(database_url: str, nats_url: str) -> Iterator[str]:
    """An api that asks who one is, with the admin `admin` and the user `bob`."""
    needed()
    with running_api(database_url, nats_url, **accounts.REQUIRED) as found:
        admin = accounts.sign_in(found.url)["access_token"]
        accounts.make_user(found.url, admin, username="bob", password=PASSWORD)
        yield found.url


@pytest.fixture
def visit(api: str, browser: Browser) -> Iterator[Visit]:
    with visiting(browser, api) as found:
        yield found


def sign_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("User name or e-mail").fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in").click()


def screens(page: Page) -> list[str]:
    page.get_by_role("heading", level=1, name="Overview").wait_for()
    return page.get_by_role("navigation", name="Screens").get_by_role("link").all_inner_texts()


def test_by_password_and_out_again_in_all_tabs(visit: Visit) -> None:
    page = visit.go("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to TaskFlow")
    sign_in(page, "bob", "not the password")
    expect(page.get_by_role("alert")).to_be_visible()
    assert PASSWORD not in page.get_by_role("alert").inner_text()
    sign_in(page, "bob", PASSWORD)
    seen = " ".join(screens(page))
    assert "Submit" in seen
    assert "Workers" not in seen
    assert "System" not in seen
    other = page.context.new_page()
    other.goto(f"{visit.url}/access")
    expect(other.get_by_role("heading", name="You")).to_be_visible()
    expect(other.get_by_role("heading", name="Users")).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    for tab in (page, other):
        expect(tab.get_by_role("heading", level=1)).to_have_text("Sign in to TaskFlow")
    assert page.evaluate(STORED) is None


def test_by_key(visit: Visit, api: str) -> None:
    admin = accounts.sign_in(api)["access_token"]
    key = accounts.make_key(api, admin, "read", "admin")["key"]
    page = visit.go("/workers")
    page.get_by_role("button", name="API key").click()
    page.get_by_label("API key").last.fill("tfq_nobody")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known")
    page.get_by_label("API key").last.fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Workers")
    assert page.evaluate(STORED)["refreshToken"] is None


def test_an_access_token_that_is_over_is_turned_once_for_all_tabs(visit: Visit) -> None:
    page = visit.go("/")
    sign_in(page, "admin", accounts.ADMIN_PASSWORD)
    screens(page)
    held: dict[str, Any] = page.evaluate(STORED)
    tabs = [page, page.context.new_page()]
    tabs[1].goto(f"{visit.url}/access")
    expect(tabs[1].get_by_role("heading", name="Users")).to_be_visible()
    over = json.dumps({**held, "token": "over"})
    page.evaluate(f"localStorage.setItem('taskflow.session', {json.dumps(over)})")
    before = refreshes(visit)
    tabs[1].get_by_role("link", name="Queues", exact=True).click()
    page.get_by_role("link", name="Webhooks", exact=True).click()
    expect(tabs[1].get_by_role("heading", level=1)).to_have_text("Queues")
    expect(page.get_by_role("heading", level=1)).to_have_text("Webhooks")
    visit.until(lambda: page.evaluate(STORED)["token"] != "over", "there is a new token")
    now = page.evaluate(STORED)
    assert now["refreshToken"] != held["refreshToken"]
    assert refreshes(visit) == before + 1


def test_what_is_half_written_outlasts_a_turned_token(visit: Visit) -> None:
    page = visit.go("/")
    sign_in(page, "admin", accounts.ADMIN_PASSWORD)
    screens(page)
    page.get_by_role("link", name="Submit", exact=True).click()
    page.get_by_label("Type").fill("echo")
    page.get_by_label("Tags").fill("half-written")
    over = json.dumps({**page.evaluate(STORED), "token": "over"})
    page.evaluate(f"localStorage.setItem('taskflow.session', {json.dumps(over)})")
    visit.until(lambda: page.evaluate(STORED)["token"] != "over", "something was asked with the new token")
    expect(page.get_by_label("Tags")).to_have_value("half-written")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.locator(".page-head .status")).to_have_text("queued")
    expect(page.get_by_role("link", name="half-written")).to_be_visible()


def refreshes(visit: Visit) -> int:
    return len([url for url in visit.requests if url.endswith("/auth/token/refresh")])


def test_tabs_share_one_feed_and_the_next_one_takes_over(visit: Visit) -> None:
    page = visit.go("/")
    sign_in(page, "admin", accounts.ADMIN_PASSWORD)
    screens(page)
    page.get_by_text("Live", exact=True).wait_for()
    other = page.context.new_page()
    other.goto(f"{visit.url}/tasks")
    other.get_by_text("Live", exact=True).wait_for()
    assert feeds(visit) == 1
    page.close()
    visit.page = other
    visit.until(lambda: feeds(visit) == 2, "the other tab reads the feed")
    expect(other.get_by_text("Live", exact=True)).to_be_visible()


def feeds(visit: Visit) -> int:
    return len([url for url in visit.requests if url.endswith("/api/v1/events")])
