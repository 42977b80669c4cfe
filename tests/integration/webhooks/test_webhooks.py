"""Webhooks as their receivers know them: told of every event, signed, sent until they arrive; and their history."""

from __future__ import annotations

import hmac
import time
from contextlib import suppress
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from tests.support.books import Books
from tests.support.chaos import kill, until_replaced
from tests.support.receiver import Receiver, status
from tests.support.systems import System

from taskflow import webhooks

EVERY = ["task.started", "task.retrying", "task.succeeded", "task.failed", "task.cancelled", "task.expired"]


def deliveries(system: System, task_id: str, **filters: Any) -> list[dict[str, Any]]:
    """Oldest first."""
    return system.list_all(f"/tasks/{task_id}/webhook-deliveries", **filters)[::-1]


def until_delivered(
    system: System, task_id: str, count: int = 1, seconds: float = 15
) -> list[dict[str, Any]]:
    """The deliveries of a task once so many have arrived."""

    def arrived() -> list[dict[str, Any]]:
        found = deliveries(system, task_id)
        return found if [one["status"] for one in found].count("delivered") >= count else []

    found: list[dict[str, Any]] = system.until(arrived, f"{count} deliveries arrived", seconds)
    return found


def serves(system: System) -> bool:
    """Whether the api answers."""
    with suppress(httpx.HTTPError):
        return system.http.get("/readyz").status_code == 200
    return False


def test_each_event_arrives_with_the_task_as_it_was_then(system: System, receiver: Receiver) -> None:
    to = {"url": receiver.url("events"), "events": EVERY, "headers": {"X-Shop": "seven"}}
    payload = {"fail_times": 1, "text": "ä\\u0000"}
    fails = system.submit("echo", {"forceFail": True}, max_attempts=1, callback=to)
    again = system.submit("echo", payload, callback=to)
    naps = system.submit("sleep", {"duration": 60}, callback=to)
    late = system.submit("echo", delay_seconds=60, callback=to)
    system.until(lambda: system.get(f"/tasks/{naps['id']}")["status"] == "running", "it runs")
    for task in (naps, late):
        system.post(f"/tasks/{task['id']}/cancel")
    wanted = {
        (fails["id"], "task.started"), (fails["id"], "task.failed"), (again["id"], "task.started"),
        (again["id"], "task.retrying"), (again["id"], "task.succeeded"), (naps["id"], "task.started"),
        (naps["id"], "task.cancelled"), (late["id"], "task.cancelled"),
    }  # fmt: skip

    def told() -> set[tuple[str, str]]:
        return {(one.json["task"]["id"], one.json["event"]) for one in receiver.at("events")}

    system.until(lambda: told() >= wanted, "all events have arrived")
    assert told() == wanted
    by_event = {(one.json["task"]["id"], one.json["event"]): one for one in receiver.at("events")}
    retrying = by_event[again["id"], "task.retrying"].json["task"]
    assert (retrying["status"], retrying["attempt"], retrying["error"]["type"]) == (
        "retrying",
        1,
        "RuntimeError",
    )
    assert retrying["next_attempt_at"] is not None
    done = by_event[again["id"], "task.succeeded"]
    assert done.json["task"] == system.get(f"/tasks/{again['id']}")
    assert done.headers["x-shop"] == "seven"
    assert (done.headers["content-type"], done.json["attempt"]) == ("application/json", 1)
    assert done.json["delivery_id"] == done.headers["webhook-id"]


def test_an_expiry_is_told(system: System, receiver: Receiver) -> None:
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    task = system.submit("echo", delay_seconds=60, expires_at=soon, callback={"url": receiver.url("expiry")})
    [told] = system.until(lambda: receiver.at("expiry"), "the expiry was told")
    assert (told.json["event"], told.json["task"]["id"]) == ("task.expired", task["id"])


def test_standard_webhooks_verify_before_and_after_a_rotation(system: System, receiver: Receiver) -> None:
    to = {"url": receiver.url("signed")}
    old = system.post("/signing-secrets", {"overlap_seconds": 0}, expect=201)["secret"]
    system.until(lambda: len(system.get("/signing-secrets")["items"]) == 1, "the others have ended")
    verified_by(system, receiver, to, old, [old])
    new = system.post("/signing-secrets", expect=201)["secret"]
    verified_by(system, receiver, to, new, [old, new])
    states = [one["status"] for one in system.get("/signing-secrets")["items"]]
    assert states == ["live", "ending"]


def verified_by(
    system: System, receiver: Receiver, to: dict[str, Any], newest: str, secrets: list[str]
) -> None:
    """Events and pushes are soon signed by all of these, and X-TaskFlow-Signature is the first one's."""

    def signed_by_newest() -> Any:
        seen = len(receiver.at("signed"))
        system.submit("echo", callback=to)
        system.submit("work", target={"url": to["url"]})
        system.until(lambda: len(receiver.at("signed")) >= seen + 2, "both arrive")
        both = receiver.at("signed")[seen:]
        try:
            for one in both:
                Webhook(newest).verify(one.body, one.headers)
        except Exception:
            return None
        return both

    for one in system.until(signed_by_newest, "the newest secret signs", 60):
        for secret in secrets:
            assert Webhook(secret).verify(one.body, one.headers) == one.json
            assert webhooks.verify(one.headers, one.body, secret) == one.json
        assert len(one.headers["webhook-signature"].split()) == len(secrets)
        mac = hmac.new(secrets[0].encode(), one.body, "sha256").hexdigest()
        assert one.headers["x-taskflow-signature"] == f"sha256={mac}"


