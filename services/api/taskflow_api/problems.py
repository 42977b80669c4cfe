"""Errors as callers see them: problem+json (RFC 9457), and the one table from codes to HTTP.

The edge and every route answer errors through `problem`; nothing else makes an answer of 400 or more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from taskflow.domain import errors
from taskflow.domain.errors import Problem, TaskflowError
from taskflow_api.meters import REFUSED
from taskflow_api.replies import Reply

PROBLEM_JSON = "application/problem+json"
CHALLENGE = 'Bearer realm="taskflow"'
_HANDSHAKE = [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", "13")]
PROBLEMS_MAX = 100
"""Faults told of in one answer."""


class MethodNotAllowed(TaskflowError):
    """The method is not allowed here."""

    code = "method_not_allowed"


class UpgradeRequired(TaskflowError):
    """Only a WebSocket can be opened here."""

    code = "upgrade_required"


STATUSES: dict[type[TaskflowError], int] = {
    errors.MalformedJson: 400,
    errors.BadCursor: 400,
    errors.BadHeader: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.RegistrationClosed: 403,
    errors.NotFound: 404,
    MethodNotAllowed: 405,
    errors.TaskFinished: 409,
    errors.TaskNotRetryable: 409,
    errors.AlreadyReplayed: 409,
    errors.OperationFinished: 409,
    errors.NameTaken: 409,
    errors.Stale: 409,
    errors.TooLarge: 413,
    errors.NotJson: 415,
    errors.Invalid: 422,
    errors.UnknownField: 422,
    errors.UnknownType: 422,
    errors.TargetRefused: 422,
    errors.IdempotencyKeyReused: 422,
    errors.QueueLimit: 422,
    UpgradeRequired: 426,
    errors.RateLimited: 429,
    errors.AccountLocked: 429,
    TaskflowError: 500,
    errors.Unavailable: 503,
    errors.Overloaded: 503,
    errors.Draining: 503,
    errors.OutcomeUnknown: 503,
}
"""The one table from errors to HTTP. A subclass answers as the nearest of its bases that stands here."""


class ProblemDetails(Struct, omit_defaults=True):
    """A problem (RFC 9457): `code` is for programs, `detail` for people, `errors` say where."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[Problem] = []
    current_status: str | None = None
    hint: str | None = None


def problem(
    error: TaskflowError, request_id: str, extra: dict[str, Any] | None = None, *, refuses: bool = True
) -> Reply:
    """The answer to a call that `error` ended; `extra` members stand beside the problem's own.

    `refuses`: whether a request was refused, and counts; a probe that says no has been answered.
    """
    kind = next(base for base in type(error).__mro__ if base in STATUSES)
    status = STATUSES[kind]
    if refuses:
        REFUSED.labels(kind.code).inc()
    body = ProblemDetails(
        type=f"/docs#problem-{kind.code}",
        title=kind.title(),
        status=status,
        detail=_one_line(error.detail) if status != 500 else kind.title(),
        code=kind.code,
        request_id=request_id,
        errors=error.problems[:PROBLEMS_MAX],
        current_status=error.current_status,
        hint=error.hint,
    )
    headers = []
    if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
        headers.append(("retry-after", str(max(1, math.ceil(error.retry_after_seconds or 1)))))
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append(("www-authenticate", CHALLENGE))
    if status == HTTPStatus.UPGRADE_REQUIRED:
        headers += _HANDSHAKE
    members = {**(extra or {}), **msgspec.to_builtins(body)}
    return Reply(status, msgspec.json.encode(members), headers, PROBLEM_JSON)


def refusal(code: type[TaskflowError], problems: Sequence[Problem]) -> TaskflowError:
    """One error for all faults found; its detail tells the first."""
    first = problems[0]
    where = first.pointer if first.pointer is not None else first.parameter
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    detail = f"{where}: {first.detail}{more}" if where else f"{first.detail}{more}"
    return code(detail, problems=list(problems))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:1000]
