"""`/ws/tasks/{id}`: a task as a WebSocket, one JSON object a frame; first how it is, then what happens to it.

Litestar has no part in it: the edge gives what is below `/ws/` to this app. What is refused is refused before the
upgrade, as a problem like any other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from taskflow.domain.errors import NotFound, TaskflowError
from taskflow.domain.transitions import TERMINAL
from taskflow.kit.logging import get_logger
from taskflow_api.operation import Call, Operation
from taskflow_api.problems import MethodNotAllowed, UpgradeRequired, problem
from taskflow_api.replies import encode
from taskflow_api.sse import TICKET, stream_race
from taskflow_api.strangers import refuse_foreign_sockets
from taskflow_api.task_stream import LAST_EVENT_ID, TaskStream, not_found, resume_point

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

    from taskflow.domain.task import Task, TaskEvent
    from taskflow_api.drain import Drain
    from taskflow_api.services import Services
    from taskflow_api.settings import Settings

log = get_logger(__name__)

PATH = "/ws/tasks/{task_id}"
ENDED, FAULTY, DRAINING, CREDENTIALS_ENDED = 1000, 1011, 1012, 4401
"""Codes with which we close: the task has ended, an error of ours, come back, sign in again."""
METHODS = ["GET", "OPTIONS"]
_FORM = re.compile(r"/ws/tasks/([^/]+)")
_SCHEMES = {"ws": "http", "wss": "https"}


def is_socket(path: str) -> bool:
    """Whether a WebSocket can be opened here."""
    return _FORM.fullmatch(path) is not None


def as_request(scope: HTTPScope, send: Send) -> Send:
    """Let what opens a WebSocket look like the request that it is, and what answers it be a refusal."""
    scope["method"] = "GET"
    scope["scheme"] = _SCHEMES.get(scope["scheme"], scope["scheme"])

    async def send_refusal(message: Message) -> None:
        if message["type"].startswith("http.response."):
            # Of no kind that Litestar's types name: the ASGI extension websocket.http.response.
            message = {**message, "type": f"websocket.{message['type']}"}  # type: ignore[assignment]
        await send(message)

    return send_refusal


class TaskSockets:
    """What is below `/ws/`, as an ASGI app."""

    def __init__(self, services: Services, settings: Settings, drain: Drain) -> None:
        self._services = services
        self._settings = settings
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked: Any = scope
        try:
            _refuse_plain_requests(asked)
            refuse_foreign_sockets(asked, self._settings)
            caller = await self._services.admission.admit(asked, _FOLLOW.scope, takes_ticket=True)
            app = await _FOLLOW.handle(Call(_FOLLOW, asked, receive, self._services, self._drain, caller))
        except TaskflowError as error:
            refusal = problem(error, str(asked["state"]["request_id"]))
            if isinstance(error, MethodNotAllowed):
                refusal.headers = [("allow", ", ".join(METHODS))]
            app = refusal
        await app(scope, receive, send)


def _refuse_plain_requests(scope: Any) -> None:
    """Raise what is wrong with a request below `/ws/` that opens no WebSocket of ours; else note where it leads."""
    found = _FORM.fullmatch(scope["path"])
    if found is None:
        raise NotFound(f"there is no {scope['path'][:200]}")
    scope["path_template"] = PATH
    scope["path_params"] = {"task_id": found[1]}
    if scope["type"] == "websocket":
        return
    if scope["method"] != "GET":
        raise MethodNotAllowed(f"{scope['method']} is not allowed here; expected {', '.join(METHODS)}")
    raise UpgradeRequired("expected the opening handshake of a WebSocket (RFC 6455), version 13")


async def follow_task(call: Call) -> ASGIApp:
    """The task as a WebSocket."""
    found = await call.services.reader.numbered_task(call.path["task_id"], call.caller.sees)
    if found is None:
        raise not_found(call)
    after = resume_point(call)
    return _TaskSocket(call, *found, found[1] if after is None else after)


class _TaskSocket:
    """The WebSocket of one reader, who is told what came after number `after`.

    `seq` is the newest number of the history of the task as it was read.
    """

    def __init__(self, call: Call, task: Task, seq: int, after: int) -> None:
        self._call = call
        self._task = task
        self._seq = seq
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call, task = self._call, self._task
        stream = TaskStream(call, task.id, self._after, has_ended=task.status in TERMINAL)
        frames = _Frames(send, {"event": "state", "seq": self._seq, "task": task})
        try:
            async with stream_race(call, receive) as race:
                await stream.follow(frames, race)
        except OSError:
            return  # the reader left while something was sent
        except TaskflowError as error:
            if not frames.opened:
                await problem(error, str(scope["state"]["request_id"]))(scope, receive, send)
                return
            log.warning("socket.broken_off", task_id=task.id, error=error.detail)
            await frames.close(FAULTY)


class _Frames:
    """How one reader is told: one JSON object a frame, the first of which is `state`."""

    def __init__(self, send: Send, state: dict[str, Any]) -> None:
        self._send = send
        self._state = state
        self.opened = False

    async def start(self) -> None:
        """The upgrade, and how the task is."""
        await self._send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        self.opened = True
        await self._say(self._state)

    async def tell(self, events: list[TaskEvent]) -> None:
        """One frame an event."""
        for event in events:
            await self._say(event)

    async def keep_alive(self) -> None:
        """The server pings."""

    async def finish(self) -> None:
        """Nothing will follow."""
        await self._say({"event": "end"})
        await self.close(ENDED)

    async def leave(self, over: set[str]) -> None:
        """The end for another reason; nobody is told who has gone."""
        if "gone" in over:
            return
        if "ended" in over:
            await self.close(CREDENTIALS_ENDED, "the credentials have ended")
            return
        await self._say({"event": "bye"})
        await self.close(DRAINING)

    async def close(self, code: int, reason: str = "") -> None:
        """The end of the WebSocket."""
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def _say(self, value: Any) -> None:
        await self._send({"type": "websocket.send", "text": encode(value).decode(), "bytes": None})


_FOLLOW = Operation(
    id="followTask",
    method="GET",
    path=PATH,
    tag="Tasks",
    summary="A task as a WebSocket",
    handle=follow_task,
    answers=(),
    query=(replace(LAST_EVENT_ID, default=None), TICKET),
    scope="read",
    takes_ticket=True,
)
