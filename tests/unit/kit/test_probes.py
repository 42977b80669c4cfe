"""The probes, over a real socket."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import httpx
import pytest

from taskflow.kit.lifecycle import ProgramError
from taskflow.kit.probes import Probes


async def yes() -> tuple[bool, dict[str, Any]]:
    return True, {"postgres": "up"}


async def no() -> tuple[bool, dict[str, Any]]:
    return False, {"postgres": "away"}


async def breaks() -> tuple[bool, dict[str, Any]]:
    raise ConnectionError("away")


async def test_live_and_ready() -> None:
    async with Probes(0, "127.0.0.1", yes) as probes, httpx.AsyncClient() as http:
        url = f"http://127.0.0.1:{probes.port}"
        assert (await http.get(f"{url}/livez")).json() == {"live": True}
        ready = await http.get(f"{url}/readyz?verbose")
        assert (ready.status_code, ready.json()) == (200, {"ready": True, "postgres": "up"})
        head = await http.head(f"{url}/readyz/")
        assert (head.status_code, head.content) == (200, b"")
        assert (await http.get(f"{url}/")).status_code == 404
        post = await http.post(f"{url}/livez")
        assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("ready", [no, breaks])
async def test_not_ready_is_503(ready: Any) -> None:
    async with Probes(0, "127.0.0.1", ready) as probes, httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{probes.port}/readyz")
        assert answer.status_code == 503
        assert answer.json()["ready"] is False


async def test_no_port_serves_nothing_and_a_used_one_ends_the_program() -> None:
    async with Probes(None, "127.0.0.1", yes) as silent:
        assert silent.port is None
    async with Probes(0, "127.0.0.1", yes) as first:
        with pytest.raises(ProgramError, match="expected a free PROBE_PORT"):
            async with Probes(first.port, "127.0.0.1", yes):
                pass


async def test_what_is_not_http_is_answered_or_dropped() -> None:
    async with Probes(0, "127.0.0.1", yes) as probes:
        reader, writer = await asyncio.open_connection("127.0.0.1", probes.port)
        writer.write(b"hello\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", probes.port)
        writer.write(b"x" * 40_000 + b"\r\n\r\n")
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
