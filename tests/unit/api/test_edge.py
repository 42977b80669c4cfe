"""Every request is counted, however it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from taskflow.kit.metrics import REGISTRY
from taskflow_api.drain import Drain
from taskflow_api.edge import Edge


def counted(status: str) -> float:
    labels = {"method": "PATCH", "route": "", "status": status}
    return REGISTRY.get_sample_value("taskflow_http_requests_total", labels) or 0.0


async def call(app: Any) -> None:
    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": "PATCH", "path": "/x", "query_string": b"", "headers": []}
    await Edge(app, Drain(), lambda _: [])(scope, receive, send)


async def test_a_request_that_is_broken_off_counts_as_499() -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    before = counted("499")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call(hang), 0.01)
    assert counted("499") == before + 1


async def test_an_answer_that_breaks_off_counts_as_what_it_began_with() -> None:
    async def stumble(_scope: object, _receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 206, "headers": []})
        raise RuntimeError("half-way")

    before = counted("206")
    with pytest.raises(RuntimeError, match="half-way"):
        await call(stumble)
    assert counted("206") == before + 1


async def test_a_fault_before_the_answer_counts_as_500() -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("at once")

    before = counted("500")
    await call(fail)
    assert counted("500") == before + 1
