"""The feed over HTTP: who is told of what, from two apis of one system, by their own moves."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from tests.integration.api.test_bad_input import check_problem
from tests.support import accounts
from tests.support import servers as real
from tests.support.apis import Api, end, running_api

from taskflow.bus.connect import Bus
from taskflow.bus.streams import ensure_streams
from taskflow.bus.topology import Topology

EVENTS, TASKS = "/api/v1/events", "/api/v1/tasks"
Frame = dict[str, Any]


class Pair(NamedTuple):
    """Two apis of one system; `again` starts another, in place of one that is gone."""

    database_url: str
    nats_url: str
    settings: dict[str, str]
    one: Api
    other: Api
    admin: str
    ann: str
    bob: str


@pytest.fixture(scope="module")
def pair(databases: real.Databases, servers: real.Servers) -> Iterator[Pair]:
    url = databases.create()
    mark = uuid.uuid4().hex[:8]
    stream = f"{real.STREAM_PREFIX}_{mark.upper()}"
    settings = {**accounts.REQUIRED, "NATS_STREAM_NAME": stream, "NATS_CONSUMER_NAME": f"test-{mark}"}

    async def make_streams() -> None:
        async with Bus(servers.nats_url, Topology(stream), name="test") as bus:
            await ensure_streams(bus)

    real.blocking(make_streams)
    with (
        running_api(url, servers.nats_url, **settings) as one,
        running_api(url, servers.nats_url, **settings) as other,
    ):
        admin = accounts.sign_in(one.url)["access_token"]
        keys = [
            accounts.make_user(
                one.url,
                admin,
                username=name,
                email=f"{name}@example.org",
                password=f"the long password of {name}",
                role="user",
            )["api_key"]
            for name in ("ann", "bob")
        ]
        yield Pair(url, servers.nats_url, settings, one, other, admin, *keys)
    databases.drop(url)
    real.delete_streams(servers.nats_url)


@contextmanager
def following(api: Api, token: str, query: str = "", after: str | None = None) -> Iterator[Iterator[Frame]]:
    """The frames of a feed that stands."""
    headers = accounts.bearer(token) | ({"last-event-id": after} if after else {})
    with (
        httpx.Client(base_url=api.url, headers=headers, timeout=20) as http,
        http.stream("GET", f"{EVENTS}{query}") as answer,
    ):
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
        frames = _frames(answer)
        if after is None:
            assert set(next(frames)) == {"id"}
        yield frames


def _frames(answer: httpx.Response) -> Iterator[Frame]:
    """Frames as they come, those that have but an id too."""
    frame: Frame = {}
    for line in answer.iter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            frame[name] = value
        elif not line:
            if "data" in frame:
                yield {**frame, "data": json.loads(frame["data"])}
            elif "id" in frame:
                yield frame
            frame = {}


def submit(api: Api, token: str, **members: Any) -> str:
    answer = httpx.post(f"{api.url}{TASKS}", headers=accounts.bearer(token), json={"type": "echo", **members})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def cancel(api: Api, token: str, task_id: str) -> None:
    answer = httpx.post(f"{api.url}{TASKS}/{task_id}/cancel", headers=accounts.bearer(token))
    assert answer.status_code == 200, answer.text


def test_an_owner_is_told_of_his_own_and_an_admin_of_all(pair: Pair) -> None:
    with (
        following(pair.one, pair.ann) as anns,
        following(pair.other, pair.bob) as bobs,
        following(pair.other, pair.admin) as all_of_it,
    ):
        one = submit(pair.other, pair.bob)
        other = submit(pair.one, pair.ann)
        cancel(pair.other, pair.ann, other)
        seen = [next(all_of_it) for _ in range(3)]
        assert [(f["event"], f["data"]["task_id"], f["data"]["status"]) for f in seen] == [
            ("task", one, "queued"), ("task", other, "queued"), ("task", other, "cancelled"),
        ]  # fmt: skip
        assert [next(anns)["data"]["seq"] for _ in range(2)] == [1, 2]
        assert next(bobs)["data"]["task_id"] == one
        assert seen[0]["data"] | {"at": ""} == {
            "task_id": one, "seq": 1, "version": 1, "status": "queued", "type": "echo", "queue": "default",
            "priority": "normal", "at": "",
        }  # fmt: skip


def test_what_is_not_wanted_is_not_told(pair: Pair) -> None:
    with (
        following(pair.one, pair.admin, "?type=demo&type=sleep&queue=mail") as some,
        following(pair.one, pair.admin, "?status=cancelled") as ended,
    ):
        ids = [
            submit(pair.one, pair.ann, type=name, queue=queue)
            for name in ("demo", "echo")
            for queue in ("mail", "x")
        ]
        cancel(pair.one, pair.ann, ids[3])
        cancel(pair.one, pair.ann, ids[0])
        assert [(f["data"]["task_id"], f["data"]["status"]) for f in (next(some), next(some))] == [
            (ids[0], "queued"), (ids[0], "cancelled"),
        ]  # fmt: skip
        assert [next(ended)["data"]["task_id"] for _ in range(2)] == [ids[3], ids[0]]


def test_a_killed_api_costs_nothing(pair: Pair) -> None:
    with running_api(pair.database_url, pair.nats_url, **pair.settings) as third:
        with following(third, pair.ann) as frames:
            first = submit(pair.one, pair.ann)
            told = next(frames)
            assert told["data"]["task_id"] == first
            third.process.kill()
            third.process.wait()
        ids = [submit(pair.one, pair.ann) for _ in range(20)]
        with following(pair.other, pair.ann, after=told["id"]) as frames:
            ids += [submit(pair.one, pair.ann) for _ in range(5)]
            assert [next(frames)["data"]["task_id"] for _ in ids] == ids


def test_feeds_that_cannot_be(pair: Pair) -> None:
    shown = accounts.bearer(pair.ann)
    with httpx.Client(base_url=pair.one.url, headers=shown, timeout=10) as http:
        check_problem(http.get(EVENTS, headers={"last-event-id": "7"}), 400, "bad_header")
        for query, name in {
            "type=a%20b": "type", "queue=A": "queue", "status=done": "status", "event=state": "event",
            "last_event_id=7": "last_event_id", "task=1": "task",
        }.items():  # fmt: skip
            answer = http.get(f"{EVENTS}?{query}")
            assert answer.status_code == 422, query
            assert answer.json()["errors"][0]["parameter"] == name
    assert httpx.head(f"{pair.one.url}{EVENTS}", headers=shown, timeout=10).status_code == 200


def test_a_drain_says_bye(pair: Pair) -> None:
    """Last of this module: it ends one of the apis."""
    with following(pair.other, pair.ann) as frames:
        assert end(pair.other, 3) == 0, pair.other.log.read_text()
        assert next(frames)["event"] == "bye"
