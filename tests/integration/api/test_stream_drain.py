"""The end of an api with many streams open, some of whose readers take nothing."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import AsyncExitStack, suppress

import asyncpg
import httpx
from tests.integration.api.test_tasks import TASKS, submit
from tests.support.apis import Api, running_api
from tests.support.waiting import wait_until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

STREAMS = 100
STUCK = 20
"""Of them, those whose readers take nothing; half of them are WebSockets."""
SOCKETS = 20
"""Of those who read."""
LINES = 150
LINE_CHARS = 60_000
EXIT_SECONDS = 3.0


async def test_sigterm_says_bye_to_who_reads_and_waits_for_nobody(
    database_url: str, nats_url: str, bus_names: object
) -> None:
    async with AsyncExitStack() as stack:
        api = stack.enter_context(running_api(database_url, nats_url))
        http = stack.enter_context(httpx.Client(base_url=api.url, timeout=30))
        quiet, loud = submit(http)["id"], submit(http)["id"]
        await fill(database_url, loud)
        asking = [request(loud), upgrade(loud)] * (STUCK // 2)
        stuck = [stack.enter_context(stuck_reader(api.url, said)) for said in asking]
        readers = [await reader(api, quiet, stack) for _ in range(STREAMS - STUCK - SOCKETS)]
        place = f"{api.url.replace('http', 'ws', 1)}/ws/tasks/{quiet}"
        sockets = [await stack.enter_async_context(connect(place)) for _ in range(SOCKETS)]
        await wait_until(lambda: in_progress(http) >= STREAMS, "all streams are open")
        await wait_until(lambda: all(map(is_full, stuck)), "some streams are stuck")
        began = time.monotonic()
        api.process.terminate()
        endings = await asyncio.gather(*(one.read() for one in readers))
        told = await asyncio.gather(*map(rest_of_socket, sockets))
        code = await asyncio.to_thread(api.process.wait, 15)
        assert time.monotonic() - began < EXIT_SECONDS
        assert code == 0, api.log.read_text()
        assert all(b"event: bye\ndata: {}\n\n" in ending for ending in endings)
        assert all(one[1:] == ['{"event":"bye"}'] for one in told)
        assert {socket.close_code for socket in sockets} == {1012}
        assert all(len(rest_of(one)) < LINES * LINE_CHARS for one in stuck), "they were stuck"


async def fill(database_url: str, task_id: str) -> None:
    """Give a task more history than a connection holds."""
    conn = await asyncpg.connect(database_url)
    try:
        await conn.execute(
            "INSERT INTO task_logs (task_id, at, seq, number, level, message) "
            "SELECT $1, now(), n, 1, 'info', repeat(md5(n::text), $3 / 32) FROM generate_series(2, 1 + $2::int) n",
            task_id, LINES, LINE_CHARS,
        )  # fmt: skip
        await conn.execute("UPDATE tasks SET seq = 1 + $2 WHERE id = $1", task_id, LINES)
    finally:
        await conn.close()


def request(task_id: str) -> bytes:
    """What a reader says."""
    return f"GET {TASKS}/{task_id}/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n".encode()


def upgrade(task_id: str) -> bytes:
    """The same, of a reader by WebSocket."""
    return (
        f"GET /ws/tasks/{task_id}?last_event_id=0 HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n"
        "connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


async def rest_of_socket(socket: ClientConnection) -> list[str | bytes]:
    """What it tells until it closes."""
    told = []
    with suppress(ConnectionClosedError):
        async for frame in socket:
            told.append(frame)
    return told


def stuck_reader(api_url: str, said: bytes) -> socket.socket:
    """A reader that takes nothing of a long history."""
    url = httpx.URL(api_url)
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    made.connect((url.host, url.port or 80))
    made.sendall(said)
    return made


def rest_of(stuck: socket.socket) -> bytes:
    """What had come, once nobody sends any more."""
    found = b""
    with suppress(ConnectionError):
        while chunk := stuck.recv(1 << 20):
            found += chunk
    return found


def is_full(stuck: socket.socket) -> bool:
    """Whether something has come that nobody takes."""
    with suppress(BlockingIOError):
        return len(stuck.recv(65_536, socket.MSG_PEEK | socket.MSG_DONTWAIT)) > 4_000
    return False


async def reader(api: Api, task_id: str, stack: AsyncExitStack) -> asyncio.StreamReader:
    """A reader that has the first event."""
    url = httpx.URL(api.url)
    incoming, outgoing = await asyncio.open_connection(url.host, url.port)
    stack.callback(outgoing.close)
    outgoing.write(request(task_id))
    await asyncio.wait_for(incoming.readuntil(b"event: task"), 10)
    return incoming


def in_progress(http: httpx.Client) -> int:
    """How many requests are inside, but for this one."""
    for line in http.get("/metrics").text.splitlines():
        if line.startswith("taskflow_http_requests_in_progress "):
            return int(float(line.split()[1])) - 1
    return 0
