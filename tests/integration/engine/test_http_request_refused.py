"""What of `http_request` cannot be done, as callers read it of a real system: refused, too large, too slow."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from ipaddress import ip_address
from typing import Any, TypeVar

import pytest
from tests.integration.engine.conftest import LEASE_SECONDS
from tests.support.chaos import extra_service
from tests.support.listeners import OK, hanging, listening, sending
from tests.support.systems import System
from tests.support.waiting import wait_until

from taskflow.kit.ranges import use_of

T = TypeVar("T")
KIB = 1_024


async def aside(call: Callable[..., T], *arguments: Any, **more: Any) -> T:
    """Call what blocks, while our server goes on serving."""
    return await asyncio.to_thread(call, *arguments, **more)


async def failed(system: System, payload: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """How a task of one attempt failed."""
    task = await aside(system.submit, "http_request", payload, max_attempts=1, **fields)
    done = await aside(system.wait, task["id"])
    assert (done["status"], done["attempt"], done["result"]) == ("failed", 1, None), done
    error: dict[str, Any] = done["error"]
    [execution] = await aside(system.executions, task["id"])
    assert (execution["status"], execution["error"]) == ("failed", error)
    return error


async def test_too_large_and_too_slow(system: System) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    whole, large = 200 * KIB, 200 * KIB + 1
    async with (
        listening(sending(head % whole, b"x" * whole)) as fitting,
        listening(sending(head % large, b"x" * large)) as too_large,
        listening(hanging(head % 5, b"12")) as slow,
    ):
        task = await aside(system.submit, "http_request", {"url": fitting.url()})
        done = await aside(system.wait, task["id"])
        assert (done["status"], done["result"]["body"]) == ("completed", "x" * whole)
        error = await failed(system, {"url": too_large.url(), "method": "POST"})
        assert error["type"] == "AnswerTooLarge", error
        assert error["message"] == f"the answer of 127.0.0.1:{too_large.port} is over {whole} bytes"
        error = await failed(system, {"url": slow.url()}, timeout_seconds=1)
        assert error["type"] == "RequestTimedOut", error
        assert error["message"] == (
            f"127.0.0.1:{slow.port} gave no whole answer within 0.9 s: given up while reading the answer"
        )
        await wait_until(lambda: slow.open == too_large.open == 0, "the connections are closed")
        assert (len(slow.requests), len(too_large.requests)) == (1, 1), "one attempt, one request"


def own_name() -> tuple[str, set[str]]:
    """A name that this machine itself knows, with its addresses; none of them is everybody's."""
    for name in ("localhost.localdomain", "ip6-localhost", socket.gethostname(), socket.getfqdn()):
        if name.endswith("localhost") and name != "ip6-localhost":
            continue  # refused as a loopback name, unresolved
        try:
            found = {info[4][0] for info in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)}
        except OSError:
            continue
        if all(use_of(ip_address(address)) for address in found):
            return name, {str(address) for address in found}
    pytest.skip("this machine knows no name but localhost for one of its own addresses")


async def test_a_name_of_our_own_is_refused_and_nothing_is_connected_to(system: System) -> None:
    """By a worker without EGRESS_ALLOW: by the name alone nobody can tell, so it is refused at each attempt anew."""
    name, addresses = own_name()
    settings = {"WORKER_QUEUES": "strangers", "WORKER_LEASE": f"{LEASE_SECONDS}s", "HANDLER_GRACE": "1s"}
    loopback = [address for address in addresses if ip_address(address).is_loopback]
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(listening(sending(OK), *loopback or ["127.0.0.1"]))
        worker = extra_service(system, "taskflow_worker", **settings)
        await aside(worker.__enter__)
        stack.push_async_callback(aside, worker.__exit__, None, None, None)
        payload = {"url": server.url(host=name)}
        error = await failed(system, payload, queue="strangers")
        task = await aside(system.submit, "http_request", payload, queue="strangers", max_attempts=3)
        done = await aside(system.wait, task["id"])
    assert error["type"] == "EgressRefused", error
    assert error["message"].startswith(f"{name} is ") and error["message"].split()[2].strip(",") in addresses
    assert (done["status"], done["attempt"], done["error"]["type"]) == ("failed", 3, "EgressRefused")
    assert server.connections == 0
