"""A task's live stream: nothing is missed, nothing comes twice, and it ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.integration.api.test_bad_input import check_problem
from tests.integration.api.test_tasks import TASKS, submit
from tests.support.apis import Api, end

EVENT_STREAM = {"accept": "text/event-stream"}
Frame = dict[str, Any]


def frames(answer: httpx.Response) -> Iterator[Frame]:
    """The frames of a stream, without comments and `retry:`."""
    frame: Frame = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            frame[name] = value
        else:
            if "event" in frame:
                yield {**frame, "data": json.loads(frame["data"])}
            frame = {}


def test_a_stream_tells_what_was_follows_and_ends(http: httpx.Client) -> None:
    task = submit(http)
    path = f"{TASKS}/{task['id']}"
    with http.stream("GET", f"{path}/events", headers=EVENT_STREAM) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        told = frames(answer)
        first = next(told)
        assert (first["event"], first["data"]["status"]) == ("task", "queued")
        httpx.post(f"{http.base_url}{path}/cancel")
        rest = list(told)
    assert [frame["event"] for frame in rest] == ["task", "end"]
    assert rest[0]["data"]["status"] == "cancelled"
    last = rest[0]["id"]
    assert http.get(f"{path}/events", headers={**EVENT_STREAM, "last-event-id": last}).status_code == 204
    assert http.get(f"{path}/events?last_event_id={last}", headers=EVENT_STREAM).status_code == 204
    with http.stream(
        "GET", f"{path}/events", headers={**EVENT_STREAM, "last-event-id": first["id"]}
    ) as answer:
        assert [frame["event"] for frame in frames(answer)] == ["task", "end"]


@pytest.mark.parametrize("far", ["3000000000", str(2**53), "9999999999999999"])
def test_an_id_that_no_event_will_ever_have_is_answered(http: httpx.Client, far: str) -> None:
    """A task's events are numbered by 32 bits; what a reader says is not."""
    path = f"{TASKS}/{submit(http)['id']}"
    assert http.get(f"{path}/events", headers={"last-event-id": far}).json()["items"] == []
    if int(far) <= 2**53:
        assert http.get(f"{path}/events?last_event_id={far}").json()["items"] == []
    http.post(f"{path}/cancel")
    answer = http.get(f"{path}/events", headers={**EVENT_STREAM, "last-event-id": far})
    assert answer.status_code == 204


def test_a_new_life_goes_on_where_the_reader_was(http: httpx.Client) -> None:
    task = submit(http)
    path = f"{TASKS}/{task['id']}"
    http.post(f"{path}/cancel")
    seen = http.get(f"{path}/events").json()["items"][-1]["seq"]
    http.post(f"{path}/retry")
    http.post(f"{path}/cancel")
    with http.stream("GET", f"{path}/events?last_event_id={seen}", headers=EVENT_STREAM) as answer:
        statuses = [frame["data"].get("status") for frame in frames(answer)]
    assert statuses == ["queued", "cancelled", None]


def test_streams_that_cannot_be(http: httpx.Client) -> None:
    missing = f"{TASKS}/01900000-0000-7000-8000-000000000000/events"
    check_problem(http.get(missing, headers=EVENT_STREAM), 404, "not_found")
    task = submit(http)
    odd = {**EVENT_STREAM, "last-event-id": "7-x"}
    check_problem(http.get(f"{TASKS}/{task['id']}/events", headers=odd), 400, "bad_header")


def test_a_drain_says_bye_answers_waits_and_exits_0(api: Api) -> None:
    """Last of this module: it ends the api."""
    with httpx.Client(base_url=api.url, timeout=30) as http:
        task = submit(http)
        waited: list[httpx.Response] = []
        waiting = threading.Thread(
            target=lambda: waited.append(httpx.get(f"{api.url}{TASKS}/{task['id']}?wait=30", timeout=40))
        )
        with http.stream("GET", f"{TASKS}/{task['id']}/events", headers=EVENT_STREAM) as answer:
            told = frames(answer)
            next(told)
            waiting.start()
            assert httpx.get(f"{api.url}{TASKS}/{task['id']}?wait=0.3").status_code == 200
            assert end(api) == 0, api.log.read_text()
            assert [frame["event"] for frame in told] == ["bye"]
        waiting.join()
    assert waited[0].json()["status"] == "queued"
