"""The feed of all events of the system that the caller may see, as server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from taskflow.domain.errors import BadHeader
from taskflow.domain.feed import Wanted, parse_place
from taskflow.domain.transitions import Status
from taskflow_api.feed_frames import standing
from taskflow_api.operation import Answer, Call, Operation
from taskflow_api.queries import Parameter, ecma, matching, one_of
from taskflow_api.sse import COMMENT_SECONDS, EVENT_STREAM, KEEPALIVE, TICKET, EventStream, Output
from taskflow_api.submission import QUEUE_PATTERN, TYPE_PATTERN
from taskflow_api.waiting import Race

if TYPE_CHECKING:
    from litestar.types import ASGIApp

    from taskflow.engine.feed_reader import Reader

PLACE_PATTERN = r"\A[0-9]{1,20}-[0-9]{1,10}\Z"
_EXPECTED_ID = "the id of an event of this feed, such as 41873-204118003"


async def events(call: Call) -> ASGIApp:
    """A stream that goes on until its reader leaves, its credentials end, or the api is stopped."""
    query = call.query
    wanted = Wanted(
        owner=call.caller.sees,
        types=frozenset(query["type"]),
        queues=frozenset(query["queue"]),
        statuses=frozenset(query["status"]),
        events=frozenset(query["event"]),
    )
    after = _resume_point(call)

    async def tell(output: Output, race: Race) -> None:
        async with call.services.feed.join(wanted, after) as reader:
            await output.start()
            telling = race.start("told", _tell(reader, output))
            over = await race.first(None)
            telling.cancel()
            await asyncio.wait([telling])
            await output.leave(over)

    return EventStream(call, tell)


def _resume_point(call: Call) -> str | None:
    text = call.header(b"last-event-id")
    if text is not None and parse_place(text) is None:
        raise BadHeader(f"Last-Event-ID: expected {_EXPECTED_ID}")
    return text or call.query["last_event_id"]


async def _tell(reader: Reader, output: Output) -> None:
    while True:
        # The id also when nothing was wanted of what came: else a reader would come back with one of long ago.
        text = await reader.next(COMMENT_SECONDS)
        await output.write(text or KEEPALIVE + standing(reader.place))


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
            "owner is told of his own tasks. Events of one task may come out of order: `seq` and `version` tell. "
            "A `ticket` opens the stream in place of credentials."
        ),
        handle=events,
        query=(
            matching("type", TYPE_PATTERN, "a type", "Only tasks of this type"),
            matching("queue", QUEUE_PATTERN, "a queue", "Only tasks of this queue"),
            one_of("status", Status, "Only moves to this status"),
            one_of("event", ("task", "log", "progress"), "Only events of this kind"),
            matching("last_event_id", PLACE_PATTERN, _EXPECTED_ID, _AFTER, many=False),
            TICKET,
        ),
        headers=(_LAST_EVENT_ID,),
        answers=(Answer(200, "Events, until the reader leaves", None, media_types=(EVENT_STREAM,)),),
        scope="read",
        takes_ticket=True,
    ),
)
