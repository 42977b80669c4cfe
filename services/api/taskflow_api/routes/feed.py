"""The feed of all events of the system that the caller may see, as server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskflow.domain.errors import BadHeader
from taskflow.domain.feed import Wanted, parse_place
from taskflow.domain.transitions import Status
from taskflow_api.feed_frames import standing
from taskflow_api.operation import Answer, Call, Operation
from taskflow_api.queries import Parameter, ecma, matching, one_of
from taskflow_api.submission import QUEUE_PATTERN, TYPE_PATTERN
from taskflow_api.waiting import Race, left

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

    from taskflow.engine.feed_reader import Reader

COMMENT_SECONDS = 15.0
EVENT_STREAM = "text/event-stream"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
PLACE_PATTERN = r"\A[0-9]{1,20}-[0-9]{1,10}\Z"
_EXPECTED_ID = "the id of an event of this feed, such as 41873-204118003"


async def events(call: Call) -> ASGIApp:
    """A stream that goes on until its reader leaves, or the api is stopped."""
    query = call.query
    wanted = Wanted(
        owner=call.caller.sees,
        types=frozenset(query["type"]),
        queues=frozenset(query["queue"]),
        statuses=frozenset(query["status"]),
        events=frozenset(query["event"]),
    )
    return FeedStream(call, wanted, _resume_point(call))


def _resume_point(call: Call) -> str | None:
    text = call.header(b"last-event-id")
    if text is not None and parse_place(text) is None:
        raise BadHeader(f"Last-Event-ID: expected {_EXPECTED_ID}")
    return text or call.query["last_event_id"]


class FeedStream:
    """The stream of one reader."""

    def __init__(self, call: Call, wanted: Wanted, after: str | None) -> None:
        self._call = call
        self._wanted = wanted
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._call.services.feed.join(self._wanted, self._after) as reader:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            async with Race(
                told=self._tell(reader, send), bye=self._call.drain.begun(), gone=left(receive)
            ) as race:
                over = await race.first(None)
            if "gone" not in over:
                await _write(send, b"event: bye\ndata: {}\n\n", more=False)

    async def _tell(self, reader: Reader, send: Send) -> None:
        await _write(send, b"retry: 1000\n\n")
        while True:
            # The id also when nothing was wanted of what came: else a reader would come back with one of long ago.
            text = await reader.next(COMMENT_SECONDS)
            await _write(send, text or b": still here\n" + standing(reader.place))


async def _write(send: Send, body: bytes, *, more: bool = True) -> None:
    message: Any = {"type": "http.response.body", "body": body, "more_body": more}
    await send(message)


_AFTER = "Only what came after: the id of the last event seen"
_LAST_EVENT_ID = Parameter("Last-Event-ID", _AFTER, {"type": "string", "pattern": ecma(PLACE_PATTERN)}, str)
OPERATIONS = (
    Operation(
        id="followEvents",
        method="GET",
        path="/api/v1/events",
        tag="Tasks",
        summary="What happens to all tasks, live, as text/event-stream",
        description=(
            "Frames: `event: task|log|progress`, `id:`, `data:` the event as JSON. `event: resync` says that something "
            "may have been missed (an unknown id, a reader that is too slow, a gap on the bus): look again at what you "
            "show; the complete record is each task's own history. `event: bye` when this api shuts down. An "
            "owner is told of his own tasks. Events of one task may come out of order: `seq` and `version` tell."
        ),
        handle=events,
        query=(
            matching("type", TYPE_PATTERN, "a type", "Only tasks of this type"),
            matching("queue", QUEUE_PATTERN, "a queue", "Only tasks of this queue"),
            one_of("status", Status, "Only moves to this status"),
            one_of("event", ("task", "log", "progress"), "Only events of this kind"),
            matching("last_event_id", PLACE_PATTERN, _EXPECTED_ID, _AFTER, many=False),
        ),
        headers=(_LAST_EVENT_ID,),
        answers=(Answer(200, "Events, until the reader leaves", None, media_types=(EVENT_STREAM,)),),
        scope="read",
    ),
)
