"""The built-in type `sleep`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from msgspec import Meta

from taskflow import Context, task
from taskflow_worker.handlers.knobs import Knobs, obey

DURATION_SECONDS_MAX = 86_400


class Sleep(Knobs):
    """`duration` is in seconds."""

    duration: (
        Annotated[int, Meta(ge=0, le=DURATION_SECONDS_MAX)]
        | Annotated[float, Meta(ge=0, le=DURATION_SECONDS_MAX)]
    )


@task("sleep")
async def sleep(payload: Sleep, context: Context) -> dict[str, Any]:
    """Take time: `{"slept_seconds"}`."""
    obey(payload, context)
    await asyncio.sleep(payload.duration)
    return {"slept_seconds": payload.duration}
