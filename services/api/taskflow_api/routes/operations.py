"""Operations: what is done to many dead letters or tasks; their progress, and the handles to pause and stop them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from taskflow.domain.dead_letter import DeadLetter, DeadLetterDetail
from taskflow.domain.errors import NotFound
from taskflow.domain.filters import AuditFilters, LetterFilters, OperationFilters
from taskflow.domain.operation import OPERATION_STATUSES, Action, OperationStatus
from taskflow.domain.task import Task
from taskflow.domain.transitions import LIVE, REPLAYABLE, Status
from taskflow_api.bodies import reason_of
from taskflow_api.bulk import body_schema, read_bulk
from taskflow_api.cursors import PAGING, bind, decode_id, encode_cursor, page
from taskflow_api.operation import Answer, Body, Call, Operation
from taskflow_api.queries import Parameter, Values, one_of, text_of
from taskflow_api.replies import answer
from taskflow_api.routes.dead_letters import FILTERS as LETTER_FILTERS
from taskflow_api.routes.dead_letters import letter_filters, list_item
from taskflow_api.routes.fleet import REASON
from taskflow_api.routes.submit import refuse_while_draining
from taskflow_api.routes.tasks import CREATED, filters_of
from taskflow_api.routes.tasks import FILTERS as TASK_FILTERS
from taskflow_api.routes.tasks import list_item as task_item

if TYPE_CHECKING:
    from litestar.types import ASGIApp

_AUDIT_FILTERS = (
    text_of("actor", 200, "Only by this one; repeated: or", many=True),
    text_of("action", 100, "Only this, as `operation.accepted`; repeated: or", many=True),
    text_of("target", 200, "Only to this thing; repeated: or", many=True),
    *CREATED,
)
PENDING_LETTERS = tuple(one for one in LETTER_FILTERS if one.name != "status")
"""What letters in bulk are narrowed by: only pending ones are."""


BULK_BODIES = {
    "BulkReplay": body_schema(PENDING_LETTERS, canary=True),
    "BulkDiscard": body_schema(PENDING_LETTERS, canary=False),
}


def _letters(values: Values, owner: str | None) -> OperationFilters:
    return letter_filters(values | {"status": ("pending",)}, owner)


def _task_filters(statuses: Iterable[Status]) -> tuple[Parameter, ...]:
    """What tasks in bulk are narrowed by: only statuses in which they can be acted on."""
    narrower = one_of("status", sorted(statuses), "Only in this status; repeated: or")
    return (narrower, *(one for one in TASK_FILTERS if one.name != "status"))


def _tasks_in(statuses: Iterable[Status]) -> Callable[[Values, str | None], OperationFilters]:
    """Tasks that can be acted on at all, narrowed by a filter."""

    def read(values: Values, owner: str | None) -> OperationFilters:
        return filters_of(values | {"status": values["status"] or sorted(statuses)}, owner)

    return read


RETRIED = frozenset({Status.SCHEDULED, Status.RETRYING}) | REPLAYABLE
CANCELLED_FILTERS, RETRIED_FILTERS = _task_filters(LIVE), _task_filters(RETRIED)
BULK_BODIES |= {
    "BulkCancel": body_schema(CANCELLED_FILTERS, canary=False),
    "BulkRetry": body_schema(RETRIED_FILTERS, canary=True),
}


def _bulk(
    action: Action,
    known: tuple[Parameter, ...],
    read: Callable[[Values, str | None], OperationFilters],
    *,
    canary: bool,
) -> Callable[[Call], Awaitable[ASGIApp]]:
    async def handle(call: Call) -> ASGIApp:
        refuse_while_draining(call)
        asked = await read_bulk(call, action, known, canary=canary)
        filters = read(asked.filters, call.caller.sees)
        if asked.dry_run:
            seen = await call.services.operations.preview(filters, asked.plan.limit)
            show = _letter_item if isinstance(filters, LetterFilters) else _task_item
            sample = [show(one) for one in seen.sample]
            return answer({"matched": seen.matched, "by_type": seen.by_type, "sample": sample})
        made = await call.services.operations.accept(asked.plan, filters)
        return answer(made, 202, headers=[("location", f"/api/v1/operations/{made.id}")])

    return handle


def _letter_item(letter: DeadLetterDetail) -> DeadLetter:
    return list_item(DeadLetter(**{name: getattr(letter, name) for name in DeadLetter.__struct_fields__}))


def _task_item(task: Task) -> dict[str, Any]:
    return task_item(task, ())


async def list_operations(call: Call) -> ASGIApp:
    """Newest first."""
    statuses = call.query["status"]
    bound = bind(call.operation.id, statuses)
    limit = call.query["limit"]
    rows = await call.services.operations.operations(
        statuses, limit + 1, decode_id(bound, call.query["cursor"]), call.caller.sees
    )
    following = encode_cursor(bound, rows[limit - 1].id) if len(rows) > limit else None
    return page(call.operation.path, call.scope["query_string"], rows[:limit], following)


async def read_operation(call: Call) -> ASGIApp:
    """One operation, with what happened to it."""
    found = await call.services.operations.operation(call.path["operation_id"], call.caller.sees)
    if found is None:
        raise NotFound(f"there is no operation {call.path['operation_id']}")
    return answer(found)


def _turn(status: OperationStatus) -> Callable[[Call], Awaitable[ASGIApp]]:
    async def handle(call: Call) -> ASGIApp:
        reason = await reason_of(call)
        return answer(await call.services.operations.turn(call.path["operation_id"], status, call.by(reason)))

    return handle


async def list_audit(call: Call) -> ASGIApp:
    """Newest first."""
    query = call.query
    filters = AuditFilters(
        actors=query["actor"],
        actions=query["action"],
        targets=query["target"],
        created_after=query["created_after"],
        created_before=query["created_before"],
    )
    bound = bind(call.operation.id, filters)
    limit = query["limit"]
    rows = await call.services.operations.audit(filters, limit + 1, decode_id(bound, query["cursor"]))
    following = encode_cursor(bound, rows[limit - 1].id) if len(rows) > limit else None
    return page(call.operation.path, call.scope["query_string"], rows[:limit], following)


def _bulk_operation(
    path: str,
    operation_id: str,
    summary: str,
    schema: str,
    preview: str,
    handle: Callable[[Call], Awaitable[ASGIApp]],
) -> Operation:
    example = {"filter": {"type": ["send_email"]}, "rate_per_second": 50, "dry_run": True}
    return Operation(
        id=operation_id,
        method="POST",
        path=path,
        tag="Operations on many",
        summary=summary,
        description="The set is what matches when this is accepted; the dlq-consumer works it off at the rate.",
        handle=handle,
        body=Body(schema, example),
        answers=(
            Answer(202, "Accepted", "Operation", headers=("Location",)),
            Answer(200, "A dry run: what would match", preview),
        ),
        problems=(413, 415),
        scope="operate",
    )


def _turning(word: str, status: OperationStatus, summary: str) -> Operation:
    return Operation(
        id=f"{word}Operation",
        method="POST",
        path=f"/api/v1/operations/{{operation_id}}/{word}",
        tag="Operations on many",
        summary=summary,
        handle=_turn(status),
        body=REASON,
        answers=(Answer(200, "The operation", "Operation"),),
        problems=(404, 409, 413, 415),
        scope="operate",
    )


OPERATIONS = (
    _bulk_operation(
        "/api/v1/dead-letters/replay",
        "replayDeadLetters",
        "Replay pending dead letters",
        "BulkReplay",
        "LetterPreview",
        _bulk("replay", PENDING_LETTERS, _letters, canary=True),
    ),
    _bulk_operation(
        "/api/v1/dead-letters/discard",
        "discardDeadLetters",
        "Discard pending dead letters",
        "BulkDiscard",
        "LetterPreview",
        _bulk("discard", PENDING_LETTERS, _letters, canary=False),
    ),
    _bulk_operation(
        "/api/v1/tasks/cancel",
        "cancelTasks",
        "Cancel tasks that have not ended",
        "BulkCancel",
        "TaskPreview",
        _bulk("cancel", CANCELLED_FILTERS, _tasks_in(LIVE), canary=False),
    ),
    _bulk_operation(
        "/api/v1/tasks/retry",
        "retryTasks",
        "Retry tasks: a new life for what ended badly, due now what waits",
        "BulkRetry",
        "TaskPreview",
        _bulk("retry", RETRIED_FILTERS, _tasks_in(RETRIED), canary=True),
    ),
    Operation(
        id="listOperations",
        method="GET",
        path="/api/v1/operations",
        tag="Operations on many",
        summary="List operations, newest first",
        handle=list_operations,
        query=(one_of("status", OPERATION_STATUSES, "Only in this status; repeated: or"), *PAGING),
        answers=(Answer(200, "A page of operations", "OperationList"),),
        scope="read",
    ),
    Operation(
        id="readOperation",
        method="GET",
        path="/api/v1/operations/{operation_id}",
        tag="Operations on many",
        summary="Read an operation: its progress, and what happened to it",
        handle=read_operation,
        answers=(Answer(200, "The operation", "OperationDetail"),),
        problems=(404,),
        scope="read",
    ),
    _turning("pause", "paused", "Let an operation rest"),
    _turning("resume", "running", "Let a paused operation go on"),
    _turning("stop", "stopped", "End an operation; what it has done stays done"),
    Operation(
        id="listAudit",
        method="GET",
        path="/api/v1/audit",
        tag="Operations",
        summary="Who did what to which thing, newest first",
        handle=list_audit,
        query=(*_AUDIT_FILTERS, *PAGING),
        answers=(Answer(200, "A page of the audit log", "AuditEventList"),),
        scope="admin",
    ),
)