@pytest.mark.parametrize("secret", ["a-plain-secret-of-mine", "whsec_" + "QUJD" * 8])
def test_a_callbacks_own_secret_signs_in_place_of_the_accounts(
    system: System, receiver: Receiver, secret: str
) -> None:
    system.submit("echo", callback={"url": receiver.url(secret[:7]), "secret": secret})
    [told] = system.until(lambda: receiver.at(secret[:7]), "it arrives")
    assert webhooks.verify(told.headers, told.body, secret) == told.json
    assert ("webhook-signature" in told.headers) == secret.startswith("whsec_")


def test_what_fails_is_tried_again_under_the_same_id_and_told_of(system: System, receiver: Receiver) -> None:
    receiver.behaviours["flaky"] = lambda to, request: (
        to.say(500, b"<h1>no</h1>" * 200) if len(receiver.at(request.path[1:])) < 3 else to.say(204, b"")
    )
    task = system.submit("echo", callback={"url": receiver.url("flaky/1")})
    [delivery] = until_delivered(system, task["id"])
    tries = delivery["attempts"]
    assert [(one["number"], one["status_code"]) for one in tries] == [(1, 500), (2, 500), (3, 204)]
    assert tries[0]["error"] == "HttpStatus: answered 500 Internal Server Error"
    assert len(tries[0]["answer"]) == 1024
    assert tries[0]["answer"].startswith("<h1>no</h1>")
    assert tries[2]["error"] is None
    assert {one.headers["webhook-id"] for one in receiver.at("flaky/1")} == {delivery["id"]}
    assert [one.json["attempt"] for one in receiver.at("flaky/1")] == [1, 2, 3]
    assert (delivery["status"], delivery["attempt"], delivery["endpoint"]) == ("delivered", 3, "active")


def test_gone_ends_it_a_redirect_is_not_followed_and_a_time_asked_for_is_kept(
    system: System, receiver: Receiver
) -> None:
    receiver.behaviours["gone"] = status(410)
    receiver.behaviours["later"] = lambda to, request: (
        to.say(503, b"", retry_after="3") if len(receiver.at(request.path[1:])) < 2 else to.say(200)
    )
    gone = system.submit("echo", callback={"url": receiver.url("gone")})
    moved = system.submit("echo", callback={"url": receiver.url("redirect"), "max_attempts": 2})
    later = system.submit("echo", callback={"url": receiver.url("later")})

    def ended(task: dict[str, Any]) -> Any:
        [one] = deliveries(system, task["id"]) or [{"status": "pending"}]
        return one if one["status"] != "pending" else None

    one = system.until(lambda: ended(gone), "it has ended")
    assert (one["status"], one["attempt"], one["next_attempt_at"]) == ("failed", 1, None)
    two = system.until(lambda: ended(moved), "it has ended")
    assert (two["status"], two["attempt"]) == ("failed", 2)
    assert two["attempts"][0]["error"].startswith("RedirectRefused: answered 302 Found, to ")
    assert not receiver.at("redirected")
    assert system.until(lambda: ended(later), "it has arrived")["status"] == "delivered"
    first, second = receiver.at("later")
    assert 2.5 < second.at - first.at < 10


def test_a_delivery_is_replayed_and_one_is_triggered(system: System, receiver: Receiver) -> None:
    receiver.behaviours["dead"] = status(500)
    task = system.submit("echo", {"a": 1}, callback={"url": receiver.url("dead"), "max_attempts": 1})
    [failed] = system.until(
        lambda: [one for one in deliveries(system, task["id"]) if one["status"] == "failed"], "it has failed"
    )
    del receiver.behaviours["dead"]
    path = f"/tasks/{task['id']}"
    again = system.post(f"{path}/webhook-deliveries/{failed['id']}/replay", expect=202)
    assert again["delivery_id"] == failed["id"]
    [delivered] = until_delivered(system, task["id"])
    assert [one["number"] for one in delivered["attempts"]] == [1, 2]
    sent = system.post(f"{path}/trigger_webhook", expect=202)
    named = system.post(f"{path}/webhook-deliveries", {"event": "task.test"}, expect=202)
    until_delivered(system, task["id"], 3)
    by_id = {one.headers["webhook-id"]: one.json["event"] for one in receiver.at("dead")}
    assert by_id == {
        failed["id"]: "task.succeeded", sent["delivery_id"]: "task.succeeded", named["delivery_id"]: "task.test"
    }  # fmt: skip


