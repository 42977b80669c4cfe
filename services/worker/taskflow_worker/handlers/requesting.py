"""The built-in type `http_request`: calls what EGRESS_ALLOW, EGRESS_PORTS and EGRESS_SCHEMES let a worker reach."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Raw, Struct, field

from taskflow import Context, PermanentError, task
from taskflow.handlers.given import given
from taskflow.handlers.results import UnstorableResult, encode_result
from taskflow.kit.egress import PORTS, SCHEMES, BadUrl, Egress, EgressRefused, egress
from taskflow.kit.headers import forbidden_headers, names_of
from taskflow_worker.handlers.knobs import Knobs, obey

if TYPE_CHECKING:
    from taskflow.kit.outgoing import Answer

ANSWER_BYTES_MAX = 200 * 1024
"""Less than a result may have: text takes more room as JSON."""
GIVEN = "egress"
_JSON = re.compile(r"\s*application/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_SPARE_SECONDS_MAX = 1.0

Headers = list[tuple[str, str]]


class Reach(Struct, frozen=True):
    """The worker's settings of what may be reached, as `given` carries them."""

    allow: tuple[str, ...] = ()
    ports: tuple[str, ...] = PORTS
    schemes: tuple[str, ...] = SCHEMES


class HttpRequest(Knobs):
    """A `body` that is a string is sent as it is, any other but null as JSON."""

    url: str
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


class RequestFailed(Exception):
    """No answer, or none that can be used. Its subclasses are named for what happened: `error.type` shows that."""


_OWN_NAMES = {"TimedOut": "RequestTimedOut"}
"""`TimedOut` is what a task's own deadline is called."""


@task("http_request")
async def http_request(payload: HttpRequest, context: Context) -> dict[str, Any]:
    """`{"status", "headers", "body"}` of the answer, whatever its status. JSON is given as JSON, all else as text."""
    # Not before they are needed: a child process starts in half the time.
    from taskflow.kit.outgoing import Outgoing, OutgoingError

    obey(payload, context)
    reach = given(GIVEN, Reach) or Reach()
    rules = egress(reach.allow, reach.ports, reach.schemes)
    headers, body = _headers(payload, context), _body(payload.body)
    _check(rules, payload, headers)
    async with Outgoing(rules, connections_max=1) as outgoing:
        try:
            answer = await outgoing.send(
                payload.method,
                payload.url,
                headers,
                body,
                timeout_seconds=_seconds_left(context),
                answer_bytes_max=ANSWER_BYTES_MAX,
            )
        except OutgoingError as error:
            name = _OWN_NAMES.get(error.kind, error.kind)
            raise type(name, (RequestFailed,), {})(str(error)) from None
    return {"status": answer.status, "headers": _folded(answer.headers), "body": _read(answer)}


def _check(rules: Egress, payload: HttpRequest, headers: Headers) -> None:
    """Refuse what no further attempt can mend."""
    try:
        rules.check(payload.url)
    except EgressRefused as error:
        raise PermanentError(f"the url is refused: {error}") from None
    except BadUrl as error:
        raise PermanentError(str(error)) from None
    if (reason := forbidden_headers(headers)) is not None:
        raise PermanentError(reason)


def _headers(payload: HttpRequest, context: Context) -> Headers:
    """The caller's, and ours where he has none of the name."""
    headers = list(payload.headers.items())
    known = names_of(headers)
    ours = [
        ("User-Agent", "TaskFlow"),
        ("Idempotency-Key", context.idempotency_key),
        ("X-TaskFlow-Task-Id", context.task_id),
    ]
    if payload.body is not None:
        is_text = isinstance(payload.body, str)
        ours.append(("Content-Type", "text/plain; charset=utf-8" if is_text else "application/json"))
    return headers + [(name, value) for name, value in ours if name.lower() not in known]


def _body(body: Any) -> bytes:
    if body is None:
        return b""
    return body.encode() if isinstance(body, str) else msgspec.json.encode(body)


def _seconds_left(context: Context) -> float:
    """A little less than the task has, so that it can tell of it."""
    left = context.deadline.timestamp() - time.time()
    return max(0.001, left - min(_SPARE_SECONDS_MAX, left / 10))


def _folded(headers: Headers) -> dict[str, str]:
    """By names in lower case; what came more than once has commas between."""
    folded: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        folded[key] = f"{folded[key]}, {value}" if key in folded else value
    return folded


def _read(answer: Answer) -> Any:
    """The body: JSON if it is said to be and is, to the letter; else text."""
    kind = next((value for name, value in answer.headers if name.lower() == "content-type"), "")
    if _JSON.fullmatch(kind):
        with suppress(UnstorableResult):  # also JSON that no result may hold, such as one nested too deep
            encode_result(body := Raw(answer.body))
            return body
    return answer.body.decode(errors="replace")
