"""Tasks as callers read and command them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from taskflow.domain.errors import NotFound
from taskflow.domain.filters import TaskFilters
from taskflow.domain.task import LANE_NAMES, Lane, Task
from taskflow.domain.transitions import Status
from taskflow.kit.clock import rfc3339
from taskflow.kit.ids import id_time
from taskflow_api.bodies import refuse_body
from taskflow_api.cursors import (
    PAGING,
    bind,
    decode_cursor,
    decode_id,
    decode_number,
    encode_cursor,
    page,
    slice_after,
)
from taskflow_api.operation import Answer, Call, Operation
from taskflow_api.queries import Values, id_of, matching, one_of, parts_of, text_of, time_of
from taskflow_api.replies import answer
from taskflow_api.routes.submit import WAIT, refuse_while_draining
from taskflow_api.submission import QUEUE_PATTERN, TYPE_PATTERN
from taskflow_api.waiting import task_when_done

if TYPE_CHECKING:
    from litestar.types import ASGIApp

TYPES = matching("type", TYPE_PATTERN, "1 to 128 of A-Z a-z 0-9 _ . : -", "Only of this type; repeated: or")
QUEUES = matching("queue", QUEUE_PATTERN, "1 to 64 of a-z 0-9 _ -", "Only of this queue; repeated: or")
CREATED = (
    time_of("created_after", "Only what was made after this moment"),
    time_of("created_before", "Only what was made before this moment"),
)
INCLUDE = parts_of(
    "include", ("payload", "result"), "What else the items bear; `result` also brings tracebacks"
)
FILTERS = (
    one_of("status", Status, "Only in this status; repeated: or"),
    TYPES,
    QUEUES,
    one_of("priority", LANE_NAMES, "Only of this priority; repeated: or"),
    text_of("tag", 100, "Only with this tag; repeated: and", many=True),
    id_of("worker_id", "Only what this worker runs or was the last to run; repeated: or", many=True),
    text_of("name", 200, "Only if the task's name holds this text, case ignored"),
    text_of("error", 200, "Only if its error's type or message holds this text, case ignored"),
    *CREATED,
)


def filters_of(values: Values, owner: str | None) -> TaskFilters:
    """What the values of FILTERS ask for, of this owner's tasks; None: of anybody's."""
    return TaskFilters(
        statuses=tuple(Status(status) for status in values["status"]),
        types=values["type"],
        queues=values["queue"],
        lanes=tuple(int(Lane.named(name)) for name in values["priority"]),
        tags=values["tag"],
        created_after=values["created_after"],
        created_before=values["created_before"],
        owner=owner,
        workers=values["worker_id"],
        name=values["name"],
        error=values["error"],
    )


async def list_tasks(call: Call) -> ASGIApp:
    """Newest first."""
    query = call.query
    filters = filters_of(query, call.caller.sees)
    bound = bind(call.operation.id, filters)
    limit = query["limit"]
    include = query["include"]
    tasks, until = await call.services.reader.tasks(
        filters,
        limit + 1,
        decode_id(bound, query["cursor"]),
        include_payload="payload" in include,
        include_result="result" in include,
    )
    items = [list_item(task, include) for task in tasks[:limit]]
    # Where a search was broken off the next page goes on, whether it has found anything or not.
    last = tasks[limit - 1].id if len(tasks) > limit else until
    following = encode_cursor(bound, last) if last is not None else None
    told = {"searched_until": None if until is None else rfc3339(id_time(until))}
    return page(call.operation.path, call.scope["query_string"], items, following, told)


def list_item(task: Task, include: tuple[str, ...]) -> dict[str, Any]:
    """A task in a list: without payload, result and traceback, unless they are asked for."""
    item = msgspec.structs.asdict(task)
    if "payload" not in include:
        del item["payload"]
    if "result" not in include:
        del item["result"]
        item["error"] = without_traceback(task.error)
    return item


def without_traceback(error: Any) -> Any:
    """An error as lists show it."""
    value = msgspec.json.decode(error) if isinstance(error, msgspec.Raw) else msgspec.to_builtins(error)
    return {"type": value["type"], "message": value["message"]} if value else None


async def read_task(call: Call) -> ASGIApp:
    """One task, at once or when it has ended."""
    return answer(await task_when_done(call, call.path["task_id"], call.query["wait"]))


async def list_executions(call: Call) -> ASGIApp:
    """Oldest first."""
    rows = _found(call, await call.services.reader.executions(call.path["task_id"], call.caller.sees))
    return _history(call, rows, "number")


async def list_logs(call: Call) -> ASGIApp:
    """Oldest first."""
    bound = bind(call.operation.id, call.path["task_id"])
    after = decode_number(bound, call.query["cursor"])
    limit = call.query["limit"]
    rows = _found(
        call, await call.services.reader.logs(call.path["task_id"], after, limit + 1, call.caller.sees)
    )
    following = encode_cursor(bound, str(rows[limit - 1].seq)) if len(rows) > limit else None
    return page(call.scope["path"], call.scope["query_string"], rows[:limit], following)


def _history(call: Call, rows: list[Any], key: str) -> ASGIApp:
    bound = bind(call.operation.id, call.path["task_id"])
    after = decode_cursor(bound, call.query["cursor"])
    shown, last = slice_after(rows, after, call.query["limit"], lambda row: str(getattr(row, key)))
    following = encode_cursor(bound, last) if last is not None else None
    return page(call.scope["path"], call.scope["query_string"], shown, following)


async def explain(call: Call) -> ASGIApp:
    """Why it does not run now."""
    return answer(_found(call, await call.services.explainer.explain(call.path["task_id"], call.caller.sees)))


async def stats(call: Call) -> ASGIApp:
    """The figures of the system."""
    return answer(await call.services.reader.stats(call.caller.sees))


async def cancel(call: Call) -> ASGIApp:
    """End a task that has not ended."""
    await refuse_body(call)
    return answer(await call.services.commands.cancel(call.path["task_id"], call.by()))


async def retry(call: Call) -> ASGIApp:
    """Give a task a new life, or make it due now."""
    refuse_while_draining(call)
    await refuse_body(call)
    task, is_new_life = await call.services.commands.retry(call.path["task_id"], call.by())
    return answer(task, 202 if is_new_life else 200)


def _found(call: Call, value: Any) -> Any:
    if value is None:
        raise NotFound(f"there is no task {call.path['task_id']}")
    return value


_TASK = "/api/v1/tasks/{task_id}"
OPERATIONS = (
    Operation(
        id="listTasks",
        method="GET",
        path="/api/v1/tasks",
        tag="Tasks",
        summary="List tasks, newest first",
        handle=list_tasks,
        query=(*FILTERS, INCLUDE, *PAGING),
        answers=(Answer(200, "A page of tasks", "TaskList"),),
        scope="read",
    ),
    Operation(
        id="readStats",
        method="GET",
        path="/api/v1/tasks/stats",
        tag="Tasks",
        summary="The figures of the system, at most 5 seconds old",
        handle=stats,
        answers=(Answer(200, "The figures", "Stats"),),
        scope="read",
    ),
    Operation(
        id="readTask",
        method="GET",
        path=_TASK,
        tag="Tasks",
        summary="Read a task, at once or when it has ended",
        handle=read_task,
        query=(WAIT,),
        answers=(Answer(200, "The task as it now is", "Task"),),
        problems=(404,),
        scope="read",
    ),
    Operation(
        id="listExecutions",
        method="GET",
        path=f"{_TASK}/executions",
        tag="Tasks",
        summary="The tries of a task, oldest first",
        handle=list_executions,
        query=PAGING,
        answers=(Answer(200, "A page of executions", "ExecutionList"),),
        problems=(404,),
        scope="read",
    ),
    Operation(
        id="listLogs",
        method="GET",
        path=f"{_TASK}/logs",
        tag="Tasks",
        summary="What a task's handlers wrote, oldest first",
        handle=list_logs,
        query=PAGING,
        answers=(Answer(200, "A page of log lines", "LogLineList"),),
        problems=(404,),
        scope="read",
    ),
    Operation(
        id="explainTask",
        method="GET",
        path=f"{_TASK}/explain",
        tag="Tasks",
        summary="Why a task does not run now",
        handle=explain,
        answers=(Answer(200, "The reasons, in the order in which they must go", "Explanation"),),
        problems=(404,),
        scope="read",
    ),
    Operation(
        id="cancelTask",
        method="POST",
        path=f"{_TASK}/cancel",
        tag="Tasks",
        summary="Cancel a task",
        description="A running task is cancelled at once; its execution stays open until its handler ends.",
        handle=cancel,
        answers=(Answer(200, "The task, cancelled", "Task"),),
        problems=(404, 409, 413, 415),
        scope="operate",
    ),
    Operation(
        id="retryTask",
        method="POST",
        path=f"{_TASK}/retry",
        tag="Tasks",
        summary="Retry a task",
        description="What failed, was cancelled or expired begins its next life; one that waits: due now.",
        handle=retry,
        answers=(Answer(202, "The task, in its next life", "Task"), Answer(200, "The task, due now", "Task")),
        problems=(404, 409, 413, 415),
        scope="operate",
    ),
)
