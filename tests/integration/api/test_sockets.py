"""A task as a WebSocket: how it is, then each event once; refused before the upgrade, bounded after it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from tests.contract.store import world
from tests.contract.store.world import DONE
from tests.integration.api.test_bad_input import check_problem
from tests.integration.api.test_stream import EVENT_STREAM, frames
from tests.integration.api.test_stream_drain import in_progress
from tests.integration.api.test_tasks import TASKS, submit
from tests.support import servers as real
from tests.support.apis import Api, running_api
from tests.support.waiting import wait_until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from taskflow.domain.task import Claimed
from taskflow.kit.clock import now
from taskflow.store.history import Line, append_lines

ORIGIN = "https://app.example.com"
Told = dict[str, Any]


@pytest.fixture(scope="module")
def place(databases: real.Databases, servers: real.Servers) -> Iterator[tuple[Api, str]]:
    """An api that allows pages of one other origin, and its database."""
    url = databases.create()
    with running_api(url, servers.nats_url, CORS_ORIGIN=ORIGIN) as api:
        yield api, url
    databases.drop(url)
    real.delete_streams(servers.nats_url)


@pytest.fixture(scope="module")
def api(place: tuple[Api, str]) -> Api:
    """That api."""
    return place[0]


@pytest.fixture
async def web(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that api."""
    async with httpx.AsyncClient(base_url=api.url, timeout=30) as client:
        yield client


async def task_of(web: httpx.AsyncClient) -> str:
    """The id of a new task."""
    answer = await web.post(TASKS, json={"type": "echo"})
    assert answer.status_code == 202, answer.text
    made: str = answer.json()["id"]
    return made


@asynccontextmanager
async def opened(api: Api, path: str, **headers: str) -> AsyncIterator[ClientConnection]:
    """A WebSocket. Its client takes all that comes: else it would not hear the close behind what nobody reads."""
    url = api.url.replace("http", "ws", 1) + path
    async with connect(url, additional_headers=headers, max_queue=None) as socket:
        yield socket


async def rest_of(socket: ClientConnection) -> list[Told]:
    """What it tells until it closes."""
    return [json.loads(frame) async for frame in socket]


async def test_a_socket_tells_how_it_is_follows_and_ends(api: Api, web: httpx.AsyncClient) -> None:
    task = {"id": await task_of(web)}
    async with opened(api, f"/ws/tasks/{task['id']}", **{"x-request-id": "abc-1"}) as socket:
        assert socket.response is not None
        assert socket.response.headers["x-request-id"] == "abc-1"
        assert "sec-websocket-extensions" not in socket.response.headers
        state = json.loads(await socket.recv())
        shown = (await web.get(f"{TASKS}/{task['id']}")).json()
        assert (state["event"], state["seq"]) == ("state", 1)
        assert state["task"] == shown
        await web.post(f"{TASKS}/{task['id']}/cancel")
        *told, end = await rest_of(socket)
    assert socket.close_code == 1000
    assert end == {"event": "end"}
    assert told == (await web.get(f"{TASKS}/{task['id']}/events?last_event_id=1")).json()["items"]
    async with opened(api, f"/ws/tasks/{task['id']}") as socket:
        state, end = await rest_of(socket)
    assert (state["seq"], state["task"]["status"], end) == (2, "cancelled", {"event": "end"})


async def test_a_reader_goes_on_after_the_number_it_names(api: Api, web: httpx.AsyncClient) -> None:
    path = f"{TASKS}/{await task_of(web)}"
    for command in ("cancel", "retry", "cancel"):
        await web.post(f"{path}/{command}")
    whole = (await web.get(f"{path}/events")).json()["items"]
    for after in (0, 1, 3, 4, 2**53):
        async with opened(api, f"{path.replace('/api/v1', '/ws')}?last_event_id={after}") as socket:
            state, *told, end = await rest_of(socket)
        assert (state["seq"], end["event"]) == (4, "end")
        assert told == whole[after:]


