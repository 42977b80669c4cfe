"""An operation of the api: how it is reached, what it takes, what it answers. One table drives routing and
document.

The tables stand in `routes`; `app` makes Litestar routes of them, `openapi` the document, `edge` the 405 and
OPTIONS.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from taskflow.domain.account import LOCAL, By, Caller, Scope
from taskflow.domain.errors import BadHeader, MalformedJson, NotFound, NotJson, TooLarge
from taskflow_api.drain import Drain
from taskflow_api.queries import Parameter, Values, read_query
from taskflow_api.replies import JSON
from taskflow_api.services import Services
from taskflow_api.submission import QUEUE_PATTERN, TYPE_PATTERN

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPScope, Receive

BODY_BYTES_MAX = 1024 * 1024
FORM = "application/x-www-form-urlencoded"
ID_PATTERN = r"\A[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z"
PATHS = {
    "task_id": (re.compile(ID_PATTERN), "The task's id"),
    "dead_letter_id": (re.compile(ID_PATTERN), "The dead letter's id"),
    "operation_id": (re.compile(ID_PATTERN), "The operation's id"),
    "user_id": (re.compile(ID_PATTERN), "The account's id"),
    "key_id": (re.compile(ID_PATTERN), "The API key's id"),
    "delivery_id": (re.compile(ID_PATTERN), "The webhook delivery's id"),
    "secret_id": (re.compile(ID_PATTERN), "The signing secret's id"),
    "worker_id": (re.compile(ID_PATTERN), "The worker's id"),
    "queue": (re.compile(QUEUE_PATTERN), "The queue's name"),
    "type": (re.compile(TYPE_PATTERN), "The type's name"),
}
"""Path parameters by name. What does not have this form cannot exist: 404."""


class Body(Struct, frozen=True):
    """What a call may bear; `schema` names a component of the document. `form`: it may come as a form, too."""

    schema: str
    example: Any
    required: bool = True
    form: bool = False
    bytes_max: int = BODY_BYTES_MAX


class Answer(Struct, frozen=True):
    """One answer of 2xx or 3xx; `schema` is a component's name. `headers` are those it always bears."""

    status: int
    description: str
    schema: str | None
    headers: tuple[str, ...] = ()
    media_types: tuple[str, ...] = (JSON,)


class Call:
    """One call in the hands of its route."""

    __slots__ = ("caller", "drain", "operation", "path", "query", "receive", "scope", "services")

    def __init__(
        self,
        operation: Operation,
        scope: HTTPScope,
        receive: Receive,
        services: Services,
        drain: Drain,
        caller: Caller = LOCAL,
    ) -> None:
        self.caller = caller
        self.operation = operation
        self.scope = scope
        self.receive = receive
        self.services = services
        self.drain = drain
        self.path: dict[str, str] = _checked(scope["path_params"]) if scope["path_params"] else {}
        self.query: Values = read_query(scope["query_string"], operation.query)

    def by(self, reason: str | None = None) -> By:
        """Who commands, for the history and the audit log."""
        caller = self.caller
        return By(
            caller.name,
            reason,
            owner=caller.sees,
            user_id=caller.user_id,
            key_id=caller.key_id,
            address=self.address,
            request_id=self.scope["state"]["request_id"],
        )

    @property
    def address(self) -> str:
        """Where the call comes from."""
        return str(self.scope["state"].get("address", ""))

    def header(self, name: bytes) -> str | None:
        """The value of a header that may stand once."""
        values = [value for key, value in self.scope["headers"] if key == name]
        if len(values) > 1:
            raise BadHeader(f"{name.decode()} stands {len(values)} times; expected once")
        return values[0].decode("latin-1") if values else None

    async def body(self) -> bytes:
        """The bytes of a JSON body, empty if there is none. Stops reading at the limit."""
        limit = self.operation.body.bytes_max if self.operation.body else BODY_BYTES_MAX
        length = self.header(b"content-length")
        if length is not None and int(length) > limit:
            raise TooLarge(f"the body has {length} bytes; expected at most {limit}")
        kind = self.header(b"content-type")
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await self.receive()
            if message["type"] != "http.request":
                raise MalformedJson("the body ended before it was complete")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"the body is over {limit} bytes")
            if size and not self._takes(kind):
                raise NotJson(f"content-type is {kind or 'not given'}; expected {JSON}")
            chunks.append(chunk)
            more = message.get("more_body", False)
        if not size and self.operation.body and self.operation.body.required and not self._takes(kind):
            raise NotJson(f"content-type is {kind or 'not given'}; expected {JSON}")
        return b"".join(chunks)

    def _takes(self, content_type: str | None) -> bool:
        if self.operation.body is not None and self.operation.body.form and kind_of(self) == FORM:
            return True
        return _is_json(content_type)


class Operation(Struct, frozen=True):
    """One call of the api. `problems` are the statuses of its refusals beside those every call has.

    `scope` is what credentials must allow; None: none are asked for. `signs_in`: it takes what credentials are made of,
    and is limited by address. `takes_ticket`: it is a stream, and may be opened with a ticket.
    """

    id: str
    method: str
    path: str
    tag: str
    summary: str
    handle: Callable[[Call], Awaitable[ASGIApp]]
    answers: tuple[Answer, ...]
    scope: Scope | None
    description: str = ""
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    body: Body | None = None
    problems: tuple[int, ...] = ()
    signs_in: bool = False
    takes_ticket: bool = False

    @property
    def path_parameters(self) -> list[str]:
        """The names in braces in its path."""
        return re.findall(r"{(\w+)}", self.path)


def _checked(values: dict[str, Any]) -> dict[str, str]:
    for name, value in values.items():
        if PATHS[name][0].search(value) is None:
            raise NotFound(f"there is no {name.removesuffix('_id').replace('_', ' ')} {value[:200]!r}")
    return {name: value.lower() if name.endswith("_id") else value for name, value in values.items()}


def kind_of(call: Call) -> str:
    """The media type of a call's body."""
    return (call.header(b"content-type") or "").partition(";")[0].strip().lower()


def _is_json(content_type: str | None) -> bool:
    """`application/json`, in UTF-8 if it says so."""
    if content_type == JSON:
        return True
    kind, _, rest = (content_type or "").partition(";")
    charset = rest.strip().lower().replace(" ", "").replace('"', "")
    return kind.strip().lower() == JSON and charset in {"", "charset=utf-8", "charset=utf8"}
