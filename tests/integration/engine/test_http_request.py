"""`http_request` in real workers: what they may call is their setting, in the child processes that they start as well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from tests.integration.engine.conftest import LEASE_SECONDS
from tests.support.chaos import extra_service, kill
from tests.support.listeners import OK, listening, sending
from tests.support.systems import System
from tests.support.waiting import wait_until

T = TypeVar("T")
ANSWER = (
    b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nLocation: /orders/7\r\nContent-Length: 8\r\n\r\n"
    b'{"id":7}'
)


async def aside(call: Callable[..., T], *arguments: Any, **more: Any) -> T:
    """Call what blocks, while our server goes on serving."""
    return await asyncio.to_thread(call, *arguments, **more)


async def test_a_task_calls_a_server_and_keeps_what_it_answered(system: System) -> None:
    """`dev` allows loopback."""
    async with listening(sending(ANSWER)) as server:
        payload = {"url": server.url("/orders"), "method": "POST", "body": {"item": "tea"}}
        task = await aside(system.submit, "http_request", payload)
        done = await aside(system.wait, task["id"])
    assert done["status"] == "completed", done
    assert (done["result"]["status"], done["result"]["body"]) == (201, {"id": 7})
    assert done["result"]["headers"]["location"] == "/orders/7"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert body == b'{"item":"tea"}'
    assert head.startswith(b"POST /orders HTTP/1.1\r\n")
    for line in (f"Idempotency-Key: {task['id']}:1", f"X-TaskFlow-Task-Id: {task['id']}"):
        assert line.encode() in head.splitlines()


async def test_a_task_whose_worker_died_calls_again_from_a_child_process(system: System) -> None:
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 1:
            await over.wait()
        writer.write(ANSWER)

    async with listening(answer) as server:
        task = await aside(system.submit, "http_request", {"url": server.url()})
        await wait_until(lambda: server.requests, "the first call has arrived")
        workers = (await aside(system.get, "/workers"))["items"]
        running = (await aside(system.get, f"/tasks/{task['id']}"))["worker_id"]
        kill(next(worker["pid"] for worker in workers if worker["id"] == running))
        done = await aside(system.wait, task["id"])
        over.set()
    assert (done["status"], done["result"]["status"]) == ("completed", 201)
    keys = [
        [line for line in each.splitlines() if line.startswith(b"Idempotency-Key")]
        for each in server.requests
    ]
    assert keys == [[f"Idempotency-Key: {task['id']}:1".encode()]] * 2
    executions = await aside(system.executions, task["id"])
    assert [each["status"] for each in executions] == ["lost", "succeeded"]


async def test_a_worker_that_is_told_nothing_reaches_nothing_of_ours(system: System) -> None:
    settings = {"WORKER_QUEUES": "outside", "WORKER_LEASE": f"{LEASE_SECONDS}s", "HANDLER_GRACE": "1s"}

    def call_from_there(url: str) -> dict[str, Any]:
        with extra_service(system, "taskflow_worker", **settings):
            return system.wait(system.submit("http_request", {"url": url}, queue="outside")["id"])

    async with listening(sending(OK)) as server:
        done = await aside(call_from_there, server.url())
        assert (done["status"], done["error"]["type"]) == ("failed", "PermanentError")
        assert done["error"]["message"] == "the url is refused: 127.0.0.1 is a loopback address"
        assert server.connections == 0