async def test_every_event_comes_once_whoever_writes_meanwhile(
    place: tuple[Api, str], api: Api, http: httpx.Client, web: httpx.AsyncClient
) -> None:
    """Readers of both kinds come, leave and come back while others write."""
    conn = await asyncpg.connect(place[1])
    [task] = await world.run(conn)
    writing = asyncio.create_task(write(place[1], task))
    readers = [read_by_socket(api, task.id, leaves_after=every) for every in (None, 1, 7, 40)]
    told = await asyncio.gather(*readers, asyncio.to_thread(read_by_stream, http, task.id))
    await writing
    for one in told:
        assert [event["seq"] for event in one] == list(range(one[0]["seq"], LINES + 4))
    assert [event["seq"] for event in told[-1]] == list(range(1, LINES + 4))
    whole = (await web.get(f"{TASKS}/{task.id}/events?limit=200")).json()["items"]
    assert told[0] == whole[told[0][0]["seq"] - 1 :]
    await conn.close()


LINES = 180


async def write(database_url: str, task: Claimed) -> None:
    """Three that write log lines to one running task, and then its end."""
    pool = await asyncpg.create_pool(database_url, min_size=3, max_size=3)
    async with pool:

        async def write_some() -> None:
            for n in range(LINES // 6):
                async with pool.acquire() as conn:
                    lines = [Line(task.id, task.number, task.worker_id, now(), "info", f"{n}")] * 2
                    assert await append_lines(conn, lines)
                    await conn.execute("SELECT pg_sleep(0.1)")

        await asyncio.gather(*(write_some() for _ in range(3)))
        async with pool.acquire() as conn:
            await world.end(conn, [task], DONE)


async def read_by_socket(api: Api, task_id: str, leaves_after: int | None) -> list[Told]:
    """All events after the first state, by a reader who leaves after so many, and comes back for the others."""
    told: list[Told] = []
    query = ""
    while True:
        async with opened(api, f"/ws/tasks/{task_id}{query}") as socket:
            seen = 0
            async for frame in socket:
                event = json.loads(frame)
                if event["event"] == "end":
                    return told
                if event["event"] == "state":
                    query = query or f"?last_event_id={event['seq']}"
                    continue
                assert f"?last_event_id={event['seq'] - 1}" == query
                told.append(event)
                query = f"?last_event_id={event['seq']}"
                seen += 1
                if seen == leaves_after:
                    break


def read_by_stream(http: httpx.Client, task_id: str) -> list[Told]:
    """All events, as server-sent ones."""
    with http.stream("GET", f"{TASKS}/{task_id}/events", headers=EVENT_STREAM) as answer:
        return [frame["data"] for frame in frames(answer) if frame["event"] != "end"]


async def refused(api: Api, path: str, **headers: str) -> httpx.Response:
    """The answer of an upgrade that is refused."""
    with pytest.raises(InvalidStatus) as found:
        async with opened(api, path, **headers):
            pass
    answer = found.value.response
    return httpx.Response(
        answer.status_code, headers=list(answer.headers.raw_items()), content=bytes(answer.body or b"")
    )


MISSING = "01900000-0000-7000-8000-000000000000"
REFUSALS: list[tuple[str, dict[str, str], int, str]] = [
    ("/ws/nope", {}, 404, "not_found"),
    (f"/ws/tasks/{MISSING}", {}, 404, "not_found"),
    ("/ws/tasks/7", {}, 404, "not_found"),
    ("/ws/tasks/{id}?limit=3", {}, 422, "unknown_field"),
    ("/ws/tasks/{id}?last_event_id=x", {}, 422, "invalid"),
    ("/ws/tasks/{id}", {"last-event-id": "x"}, 400, "bad_header"),
    ("/ws/tasks/{id}?ticket=tfs_1", {}, 401, "unauthenticated"),
    ("/ws/tasks/{id}", {"authorization": "Bearer tfq_1"}, 401, "unauthenticated"),
    ("/ws/tasks/{id}", {"origin": "https://evil.example"}, 403, "forbidden"),
    ("/ws/tasks/{id}", {"origin": "null"}, 403, "forbidden"),
    ("/ws/tasks/{id}", {"sec-fetch-site": "cross-site"}, 403, "forbidden"),
    ("/ws/tasks/{id}", {"host": "evil.example"}, 403, "forbidden"),
]


@pytest.mark.parametrize(("path", "headers", "status", "code"), REFUSALS)
async def test_what_is_refused_is_refused_before_the_upgrade(
    api: Api, web: httpx.AsyncClient, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await refused(api, path.format(id=await task_of(web)), **headers)
    check_problem(answer, status, code)
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_pages_of_our_own_and_allowed_ones_open_sockets(api: Api, web: httpx.AsyncClient) -> None:
    path = f"/ws/tasks/{await task_of(web)}"
    for origin in (ORIGIN, api.url):
        async with opened(api, path, origin=origin) as socket:
            assert json.loads(await socket.recv())["event"] == "state"
    ticket = (await web.post("/api/v1/stream-tickets")).json()["ticket"]
    check_problem(
        await refused(api, f"{path}?ticket={ticket}", origin="https://evil.example"), 403, "forbidden"
    )
    async with opened(api, f"{path}?ticket={ticket}", origin=ORIGIN) as socket:
        assert json.loads(await socket.recv())["event"] == "state"
    check_problem(await refused(api, f"{path}?ticket={ticket}", origin=ORIGIN), 401, "unauthenticated")


HANDSHAKE = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13",
             "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
FAULTY = [
    pytest.param({}, id="none"),
    pytest.param(HANDSHAKE | {"sec-websocket-version": "12"}, id="another version"),
    pytest.param(HANDSHAKE | {"sec-websocket-key": "short"}, id="no key"),
    pytest.param({k: v for k, v in HANDSHAKE.items() if k != "connection"}, id="no upgrade"),
    pytest.param(HANDSHAKE | {"x-long": "x" * 9_000}, id="too long for a handshake"),
    pytest.param(HANDSHAKE | {f"x-{n}": "y" for n in range(130)}, id="too many headers for a handshake"),
]


@pytest.mark.parametrize("headers", FAULTY)
def test_what_opens_no_socket_is_told_so(http: httpx.Client, headers: dict[str, str]) -> None:
    answer = http.get(f"/ws/tasks/{submit(http)['id']}", headers=headers)
    check_problem(answer, 426, "upgrade_required")
    assert (answer.headers["upgrade"], answer.headers["sec-websocket-version"]) == ("websocket", "13")


def test_methods_and_paths_of_sockets(http: httpx.Client) -> None:
    path = f"/ws/tasks/{submit(http)['id']}"
    answer = http.post(path)
    check_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, OPTIONS"
    assert http.options(path).headers["allow"] == "GET, OPTIONS"
    check_problem(http.get("/ws/nope"), 404, "not_found")
    # Elsewhere an upgrade is not heard: RFC 9110, 7.8.
    assert http.get(TASKS, headers=HANDSHAKE).status_code == 200
    measured = http.get("/metrics").text
    assert 'route="/ws/tasks/{task_id}",status="426"' in measured


async def test_what_a_reader_says_is_bounded_and_ignored(api: Api, web: httpx.AsyncClient) -> None:
    path = f"/ws/tasks/{await task_of(web)}"
    async with opened(api, path) as socket:
        await socket.recv()
        for said in ("hello", b"\0" * 4_096, ["in ", "parts", ""]):
            await socket.send(said)
        await (await socket.ping())
        await web.post(f"{path.replace('/ws', '/api/v1')}/cancel")
        assert [told["event"] for told in await rest_of(socket)] == ["task", "end"]
    for said in ("x" * 4_097, ["x" * 4_000, "x" * 4_000]):
        async with opened(api, path.replace(path[-36:], await task_of(web))) as socket:
            await socket.recv()
            with pytest.raises(ConnectionClosed):
                await socket.send(said)
                await socket.recv()
        assert socket.close_code == 1009


async def test_a_reader_who_leaves_is_forgotten(api: Api, http: httpx.Client, web: httpx.AsyncClient) -> None:
    before = in_progress(http)
    async with opened(api, f"/ws/tasks/{await task_of(web)}") as socket:
        await socket.recv()
        assert in_progress(http) == before + 1
    await wait_until(lambda: in_progress(http) == before, "the socket is counted no more")
    assert "Traceback" not in api.log.read_text()
