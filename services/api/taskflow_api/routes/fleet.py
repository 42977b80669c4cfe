"""Queues, workers and types: who serves what, and the handles to pause and drain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from taskflow.domain.account import Scope
from taskflow_api.bodies import reason_of, refuse_body
from taskflow_api.cursors import PAGING, bind, decode_cursor, encode_cursor, page, slice_after
from taskflow_api.operation import Answer, Body, Call, Operation
from taskflow_api.replies import answer

if TYPE_CHECKING:
    from litestar.types import ASGIApp


REASON = Body("WithReason", {"reason": "bad deploy of 14:02"}, required=False)


def _lists(
    read: Callable[[Call], Awaitable[Sequence[Any]]], key: str
) -> Callable[[Call], Awaitable[ASGIApp]]:
    """A list that is read as a whole, in the order of `key`."""

    async def handle(call: Call) -> ASGIApp:
        bound = bind(call.operation.id)
        after = decode_cursor(bound, call.query["cursor"])
        rows = await read(call)
        shown, last = slice_after(rows, after, call.query["limit"], lambda row: str(getattr(row, key)))
        following = encode_cursor(bound, last) if last is not None else None
        return page(call.operation.path, call.scope["query_string"], shown, following)

    return handle


def _switch(command: str, parameter: str, *, paused: bool) -> Callable[[Call], Awaitable[ASGIApp]]:
    """Pause or resume what the path names."""

    async def handle(call: Call) -> ASGIApp:
        reason = await reason_of(call)
        await getattr(call.services.commands, command)(call.path[parameter], call.by(reason))
        return answer({"name": call.path[parameter], "paused": paused})

    return handle


async def _drain(call: Call) -> ASGIApp:
    await refuse_body(call)
    await call.services.commands.drain_worker(call.path["worker_id"], call.by())
    return answer({"id": call.path["worker_id"], "status": "draining"}, 202)


def _list(
    path: str, operation_id: str, schema: str, summary: str, handle: Any, scope: Scope = "read"
) -> Operation:
    return Operation(
        id=operation_id,
        method="GET",
        path=path,
        tag="Operations",
        summary=summary,
        handle=handle,
        query=PAGING,
        answers=(Answer(200, "A page of the list", schema),),
        scope=scope,
    )


def _command(
    path: str, operation_id: str, summary: str, handle: Any, done: Answer, body: Body | None = REASON
) -> Operation:
    return Operation(
        id=operation_id,
        method="POST",
        path=path,
        tag="Operations",
        summary=summary,
        handle=handle,
        body=body,
        answers=(done,),
        problems=(404, 413, 415),
        scope="admin",
    )


_SWITCHED = Answer(200, "Done; every worker knows within a second", "Switched")
OPERATIONS = (
    _list(
        "/api/v1/queues",
        "listQueues",
        "QueueInfoList",
        "Queues: what waits in them and who serves them",
        _lists(lambda call: call.services.reader.queues(call.caller.sees), "name"),
    ),
    _command(
        "/api/v1/queues/{queue}/pause",
        "pauseQueue",
        "Stop the claims of a queue; what runs goes on",
        _switch("pause_queue", "queue", paused=True),
        _SWITCHED,
    ),
    _command(
        "/api/v1/queues/{queue}/resume",
        "resumeQueue",
        "Let a queue go on",
        _switch("resume_queue", "queue", paused=False),
        _SWITCHED,
    ),
    _list(
        "/api/v1/workers",
        "listWorkers",
        "WorkerInfoList",
        "Worker processes",
        _lists(lambda call: call.services.reader.workers(), "id"),
        "admin",
    ),
    _command(
        "/api/v1/workers/{worker_id}/drain",
        "drainWorker",
        "Let a worker finish what it has and take nothing more",
        _drain,
        Answer(202, "Told; the worker knows within a second", "Draining"),
        None,
    ),
    _list(
        "/api/v1/types",
        "listTypes",
        "TypeInfoList",
        "Types that workers have declared",
        _lists(lambda call: call.services.reader.types(), "name"),
    ),
    _command(
        "/api/v1/types/{type}/pause",
        "pauseType",
        "Stop the claims of a type; what runs goes on",
        _switch("pause_type", "type", paused=True),
        _SWITCHED,
    ),
    _command(
        "/api/v1/types/{type}/resume",
        "resumeType",
        "Let a type go on",
        _switch("resume_type", "type", paused=False),
        _SWITCHED,
    ),
)
