"""Following one task for one reader, whichever way it is told: written once for server-sent events and WebSocket.

The stream reads the history and nothing else: a notice only wakes it. So it misses and repeats nothing, whichever api
serves it and whatever NATS lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from taskflow.domain.errors import BadHeader, NotFound, Overloaded, Unavailable
from taskflow.domain.transitions import TERMINAL
from taskflow.kit.logging import get_logger
from taskflow_api.queries import whole
from taskflow_api.sse import OVER

if TYPE_CHECKING:
    from taskflow.domain.task import TaskEvent
    from taskflow_api.operation import Call
    from taskflow_api.waiting import Race

log = get_logger(__name__)

SILENT_SECONDS = 15.0
"""How long nothing may happen before the reader is told that we are still here."""
RETRY_SECONDS = 2.0
NEWS_MAX = 100
"""Events that are read at once for a reader who keeps up."""
PAGE = 1_000
"""For one who does not, or who has just come."""


_SEQ_MAX = 2**53
LAST_EVENT_ID = whole(
    "last_event_id", 0, _SEQ_MAX, 0, "Only what came after; the header Last-Event-ID goes before"
)


def resume_point(call: Call) -> int | None:
    """The number after which a reader wants to be told; what LAST_EVENT_ID says by default if it names none."""
    text = call.header(b"last-event-id")
    if text is None:
        given: int | None = call.query["last_event_id"]
        return given
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise BadHeader("Last-Event-ID: expected the id of an event of this task")
    return int(text)


def not_found(call: Call) -> NotFound:
    """There is no such task, or it is not the caller's."""
    return NotFound(f"there is no task {call.path['task_id']}")


class Outlet(Protocol):
    """How a reader is told."""

    async def start(self) -> None:
        """The stream is open."""

    async def tell(self, events: list[TaskEvent]) -> None:
        """What happened, in order."""

    async def keep_alive(self) -> None:
        """Nothing happened for a while, perhaps."""

    async def finish(self) -> None:
        """The task has ended, and all is told."""

    async def leave(self, over: set[str]) -> None:
        """The stream ends for one of the reasons in `OVER`."""


class TaskStream:
    """What one reader knows of one task: everything up to number `after`, and whether the task has ended by then."""

    def __init__(self, call: Call, task_id: str, after: int, *, has_ended: bool) -> None:
        self._call = call
        self._id = task_id
        self._after = after
        self._has_ended = has_ended
        self._is_behind = True

    async def follow(self, outlet: Outlet, race: Race) -> None:
        """Tell the task's history until the task has ended, or the stream is over. An error comes before the start."""
        async with self._call.services.waiters.follow(self._id) as changes:
            news, pause = await self._read(), SILENT_SECONDS
            await outlet.start()
            while True:
                if news:
                    await outlet.tell(news)
                if self._has_ended and not self._is_behind:
                    await outlet.finish()
                    return
                await outlet.keep_alive()
                race.start("changed", changes.changed(0 if self._is_behind else pause))
                over = await race.first(None)
                if over & OVER:
                    await outlet.leave(over)
                    return
                news, pause = await self._read_if_possible()

    async def _read_if_possible(self) -> tuple[list[TaskEvent], float]:
        """What happened since, and when to look again at the latest. A stream outlasts the absence of PostgreSQL."""
        try:
            return await self._read(), SILENT_SECONDS
        except (Unavailable, Overloaded) as error:
            log.warning("stream.read_failed", task_id=self._id, error=error.detail)
            self._is_behind = False
            return [], RETRY_SECONDS

    async def _read(self) -> list[TaskEvent]:
        """What happened since, a page at most; remembers how far that goes, and whether the task has ended by it."""
        limit = PAGE if self._is_behind else NEWS_MAX
        news = (
            await self._call.services.reader.events(self._id, self._after, self._call.caller.sees, limit)
            or []
        )
        self._is_behind = len(news) >= limit
        if news:
            self._after = news[-1].seq
        states = [event.status for event in news if event.event == "task"]
        if states:
            self._has_ended = states[-1] in TERMINAL
        return news
