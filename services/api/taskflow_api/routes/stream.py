"""A task's history, as a list or as a stream of server-sent events that follows it live (`task_stream`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskflow.domain.errors import Invalid, Problem
from taskflow.domain.task import TaskEvent
from taskflow.domain.transitions import TERMINAL
from taskflow_api.cursors import PAGING, bind, decode_number, encode_cursor, page
from taskflow_api.operation import Answer, Call, Operation
from taskflow_api.problems import refusal
from taskflow_api.queries import Parameter
from taskflow_api.replies import JSON, Reply, encode
from taskflow_api.sse import EVENT_STREAM, TICKET, EventStream, Output, frame
from taskflow_api.task_stream import LAST_EVENT_ID, TaskStream, not_found, resume_point

if TYPE_CHECKING:
    from litestar.types import ASGIApp

PART_BYTES = 64 * 1024
"""What is written at once. A reader is cut off when it has not taken that in 30 s."""


async def events(call: Call) -> ASGIApp:
    """The history as a list, or as a stream if the caller accepts one."""
    accept = call.header(b"accept") or ""
    if EVENT_STREAM in accept.lower():
        return await _stream(call)
    if call.query["ticket"] is not None:
        fault = Problem("it opens a stream alone: expected Accept: text/event-stream", parameter="ticket")
        raise refusal(Invalid, [fault])
    bound = bind(call.operation.id, call.path["task_id"])
    after = max(decode_number(bound, call.query["cursor"]), resume_point(call) or 0)
    limit = call.query["limit"]
    rows = await call.services.reader.events(call.path["task_id"], after, call.caller.sees)
    if rows is None:
        raise not_found(call)
    following = encode_cursor(bound, str(rows[limit - 1].seq)) if len(rows) > limit else None
    return page(call.scope["path"], call.scope["query_string"], rows[:limit], following)


async def _stream(call: Call) -> ASGIApp:
    task_id = call.path["task_id"]
    after = resume_point(call) or 0
    task = await call.services.reader.task(task_id, call.caller.sees)
    if task is None:
        raise not_found(call)
    # The task was read first: if it had ended, the history read now holds its end.
    if (
        after
        and task.status in TERMINAL
        and not await call.services.reader.events(task_id, after, call.caller.sees)
    ):
        return Reply(204, b"", media_type="")
    follows = TaskStream(call, task_id, after, has_ended=task.status in TERMINAL)
    return EventStream(call, lambda output, race: follows.follow(Frames(output), race))


class Frames:
    """A task's events as server-sent events."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.start = output.start
        self.keep_alive = output.keep_alive
        self.leave = output.leave

    async def tell(self, events: list[TaskEvent]) -> None:
        """One frame an event. What is much goes in parts, each of which waits for room: who takes little gets on."""
        part: list[bytes] = []
        size = 0
        for one in events:
            part.append(frame(one.event, one.seq, encode(one)))
            size += len(part[-1])
            if size >= PART_BYTES:
                await self._output.write(b"".join(part))
                part, size = [], 0
        if part:
            await self._output.write(b"".join(part))

    async def finish(self) -> None:
        """A reader that is told so need not come back."""
        await self._output.end(frame("end", None, b"{}"))


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
            "that comes back after the end gets 204. A `ticket` opens the stream in place of credentials."
        ),
        handle=events,
        query=(LAST_EVENT_ID, TICKET, *PAGING),
        headers=(_LAST_EVENT_ID,),
        answers=(
            Answer(200, "The history", "TaskEventList", media_types=(JSON, EVENT_STREAM)),
            Answer(204, "Nothing will follow: the task has ended", None),
        ),
        problems=(404,),
        scope="read",
        takes_ticket=True,
    ),
)
