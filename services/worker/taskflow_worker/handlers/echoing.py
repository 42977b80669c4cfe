"""Built-in types that give back what they got, byte for byte: `demo` and `echo`."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from taskflow import Context, task
from taskflow_worker.handlers.knobs import obey_raw


@task("demo")
async def demo(payload: Raw, context: Context) -> dict[str, Any]:
    """`{"ok": true, "echo": payload}`."""
    obey_raw(payload, context)
    return {"ok": True, "echo": payload}


@task("echo")
async def echo(payload: Raw, context: Context) -> Raw:
    """The payload."""
    obey_raw(payload, context)
    return payload
