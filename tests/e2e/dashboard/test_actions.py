"""What can be done in the dashboard is done: by the page, and then asked of the API."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.support.browser import Visit
from tests.support.systems import System

EXACT = '{"n": 100000000000000000000001, "n": 1e400, "text": "\\u0041"}'


def button(page: Page, name: str) -> Any:
    """The button of exactly this name."""
    return page.get_by_role("button", name=name, exact=True)


def test_a_task_is_submitted_by_the_form_of_its_schema(system: System, visit: Visit) -> None:
    page = visit.go("/submit")
    page.get_by_label("Type").fill("compute")
    page.get_by_label("operation").select_option("product")
    page.get_by_label("numbers").fill("6\nseven")
    page.get_by_label("Tags").fill("by-form")
    button(page, "Submit").click()
    expect(page.get_by_role("alert")).to_contain_text("/payload/numbers/1")
    expect(page.get_by_label("numbers")).to_have_attribute("aria-invalid", "true")
    assert system.get("/tasks", tag="by-form")["items"] == []
    page.get_by_label("numbers").fill("6\n7")
    button(page, "Submit").click()
    expect(page.locator(".page-head .status")).to_have_text("completed")
    expect(page.get_by_label("Result, JSON")).to_contain_text('"result": 42')
    [task] = system.get("/tasks", tag="by-form", include="payload")["items"]
    assert task["payload"] == {"operation": "product", "numbers": [6, 7]}


def test_another_type_begins_with_its_own_payload(visit: Visit) -> None:
    """What the form of the first one put there is none of the next one's; what somebody wrote stays."""
    page = visit.go("/submit")
    page.get_by_label("Type").fill("compute")
    page.get_by_label("numbers").wait_for()
    page.get_by_label("Type").fill("nobody_runs_this")
    payload = page.get_by_label("Payload")
    expect(payload).to_have_value("{}")
    payload.fill('{"mine": 1}')
    page.get_by_label("Type").fill("echo")
    expect(page.get_by_label("Payload")).to_have_value('{"mine": 1}')


def test_what_its_caller_wrote_on_a_task_is_not_taken_for_a_fact(system: System, visit: Visit) -> None:
    task = system.submit("echo", metadata={"Queue": "not this one"}, delay_seconds=600)
    page = visit.go(f"/tasks/{task['id']}")
    expect(page.get_by_role("region", name="Facts")).to_contain_text("default")
    expect(page.get_by_role("region", name="Metadata")).to_contain_text("not this one")


def test_a_task_is_cancelled_retried_and_resubmitted_as_it_was(system: System, visit: Visit) -> None:
    body = f'{{"type":"echo","tags":["exact"],"delay_seconds":600,"payload":{EXACT}}}'
    answer = system.http.post("/api/v1/tasks", content=body, headers={"content-type": "application/json"})
    task = system.answered(answer, 202)
    page = visit.go(f"/tasks/{task['id']}")
    expect(page.get_by_label("Payload, JSON")).to_contain_text("100000000000000000000001")
    button(page, "Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the task").click()
    expect(page.locator(".page-head .status")).to_have_text("cancelled")
    assert system.get(f"/tasks/{task['id']}")["status"] == "cancelled"
    button(page, "Retry").click()
    expect(page.locator(".page-head .status")).to_have_text("completed")
    assert system.get(f"/tasks/{task['id']}")["life"] == 2
    page.get_by_role("link", name="Edit and resubmit").click()
    page.get_by_label("Name", exact=True).fill("the same again")
    button(page, "Submit").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("the same again")
    again = system.http.get(f"/api/v1/tasks/{page.url.rpartition('/')[2]}").text
    assert '"n":100000000000000000000001,"n":1e400,"text":"\\u0041"' in re.sub(r"\s", "", again)


def test_selected_tasks_are_cancelled(system: System, visit: Visit) -> None:
    ids = [system.submit("echo", tags=["picked"], delay_seconds=600)["id"] for _ in range(3)]
    page = visit.go("/tasks?q=tag:picked")
    for task_id in ids[:2]:
        page.get_by_role("checkbox", name=f"Select task {task_id}").check()
    button(page, "Cancel").click()
    page.get_by_role("dialog", name="Cancel 2 tasks?").get_by_role("button", name="Cancel 2").click()
    expect(page.get_by_text("2 tasks cancelled")).to_be_visible()
    expect(page.locator("tbody tr", has_text="cancelled")).to_have_count(2)
    assert [system.get(f"/tasks/{one}")["status"] for one in ids] == ["cancelled", "cancelled", "scheduled"]


