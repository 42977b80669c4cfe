"""A bare Litestar app behind the api's own server: `python -m tests.benchmarks.echo_app PORT`.

It decodes a JSON body and answers it: what a single submit would cost without TaskFlow.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from litestar import Litestar, post

from taskflow.kit.lifecycle import run
from taskflow.kit.logging import configure
from taskflow_api.drain import Drain
from taskflow_api.server import bound_socket, serve_http

PATH = "/echo"


@post(PATH, status_code=202)
async def echo(data: dict[str, Any]) -> dict[str, Any]:
    """Answer what was sent."""
    return data


async def serve(port: int, stop: asyncio.Event) -> int:
    """Serve until told to stop."""
    app = Litestar([echo], openapi_config=None, logging_config=None)
    with bound_socket("127.0.0.1", port) as listener:
        await serve_http(app, listener, Drain(), stop)
    return 0


if __name__ == "__main__":
    configure("error", "json", "echo")
    sys.exit(run(lambda stop: serve(int(sys.argv[1]), stop)))