@pytest.mark.timeout(120)
def test_a_receiver_that_was_down_gets_every_event_though_all_are_killed_meanwhile(
    system: System, receiver: Receiver
) -> None:
    """A minute of it is in tests/chaos."""
    receiver.down()
    to = {"url": receiver.url("down"), "events": ["task.started", "task.succeeded"]}
    ids = system.submit_many([{"type": "sleep", "payload": {"duration": 0.3}, "callback": to}] * 6)
    pids = system.facts()["pids"]
    for pid in (pids["workers"][0], pids["api"], pids["notifier"]):
        kill(pid)
    for name, pid in (("workers", pids["workers"][0]), ("api", pids["api"]), ("notifier", pids["notifier"])):
        until_replaced(system, name, pid)
    system.until(lambda: serves(system), "an api serves again")
    system.wait_all(ids, 60)
    system.until(
        lambda: min(len(one["attempts"]) for task in ids for one in deliveries(system, task)) > 2,
        "all have failed",
    )
    kill(system.facts()["pids"]["notifier"])
    receiver.up()

    def missing() -> set[tuple[str, str]]:
        told = {(one.json["task"]["id"], one.json["event"]) for one in receiver.at("down")}
        return {(task, event) for task in ids for event in to["events"]} - told

    system.until(lambda: not missing(), "every event arrived", 60)
    found = system.until(
        lambda: (
            all_of := [one for task in ids for one in deliveries(system, task)],
            all(one["status"] == "delivered" for one in all_of),
        )[1] and all_of, "all are recorded", 40,
    )  # fmt: skip
    ended = [one for one in found if one["event"] == "task.succeeded"]
    assert len(ended) == len(ids), "exactly one delivery a task and event"
    for one in found:
        numbers = [tried["number"] for tried in one["attempts"]]
        assert numbers == list(range(1, len(numbers) + 1))
        assert one["attempts"][-1]["status_code"] == 200
        for tried in one["attempts"][:-1]:
            assert tried["error"].startswith(("ConnectFailed: no connection to 127.0.0.1", "ConnectionLost"))
    assert any(len(one["attempts"]) > 1 for one in found)


def test_an_endpoint_that_fails_a_hundred_times_in_a_row_is_slowed_and_comes_back(
    system: System, receiver: Receiver
) -> None:
    """Who has mended it sends anything by hand: once that arrives, all that was put off goes."""
    receiver.behaviours["sick"] = status(500)
    url = receiver.url("sick/1")
    to = {"url": url, "max_attempts": 3}
    ids = system.submit_many([{"type": "echo", "callback": to}] * 60)

    def slowed() -> list[dict[str, Any]]:
        return [one for one in system.list_all("/webhook-endpoints", state="slowed") if one["url"] == url]

    [shown] = system.until(slowed, "it is slowed", 30)
    assert shown["failures"] >= 100
    assert shown["error"] == "HttpStatus: answered 500 Internal Server Error"
    more = system.submit("echo", callback=to)
    [waits] = system.until(
        lambda: [one for one in deliveries(system, more["id"]) if one["next_attempt_at"]], "it is put off"
    )
    assert (waits["endpoint"], waits["attempt"]) == ("slowed", 0)
    seen = len(receiver.at("sick/1"))
    assert seen < 3 * 60 + 1
    del receiver.behaviours["sick"]
    system.post(f"/tasks/{more['id']}/trigger_webhook", expect=202)
    until_delivered(system, more["id"], 2)
    assert not slowed()
    pending = system.until(
        lambda: not [one for one in system.list_all("/webhook-deliveries", url=url) if one["status"] == "pending"],
        "what was put off goes at once", 20,
    )  # fmt: skip
    assert pending
    assert len(ids) == 60


def test_a_host_that_hangs_keeps_no_other_waiting(system: System, receiver: Receiver) -> None:
    hanging = {"url": receiver.url("hang/webhook"), "max_attempts": 1}
    system.submit_many([{"type": "echo", "callback": hanging}] * 150)
    system.until(lambda: len(receiver.at("hang/webhook")) >= 10, "ten hang")
    good = {"url": receiver.url("good").replace("127.0.0.1", "localhost")}
    ids = system.submit_many([{"type": "echo", "callback": good}] * 50)
    began = time.monotonic()
    system.until(lambda: len(receiver.at("good")) == len(ids), "the others arrive", 10)
    assert time.monotonic() - began < 5, "ten a time of two seconds would be thirty seconds"


def test_operators_are_told_of_a_surge(system: System, truth: Books) -> None:
    ids = system.submit_many([{"type": "echo", "payload": {"forceFail": True}, "max_attempts": 1}] * 25)
    system.wait_all(ids)

    def told() -> list[dict[str, Any]]:
        return [one for one in system.list_all("/webhook-deliveries") if one["event"] == "dead_letters.surge"]

    [alert] = system.until(told, "the surge is told")
    assert (alert["url"], alert["task_id"]) == ("http://127.0.0.1:9/alerts", None)
    content = truth.value("SELECT content->>'type' FROM webhook_deliveries WHERE id = $1::uuid", alert["id"])
    assert content == "echo"
    [tried, *_] = system.until(lambda: told()[0]["attempts"], "it was tried")
    assert tried["error"] == "EgressRefused: port 9 is not allowed; expected 80, 443, 1024-65535"
