"""Dead letters: read, grouped, exported, and one at a time replayed or discarded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from taskflow.domain.dead_letter import LETTER_STATUSES, REASONS, DeadLetter
from taskflow.domain.errors import NotFound, TaskflowError
from taskflow.domain.filters import LetterFilters
from taskflow.kit.logging import get_logger
from taskflow_api.bodies import reason_of, replay_of
from taskflow_api.cursors import LIMIT, PAGING, bind, decode_id, encode_cursor, page
from taskflow_api.operation import Answer, Body, Call, Operation
from taskflow_api.problems import problem
from taskflow_api.queries import Values, one_of, text_of
from taskflow_api.replies import answer, encode
from taskflow_api.routes.submit import refuse_while_draining
from taskflow_api.routes.tasks import CREATED, QUEUES, TYPES, without_traceback

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

log = get_logger(__name__)

NDJSON = "application/x-ndjson"
FILTERS = (
    TYPES,
    QUEUES,
    one_of("reason", REASONS, "Only for this reason; repeated: or"),
    one_of("status", LETTER_STATUSES, "Only in this status; repeated: or"),
    text_of("error", 200, "Only if the error's type or message holds this text"),
    text_of("fingerprint", 128, "Only of this group"),
    text_of("tag", 100, "Only of tasks with this tag; repeated: and", many=True),
    *CREATED,
)


def letter_filters(query: Values, owner: str | None) -> LetterFilters:
    """The filters that a query string or the body of a bulk call names, for what this owner has; None: anybody."""
    return LetterFilters(
        types=query["type"],
        queues=query["queue"],
        reasons=query["reason"],
        statuses=query["status"],
        error=query["error"],
        fingerprint=query["fingerprint"],
        tags=query["tag"],
        created_after=query["created_after"],
        created_before=query["created_before"],
        owner=owner,
    )


async def list_letters(call: Call) -> ASGIApp:
    """Newest first."""
    filters = letter_filters(call.query, call.caller.sees)
    bound = bind(call.operation.id, filters)
    limit = call.query["limit"]
    before = decode_id(bound, call.query["cursor"])
    letters = await call.services.reader.dead_letters(filters, limit + 1, before)
    items = [list_item(one) for one in letters[:limit]]
    following = encode_cursor(bound, letters[limit - 1].id) if len(letters) > limit else None
    return page(call.operation.path, call.scope["query_string"], items, following)


def list_item(letter: DeadLetter) -> DeadLetter:
    """A dead letter in a list: without traceback."""
    return msgspec.structs.replace(letter, error=without_traceback(letter.error))


async def export_letters(call: Call) -> ASGIApp:
    """All that match, one a line."""
    return Export(call, letter_filters(call.query, call.caller.sees))


class Export:
    """An answer that is written page by page: it never holds more than one, and waits for its reader."""

    def __init__(self, call: Call, filters: LetterFilters) -> None:
        self._call = call
        self._filters = filters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False
        try:
            async for page_of_letters in self._call.services.reader.letter_pages(self._filters):
                if not started:
                    await _start(send)
                    started = True
                body = b"".join(encode(letter) + b"\n" for letter in page_of_letters)
                await send({"type": "http.response.body", "body": body, "more_body": True})
        except TaskflowError as error:
            if not started:
                await problem(error, str(scope["state"]["request_id"]))(scope, receive, send)
                return
            log.warning("export.broken_off", error=error.detail)
            raise  # the connection ends without the last chunk: the reader sees that something is missing
        if not started:
            await _start(send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _start(send: Send) -> None:
    headers = [(b"content-type", NDJSON.encode()), (b"cache-control", b"no-store")]
    message: Any = {"type": "http.response.start", "status": 200, "headers": headers}
    await send(message)


async def list_groups(call: Call) -> ASGIApp:
    """Alike ones together, the largest group first."""
    groups = await call.services.reader.letter_groups(
        letter_filters(call.query, call.caller.sees), call.query["limit"]
    )
    items = [msgspec.structs.replace(one, error=without_traceback(one.error)) for one in groups]
    return page(call.operation.path, call.scope["query_string"], items, None)


async def read_letter(call: Call) -> ASGIApp:
    """One dead letter."""
    letter = await call.services.reader.dead_letter(call.path["dead_letter_id"], call.caller.sees)
    if letter is None:
        raise NotFound(f"there is no dead letter {call.path['dead_letter_id']}")
    return answer(letter)


async def replay(call: Call) -> ASGIApp:
    """Give its task the next life."""
    refuse_while_draining(call)
    payload, reason = await replay_of(call)
    return answer(
        await call.services.commands.replay_letter(call.path["dead_letter_id"], payload, call.by(reason)), 202
    )


async def discard(call: Call) -> ASGIApp:
    """Close it without a replay."""
    reason = await reason_of(call)
    return answer(await call.services.commands.discard_letter(call.path["dead_letter_id"], call.by(reason)))


_LETTER = "/api/v1/dead-letters/{dead_letter_id}"


def _replay(name: str, operation_id: str, summary: str) -> Operation:
    return Operation(
        id=operation_id,
        method="POST",
        path=f"{_LETTER}/{name}",
        tag="Dead letters",
        summary=summary,
        handle=replay,
        body=Body("Replay", {"payload": {"hello": "world"}}, required=False),
        answers=(Answer(202, "The task, in its next life", "Task"),),
        problems=(404, 409, 413, 415),
        scope="operate",
    )


OPERATIONS = (
    Operation(
        id="listDeadLetters",
        method="GET",
        path="/api/v1/dead-letters",
        tag="Dead letters",
        summary="List dead letters, newest first",
        handle=list_letters,
        query=(*FILTERS, *PAGING),
        answers=(Answer(200, "A page of dead letters", "DeadLetterList"),),
        scope="read",
    ),
    Operation(
        id="listDeadLetterGroups",
        method="GET",
        path="/api/v1/dead-letters/groups",
        tag="Dead letters",
        summary="Dead letters grouped by what went wrong",
        handle=list_groups,
        query=(*FILTERS, LIMIT),
        answers=(Answer(200, "The largest groups", "LetterGroupList"),),
        scope="read",
    ),
    Operation(
        id="exportDeadLetters",
        method="GET",
        path="/api/v1/dead-letters/export",
        tag="Dead letters",
        summary="All dead letters that match, with their details, one a line",
        handle=export_letters,
        query=FILTERS,
        answers=(Answer(200, "Lines of JSON, newest first", "DeadLetterDetail", media_types=(NDJSON,)),),
        scope="read",
    ),
    Operation(
        id="readDeadLetter",
        method="GET",
        path=_LETTER,
        tag="Dead letters",
        summary="Read a dead letter",
        handle=read_letter,
        answers=(Answer(200, "The dead letter, with all that explains it", "DeadLetterDetail"),),
        problems=(404,),
        scope="read",
    ),
    _replay("replay", "replayDeadLetter", "Replay a dead letter, with its payload or another"),
    _replay("reprocess", "reprocessDeadLetter", "The same as replay"),
    Operation(
        id="discardDeadLetter",
        method="POST",
        path=f"{_LETTER}/discard",
        tag="Dead letters",
        summary="Discard a dead letter; its task stays failed",
        handle=discard,
        body=Body("WithReason", {"reason": "customer is gone"}, required=False),
        answers=(Answer(200, "The dead letter, discarded", "DeadLetterDetail"),),
        problems=(404, 409, 413, 415),
        scope="operate",
    ),
)
