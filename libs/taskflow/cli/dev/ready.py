"""When a task can be submitted: the api says it is ready, and one of our workers is live."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlsplit

import msgspec

from taskflow.kit.logging import get_logger

log = get_logger(__name__)

_POLL_SECONDS = 0.1
_REQUEST_SECONDS_MAX = 3.0
_HINT_SECONDS = 15.0


async def until_ready(api_url: str, worker_pids: Callable[[], Collection[int]]) -> None:
    """Return once a task submitted to `api_url` would be run by one of the workers."""
    began = hinted = time.monotonic()
    while (missing := await asyncio.to_thread(_missing, api_url, worker_pids())) is not None:
        if time.monotonic() - hinted > _HINT_SECONDS:
            hinted = time.monotonic()
            log.warning("system.awaited", waits_for=missing, seconds=round(hinted - began))
        await asyncio.sleep(_POLL_SECONDS)


def _missing(api_url: str, worker_pids: Collection[int]) -> str | None:
    """What is still missing, or None."""
    status, said = _get(api_url, "/readyz")
    if status != 200:
        return f"the api ({said if status == 0 else status})"
    status, said = _get(api_url, "/api/v1/workers")
    if status in (401, 403):
        return None  # the api asks for credentials, which `dev` has none of; it is up, and that must do
    if status != 200:
        return f"the list of workers ({status})"
    return None if _has_live(said, worker_pids) else "a live worker"


def _has_live(said: Any, worker_pids: Collection[int]) -> bool:
    """Whether a worker of ours is live; one of a killed `dev` looks alive until its lease is over."""
    items = said.get("items", []) if isinstance(said, dict) else []
    return any(item.get("status") == "live" and item.get("pid") in worker_pids for item in items)


def _get(url: str, path: str) -> tuple[int, Any]:
    """Status and JSON of a GET; status 0 if there was no answer. Plain sockets: no proxy has a say."""
    parts = urlsplit(url)
    line = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_REQUEST_SECONDS_MAX)
    try:
        line.request("GET", path, headers={"Accept": "application/json"})
        answer = line.getresponse()
        body = answer.read()
        return answer.status, msgspec.json.decode(body) if body else None
    except (OSError, http.client.HTTPException) as error:
        return 0, f"{type(error).__name__}: {error}"
    except msgspec.DecodeError:
        return 0, "an answer that is not JSON"
    finally:
        line.close()
