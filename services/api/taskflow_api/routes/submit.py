"""`POST /tasks` and `POST /tasks/batch`: refused before it costs a write, or durable when answered.

The single submit is the hottest call of all: one pass over the bytes, one decode, one wait for the engine's
commit.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import msgspec

from taskflow.domain.errors import BadHeader, Draining, NotFound, OutcomeUnknown, Unavailable
from taskflow.domain.task import Submitted, Task
from taskflow.domain.transitions import TERMINAL
from taskflow.engine.waiting import Follower
from taskflow.kit.clock import now
from taskflow.kit.logging import get_logger, logs_debug
from taskflow.kit.trace_context import trace_id
from taskflow_api import faults, nested
from taskflow_api.fingerprint import request_hash
from taskflow_api.operation import Answer, Body, Call, Operation
from taskflow_api.problems import PROBLEMS_MAX
from taskflow_api.queries import Parameter, seconds
from taskflow_api.replies import answer
from taskflow_api.spans import traced
from taskflow_api.strict_json import check_text, malformed
from taskflow_api.submission import KEY_PATTERN, Batch, Fault, Submission, is_plain, judge, new_task
from taskflow_api.waiting import task_when_done

if TYPE_CHECKING:
    from litestar.types import ASGIApp

    from taskflow.domain.task import NewTask

log = get_logger(__name__)

WAIT = seconds("wait", 60, "How many seconds to wait for the task to end")
BATCH_BYTES_MAX = 32 * 1024 * 1024
BREATH_ITEMS = 100

_KEY = re.compile(KEY_PATTERN)
_QUOTED_KEY = re.compile(r'"((?:[!#-\[\]-~]|\\["\\]){1,255})"')
_decoder = msgspec.json.Decoder(Submission)
_batch_decoder = msgspec.json.Decoder(Batch)
REPLAYED = ("idempotent-replayed", "true")


async def submit(call: Call) -> ASGIApp:
    """Take one task."""
    refuse_while_draining(call)
    key = idempotency_key(call)
    body = await call.body()
    said = _read_one(body)
    task = new_task(said)
    task.owner_id = call.caller.user_id
    faults.raise_for(_attach(call, task, said))
    if key is not None:
        task.idempotency_key = key
        task.request_hash = request_hash(f"POST {call.operation.path}", body)
    with traced(call, [task]):
        async with _ear(call, task.id) as ear:
            accepted = await call.services.submitter.submit(task, limited=not call.caller.is_admin)
            made = await _read_back(call, accepted, ear)
    if logs_debug():
        _say(call, task, made.id, replayed=accepted.replayed)
    headers = [("location", f"{call.operation.path}/{made.id}")]
    if accepted.replayed:
        return answer(made, 200, [*headers, REPLAYED])
    is_done = call.query["wait"] > 0 and made.status in TERMINAL
    return answer(made, 200 if is_done else 202, headers)


async def submit_batch(call: Call) -> ASGIApp:
    """Take many tasks, all or none."""
    refuse_while_draining(call)
    key = idempotency_key(call)
    route = f"POST {call.operation.path}"
    body = await call.body()
    tasks = []
    items = _read_batch(body)
    await call.services.admission.count(call.scope, call.caller, len(items) - 1)
    texts = _item_texts(body) if any(item.idempotency_key is not None for item in items) else []
    refused: list[Fault] = []
    for at, item in enumerate(items):
        if at % BREATH_ITEMS == 0:
            await asyncio.sleep(0)  # URLs take their time: others are to be answered meanwhile
        task = new_task(item)
        task.owner_id = call.caller.user_id
        refused += _attach(call, task, item, f"/items/{at}")
        if item.idempotency_key is not None:
            task.idempotency_key = item.idempotency_key
            task.request_hash = request_hash(f"{route} item", texts[at])
        tasks.append(task)
    faults.raise_for(refused[:PROBLEMS_MAX])
    whole_hash = request_hash(route, body) if key is not None else b""
    with traced(call, tasks):
        accepted = await call.services.submitter.submit_batch(
            tasks, key, whole_hash, limited=not call.caller.is_admin
        )
    if logs_debug():
        for one, task in zip(accepted, tasks, strict=True):
            _say(call, task, one.id, replayed=one.replayed)
    if all(one.replayed for one in accepted):
        return answer({"items": accepted}, 200, [REPLAYED])
    return answer({"items": accepted}, 202)


def _attach(call: Call, task: NewTask, said: Submission, at: str = "") -> list[Fault]:
    """Put callback and target into a task, whose owner is known; or tell why they are refused."""
    if said.callback is None and said.target is None:
        return []
    refusals = call.services.endpoints.attach(task, said.callback, said.target, at)
    return [Fault(kind, nested.as_said(problem, said.callback, at)) for kind, problem in refusals]


def refuse_while_draining(call: Call) -> None:
    """New work goes to another api once this one is told to stop."""
    if call.drain.draining:
        raise Draining("this api is shutting down; try again", retry_after_seconds=1)


def idempotency_key(call: Call) -> str | None:
    """The key in the header, bare or as a quoted string (RFC 8941, 3.3.3)."""
    text = call.header(b"idempotency-key")
    if text is None:
        return None
    quoted = _QUOTED_KEY.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if _KEY.search(key) is None:
        raise BadHeader("Idempotency-Key: expected 1 to 255 visible ASCII characters")
    return key


def _read_one(body: bytes) -> Submission:
    check_text(body)
    moment = now()
    try:
        said = _decoder.decode(body)
    except msgspec.ValidationError:
        return faults.one(body, moment)
    except msgspec.DecodeError as error:
        raise malformed(error) from None
    if not is_plain(said):
        faults.raise_for(list(judge(said, moment)))
    return said


def _read_batch(body: bytes) -> list[Any]:
    check_text(body)
    moment = now()
    try:
        items = _batch_decoder.decode(body).items
    except msgspec.ValidationError:
        return faults.batch(body, moment)
    except msgspec.DecodeError as error:
        raise malformed(error) from None
    if any(True for item in items if not is_plain(item) for _ in judge(item, moment)):
        return faults.batch(body, moment)
    return items


def _item_texts(body: bytes) -> list[bytes]:
    return [bytes(raw) for raw in msgspec.json.decode(body, type=dict[str, list[msgspec.Raw]])["items"]]


def _ear(call: Call, task_id: str) -> AbstractAsyncContextManager[Follower | None]:
    """For who waits: open before there is anything to hear, so that the task need not be read to begin with."""
    return call.services.waiters.follow(task_id, end_only=True) if call.query["wait"] > 0 else nullcontext()


def _say(call: Call, task: NewTask, task_id: str, *, replayed: bool) -> None:
    """Which request made which task."""
    log.debug(
        "task.submitted",
        request_id=call.scope["state"]["request_id"],
        trace_id=trace_id(task.trace),
        task_id=task_id,
        type=task.type,
        queue=task.queue,
        replayed=replayed,
    )


async def _read_back(call: Call, accepted: Submitted, ear: Follower | None) -> Task:
    """The task as it was written, or as it now is for who waits or repeats.

    It is durable already: when the reader fails, only the answer is missing.
    """
    if accepted.task is not None and not call.query["wait"]:
        return accepted.task
    try:
        early = ear if accepted.task is not None else None  # else it is another task that is waited for
        return await task_when_done(call, accepted.id, call.query["wait"], early)
    except (Unavailable, NotFound) as error:
        detail = f"task {accepted.id} was accepted, but could not be read back: {error.detail}"
        raise OutcomeUnknown(detail, retry_after_seconds=1) from error


KEY = Parameter(
    "Idempotency-Key",
    "The same request with the same key, within 24 hours, is carried out once",
    {"type": "string", "pattern": r"^[!-~]{1,255}$", "minLength": 1, "maxLength": 255},
    str,
)
_EXAMPLE = {"type": "demo", "payload": {"hello": "world"}, "priority": "normal"}
OPERATIONS = (
    Operation(
        id="submitTask",
        method="POST",
        path="/api/v1/tasks",
        tag="Tasks",
        summary="Submit a task",
        description="202 means that the task is durable. With `wait`, answers 200 once the task has ended.",
        handle=submit,
        query=(WAIT,),
        headers=(KEY,),
        body=Body("Submission", _EXAMPLE),
        answers=(
            Answer(202, "The task is durable", "Task", ("Location",)),
            Answer(200, "The task has ended, or the key was used for it before", "Task", ("Location",)),
        ),
        problems=(413, 415),
        scope="submit",
    ),
    Operation(
        id="submitBatch",
        method="POST",
        path="/api/v1/tasks/batch",
        tag="Tasks",
        summary="Submit up to 10,000 tasks, all or none",
        handle=submit_batch,
        headers=(KEY,),
        body=Body("Batch", {"items": [_EXAMPLE]}, bytes_max=BATCH_BYTES_MAX),
        answers=(
            Answer(202, "The tasks are durable, in the order given", "BatchAccepted"),
            Answer(200, "The key was used for this batch before", "BatchAccepted"),
        ),
        problems=(413, 415),
        scope="submit",
    ),
)
