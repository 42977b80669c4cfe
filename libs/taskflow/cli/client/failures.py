"""What may go wrong between a command and the API: one line, and the exit code of the contract. Raised by `api`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    import httpx

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class ApiError(click.ClickException):
    """A call that failed; the message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Refused(ApiError):
    """The api says that the request is wrong."""

    exit_code = EXIT_USAGE


class NotThere(ApiError):
    """There is no such thing, or it is another's."""

    exit_code = 3


class NotAllowed(ApiError):
    """No key, a wrong one, or one without the right."""

    exit_code = 4


class Conflict(ApiError):
    """The state of the thing forbids it."""

    exit_code = 5


class TimeOver(ApiError):
    """No answer in time."""

    exit_code = 6


class Unreachable(ApiError):
    """The api cannot be reached, or cannot serve now."""

    exit_code = 7


KINDS: dict[int, type[ApiError]] = {
    400: Refused,
    401: NotAllowed,
    403: NotAllowed,
    404: NotThere,
    409: Conflict,
    422: Refused,
    # What a proxy says of an api that does not answer is what a refused connection says.
    502: Unreachable,
    503: Unreachable,
    504: Unreachable,
}
"""HTTP status to error; all others are a plain `ApiError`, exit code 1."""


class Problem(Struct):
    """The members of problem+json that are told."""

    detail: str
    hint: str | None = None
    current_status: str | None = None
    request_id: str | None = None


def refusal(url: str, answer: httpx.Response, has_key: bool) -> ApiError:
    """The error for an answer that is no success; its body has been read."""
    try:
        problem = msgspec.json.decode(answer.content, type=Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        told = f"{url} answered {answer.status_code} {answer.reason_phrase}"
    else:
        told = _told(problem, answer.status_code)
    if answer.status_code == 401 and not has_key:
        told += "; TASKFLOW_API_KEY is not set"
    return KINDS.get(answer.status_code, ApiError)(told)


def _told(problem: Problem, status: int) -> str:
    parts = [problem.detail]
    if problem.current_status and problem.current_status not in problem.detail:
        parts.append(f"it is {problem.current_status}")
    if problem.hint and problem.hint not in problem.detail:
        parts.append(problem.hint)
    if status >= 500 and problem.request_id:
        parts.append(f"request {problem.request_id}")
    return "; ".join(parts)


def no_answer(url: str, error: httpx.RequestError, seconds: float, commands: bool) -> ApiError:
    """The error for a call without an answer. `commands`: the call changes something, and may have done so."""
    import httpx

    why = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return Unreachable(f"cannot reach {url}: {why}")
    doubt = "; what was asked may have been done all the same" if commands else ""
    if isinstance(error, httpx.TimeoutException):
        return TimeOver(f"{url} did not answer within {seconds:g} s{doubt}")
    return Unreachable(f"the connection to {url} was lost: {why}{doubt}")
