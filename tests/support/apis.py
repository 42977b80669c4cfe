"""A running api, as its own process on a free port: what callers meet."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from tests.support.servers import STREAM_PREFIX
from tests.support.waiting import wait_until_sync

from taskflow.cli.dev import places


class Api(NamedTuple):
    """An api: where it is, its process, and the file its log goes to."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def running_api(database_url: str, nats_url: str, probe: str = "/readyz", **settings: str) -> Iterator[Api]:
    """Start an api, wait until `probe` answers 200, and end it. `settings` are more of its environment."""
    port = places.free_port()
    mark = uuid.uuid4().hex[:8]
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "NATS_URL": nats_url,
        "NATS_STREAM_NAME": f"{STREAM_PREFIX}_{mark.upper()}",
        "NATS_CONSUMER_NAME": f"test-{mark}",
        "HTTP_PORT": str(port),
        **settings,
    }
    with tempfile.TemporaryDirectory(prefix="tf-api-") as folder:
        log = Path(folder) / "api.log"
        with log.open("wb") as out:
            process = subprocess.Popen([sys.executable, "-m", "taskflow_api"], env=environment, stderr=out)
        api = Api(f"http://127.0.0.1:{port}", process, log)
        try:
            wait_until_sync(lambda: _is_ready(api, probe), f"the api's {probe} answers 200", 30)
            yield api
        finally:
            end(api)


def end(api: Api, seconds: float = 15) -> int:
    """Tell it to stop, and give its exit code."""
    api.process.terminate()
    try:
        return api.process.wait(seconds)
    except subprocess.TimeoutExpired:
        api.process.kill()
        api.process.wait()
        raise


def _is_ready(api: Api, probe: str) -> bool:
    assert api.process.poll() is None, api.log.read_text()
    try:
        return httpx.get(f"{api.url}{probe}", timeout=2).status_code == 200
    except httpx.TransportError:
        return False
