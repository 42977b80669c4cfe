"""A task's history, as a list or as a stream of server-sent events that follows it live.

The stream reads the history and nothing else: a notice only wakes it. So it misses and repeats nothing,
whichever api serves it and whatever NATS lost.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from taskflow.domain.errors import BadHeader, NotFound, TaskflowError
from taskflow.domain.task import TaskEvent
from taskflow.domain.transitions import TERMINAL
from taskflow.kit.logging import get_logger
from taskflow_api.cursors import LIMIT_MAX, PAGING, bind, decode_number, encode_cursor, page
from taskflow_api.operation import Answer, Call, Operation
from taskflow_api.problems import problem
from taskflow_api.queries import Parameter, whole
from taskflow_api.replies import JSON, Reply, encode
from taskflow_api.waiting import Race, left

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

log = get_logger(__name__)

EVENT_STREAM = "text/event-stream"
COMMENT_SECONDS = 15.0
_SEQ_MAX = 2**53
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
LAST_EVENT_ID = whole(
    "last_event_id", 0, _SEQ_MAX, 0, "Only what came after; the header Last-Event-ID goes before"
)


async def events(call: Call) -> ASGIApp:
    """The history as a list, or as a stream if the caller accepts one."""
    accept = call.header(b"accept") or ""
    if EVENT_STREAM in accept.lower():
        return await _stream(call)
    bound = bind(call.operation.id, call.path["task_id"])
    after = max(decode_number(bound, call.query["cursor"]), _resume_point(call))
    limit = call.query["limit"]
    rows = await call.services.reader.events(call.path["task_id"], after, call.caller.sees)
    if rows is None:
        raise _not_found(call)
    following = encode_cursor(bound, str(rows[limit - 1].seq)) if len(rows) > limit else None
    return page(call.scope["path"], call.scope["query_string"], rows[:limit], following)


async def _stream(call: Call) -> ASGIApp:
    task_id = call.path["task_id"]
    after = _resume_point(call)
    task = await call.services.reader.task(task_id, call.caller.sees)
    if task is None:
        raise _not_found(call)
    # The task was read first: if it had ended, the history read now holds its end.
    if (
        after
        and task.status in TERMINAL
        and not await call.services.reader.events(task_id, after, call.caller.sees)
    ):
        return Reply(204, b"", media_type="")
    return EventStream(call, task_id, after, task.status in TERMINAL)


def _resume_point(call: Call) -> int:
    text = call.header(b"last-event-id")
    if text is None:
        return int(call.query["last_event_id"])
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise BadHeader("Last-Event-ID: expected the id of an event of this task")
    return int(text)


def _not_found(call: Call) -> NotFound:
    return NotFound(f"there is no task {call.path['task_id']}")


class EventStream:
    """The stream of one reader. Ends after the task's end, with the drain, or when the reader has left."""

    def __init__(self, call: Call, task_id: str, after: int, has_ended: bool) -> None:
        self._call = call
        self._id = task_id
        self._after = after
        self._has_ended = has_ended
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._follow(receive, send)
        except TaskflowError as error:
            if not self._started:
                await problem(error, str(scope["state"]["request_id"]))(scope, receive, send)
                return
            # The reader connects again, and goes on where it was.
            log.warning("stream.broken_off", task_id=self._id, error=error.detail)
            await _write(send, b"", more=False)

    async def _follow(self, receive: Receive, send: Send) -> None:
        async with (
            self._call.services.waiters.follow(self._id) as changes,
            Race(bye=self._call.drain.begun(), gone=left(receive)) as race,
        ):
            news = await self._read()
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            self._started = True
            await _write(send, b"retry: 1000\n\n")
            race.start("changed", changes.changed(COMMENT_SECONDS))
            written_at = asyncio.get_running_loop().time()
            while True:
                if news or asyncio.get_running_loop().time() - written_at >= COMMENT_SECONDS:
                    await _write(send, b"".join(map(frame, news)) or b": still here\n\n")
                    written_at = asyncio.get_running_loop().time()
                if self._has_ended:
                    await _write(send, b"event: end\ndata: {}\n\n", more=False)
                    return
                over = await race.first(None)
                if "gone" in over:
                    return
                if "bye" in over:
                    await _write(send, b"event: bye\ndata: {}\n\n", more=False)
                    return
                race.start("changed", changes.changed(COMMENT_SECONDS))
                # Who may no longer call is told no more.
                self._call.caller = await self._call.services.admission.caller(self._call.scope)
                news = await self._read()

    async def _read(self) -> list[TaskEvent]:
        """What happened since; remembers how far that goes, and whether the task has ended by it."""
        news: list[TaskEvent] = []
        while more := await self._call.services.reader.events(self._id, self._after, self._call.caller.sees):
            news += more
            self._after = more[-1].seq
            if len(more) < LIMIT_MAX:
                break
        states = [event.status for event in news if event.event == "task"]
        if states:
            self._has_ended = states[-1] in TERMINAL
        return news


def frame(event: TaskEvent) -> bytes:
    """One event on the wire. JSON of ours has no line feed in it."""
    return b"event: %s\nid: %d\ndata: %s\n\n" % (event.event.encode(), event.seq, encode(event))


async def _write(send: Send, body: bytes, *, more: bool = True) -> None:
    message: Any = {"type": "http.response.body", "body": body, "more_body": more}
    await send(message)


_LAST_EVENT_ID = Parameter(
    "Last-Event-ID",
    "Only what came after: the id of the last event seen",
    {"type": "string", "pattern": "^[0-9]{1,16}$"},
    str,
)
OPERATIONS = (
    Operation(
        id="readEvents",
        method="GET",
        path="/api/v1/tasks/{task_id}/events",
        tag="Tasks",
        summary="A task's history, oldest first; as text/event-stream it follows live",
        description=(
            "Frames: `event: task|log|progress`, `id:` the event's seq, `data:` the event as JSON; "
            "then `event: end` once the task has ended, or `event: bye` when this api shuts down. A reader "
            "that comes back after the end gets 204."
        ),
        handle=events,
        query=(LAST_EVENT_ID, *PAGING),
        headers=(_LAST_EVENT_ID,),
        answers=(
            Answer(200, "The history", "TaskEventList", media_types=(JSON, EVENT_STREAM)),
            Answer(204, "Nothing will follow: the task has ended", None),
        ),
        problems=(404,),
        scope="read",
    ),
)