def test_nothing_is_done_by_a_search_that_is_not_understood(system: System, visit: Visit) -> None:
    """What it does not understand does not narrow: it would be done to every task."""
    task = system.submit("echo", tags=["kept"], delay_seconds=600)
    page = visit.go("/tasks?q=tag:kept staus:failed")
    expect(page.get_by_text("This search is not understood")).to_be_visible()
    for verb in ("Retry…", "Cancel…"):
        expect(button(page, verb)).to_be_disabled()
    page.get_by_label("Search tasks").fill("tag:kept")
    page.keyboard.press("Enter")
    expect(button(page, "Cancel…")).to_be_enabled()
    page.get_by_role("checkbox", name=f"Select task {task['id']}").check()
    page.get_by_role("link", name="failed", exact=False).first.click()
    expect(button(page, "Cancel…")).to_be_visible()  # of what is no more to be seen nothing is selected


@pytest.mark.parametrize(
    ("verb", "status", "ends"), [("Cancel", "scheduled", "cancelled"), ("Retry", "failed", "failed")]
)
def test_all_that_match_after_a_look_at_how_many(
    system: System, visit: Visit, verb: str, status: str, ends: str
) -> None:
    tag = f"all-{verb.lower()}"
    kind: dict[str, Any] = {"tags": [tag]}
    ids = [
        system.submit("gives_up", **kind)["id"]
        if status == "failed"
        else system.submit("echo", delay_seconds=600, **kind)["id"]
        for _ in range(3)
    ]
    system.until(lambda: len(system.get("/tasks", tag=tag, status=status)["items"]) == 3, f"all are {status}")
    page = visit.go(f"/tasks?q=tag:{tag} status:{status}")
    button(page, f"{verb}…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("3 tasks would be touched")
    dialog.get_by_label("Reason").fill("a test")
    dialog.get_by_role("button", name=f"{verb} 3").click()
    expect(page.get_by_text("3 of 3 done")).to_be_visible()
    tasks = list(system.wait_all(ids).values())
    assert {task["status"] for task in tasks} == {ends}
    assert {task["life"] for task in tasks} == {2 if verb == "Retry" else 1}


def test_a_queue_is_paused_and_goes_on(system: System, visit: Visit) -> None:
    system.submit("echo", queue="switched")
    page = visit.go("/queues")
    button(page, "Pause queue switched").click()
    page.get_by_label("Reason").fill("too loud")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.get_by_role("row", name="switched")).to_contain_text("paused")
    assert paused(system) == {"switched"}
    button(page, "Resume queue switched").click()
    expect(page.get_by_role("row", name="switched")).to_contain_text("active")
    assert paused(system) == set()


def paused(system: System) -> set[str]:
    return {queue["name"] for queue in system.get("/queues")["items"] if queue["paused"]}


def test_a_worker_is_drained_and_shows_what_it_runs(system: System, visit: Visit) -> None:
    task = system.submit("nap", {"seconds": 3})
    system.until(lambda: system.get(f"/tasks/{task['id']}")["worker_id"], "it runs")
    worker = system.get(f"/tasks/{task['id']}")["worker_id"]
    page = visit.go("/workers")
    card = page.locator("section", has=page.get_by_title(worker, exact=True))
    expect(card).to_contain_text("MiB")
    expect(card.get_by_role("link", name="nap").first).to_be_visible()
    card.get_by_role("button", name="Drain").click()
    page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    expect(card.get_by_text("draining").or_(page.get_by_text("Gone: "))).to_be_visible()
    system.until(lambda: worker not in live_workers(system), "it is no longer asked to work")
    system.wait(task["id"])


def live_workers(system: System) -> list[str]:
    return [one["id"] for one in system.get("/workers")["items"] if one["status"] == "live"]


