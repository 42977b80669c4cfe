"""Is the api alive, and can it serve?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from taskflow.domain.errors import Unavailable
from taskflow.kit.metrics import CONTENT_TYPE, exposition
from taskflow_api.operation import Answer, Call, Operation
from taskflow_api.problems import problem
from taskflow_api.replies import Reply, answer

if TYPE_CHECKING:
    from litestar.types import ASGIApp


async def live(_call: Call) -> ASGIApp:
    """The process turns its loop."""
    return answer({"status": "ok"})


async def ready(call: Call) -> ASGIApp:
    """PostgreSQL answers, and the api is not on its way out. NATS is told of, not needed to take tasks."""
    report = await call.services.health.report()
    if call.drain.draining:
        report = {**report, "ready": False, "draining": True}
    if report.get("ready"):
        return answer({"status": "ok", **report})
    detail = "this api is shutting down" if call.drain.draining else "this api cannot serve now"
    request_id = str(call.scope["state"]["request_id"])
    return problem(Unavailable(detail), request_id, extra=report, refuses=False)


async def metrics(_call: Call) -> ASGIApp:
    """What this process counts."""
    return Reply(200, await asyncio.to_thread(exposition), [], CONTENT_TYPE)


def _probe(path: str, operation_id: str, summary: str, *, asks: bool) -> Operation:
    return Operation(
        id=operation_id,
        method="GET",
        path=path,
        tag="Health",
        summary=summary,
        handle=ready if asks else live,
        answers=(Answer(200, "Yes", "Readiness" if asks else "Liveness"),),
        scope=None,
    )


OPERATIONS = (
    _probe("/livez", "readLiveness", "Is the process alive?", asks=False),
    _probe("/readyz", "readReadiness", "Can this api serve?", asks=True),
    _probe("/health", "readHealth", "The same as /readyz", asks=True),
    _probe("/api/v1/health", "readHealthV1", "The same as /readyz", asks=True),
    Operation(
        id="readMetrics",
        method="GET",
        path="/metrics",
        tag="Health",
        summary="What this api counts and measures, for Prometheus",
        handle=metrics,
        answers=(Answer(200, "Prometheus' text format", None, media_types=("text/plain",)),),
        scope="read",
    ),
)