def test_a_letter_is_replayed_with_another_payload_and_one_is_discarded(
    system: System, visit: Visit, tmp_path: Any
) -> None:
    ids = [system.submit("needs_file", {"path": "/nowhere"}, max_attempts=1)["id"] for _ in range(2)]
    system.wait_all(ids)
    letters = {
        letter["task_id"]: letter["id"]
        for letter in system.until(lambda: pending_of(system, ids), "both letters stand")
    }
    page = visit.go(f"/dead-letters/{letters[ids[0]]}")
    expect(page.get_by_text("FileNotFoundError").first).to_be_visible()
    button(page, "Replay…").click()
    page.get_by_role("checkbox", name="With another payload").check()
    page.get_by_role("dialog").get_by_label("Payload", exact=True).fill('{"path": "/"}')
    page.get_by_role("dialog").get_by_role("button", name="Replay").click()
    expect(page.locator(".page-head .status")).to_have_text("completed")
    assert system.get(f"/tasks/{ids[0]}")["payload"] == {"path": "/"}
    page = visit.go(f"/dead-letters/{letters[ids[1]]}")
    button(page, "Discard…").click()
    page.get_by_label("Reason").fill("nobody needs it")
    page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    expect(page.locator(".page-head .status")).to_have_text("discarded")
    letter = system.get(f"/dead-letters/{letters[ids[1]]}")
    assert (letter["status"], letter["resolved_reason"]) == ("discarded", "nobody needs it")


def pending_of(system: System, ids: list[str]) -> list[dict[str, Any]]:
    found = [one for one in system.list_all("/dead-letters", status="pending") if one["task_id"] in ids]
    return found if len(found) == len(ids) else []


def test_an_operation_is_paused_goes_on_and_is_stopped(system: System, visit: Visit) -> None:
    ids = [system.submit("echo", tags=["slowly"], delay_seconds=600)["id"] for _ in range(5)]
    wish = {"filter": {"tag": "slowly"}, "rate_per_second": 0.1}
    operation = system.post("/tasks/cancel", wish, expect=202)
    page = visit.go(f"/operations/{operation['id']}")
    status = page.locator(".page-head .status")
    button(page, "Pause").click()
    expect(status).to_have_text("paused")
    button(page, "Resume").click()
    expect(status).to_have_text("running")
    button(page, "Stop").click()
    expect(status).to_have_text("stopped")
    assert system.get(f"/operations/{operation['id']}")["done"] < len(ids)


def test_a_webhook_is_sent_again(system: System, visit: Visit) -> None:
    task = system.submit("echo", callback={"url": "http://127.0.0.1:1099/hook", "max_attempts": 1})
    path = f"/tasks/{task['id']}/webhook-deliveries"
    system.until(lambda: [one["status"] for one in system.get(path)["items"]] == ["failed"], "it failed")
    page = visit.go("/webhooks")
    expect(page.get_by_role("row", name="127.0.0.1:1099").first).to_be_visible()
    page.get_by_label("Deliveries by status").select_option("failed")
    row = page.locator("tr", has_text=task["id"][-6:])
    row.get_by_role("button", name="Send task.succeeded again").click()
    expect(page.get_by_text("It is sent again")).to_be_visible()
    system.until(lambda: len(system.get(path)["items"][0]["attempts"]) == 2, "it was tried again")


def test_keys_users_and_secrets(system: System, visit: Visit) -> None:
    page = visit.go("/access")
    button(page, "Make a key").click()
    page.get_by_label("Name", exact=True).fill("of the page")
    button(page, "Make it").click()
    shown = page.get_by_role("dialog", name="The new API key")
    secret = shown.locator("code").inner_text()
    assert system.http.get("/api/v1/auth/profile", headers={"x-api-key": secret}).json()["scopes"] == [
        "read",
        "submit",
    ]
    button(page, "I have kept it").click()
    button(page, "Rotate key of the page").click()
    second = page.get_by_role("dialog", name="The new API key").locator("code").inner_text()
    assert second != secret
    button(page, "I have kept it").click()
    page.get_by_role("row", name="of the page").filter(has_text=second[:8]).get_by_role(
        "button", name="Revoke"
    ).click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("The key is revoked")).to_be_visible()
    system.until(
        lambda: system.http.get("/api/v1/auth/profile", headers={"x-api-key": second}).status_code == 401,
        "it is refused",
    )
    button(page, "Make a user").click()
    page.get_by_label("User name").fill("ann")
    page.get_by_role("dialog").get_by_role("button", name="Make", exact=True).click()
    expect(page.get_by_role("dialog").get_by_text("is required beside username")).to_be_visible()
    page.get_by_role("dialog").get_by_label("Password").fill("four words that nobody guesses")
    page.get_by_role("dialog").get_by_role("button", name="Make", exact=True).click()
    button(page, "I have kept it").click()
    button(page, "Disable ann").click()
    expect(page.get_by_role("row", name="ann")).to_contain_text("disabled")
    [ann] = [user for user in system.get("/users")["items"] if user["username"] == "ann"]
    assert ann["disabled_at"]
    page = visit.go("/webhooks")
    button(page, "Make a new one").click()
    expect(page.get_by_role("dialog").locator("code")).to_contain_text("whsec_")
