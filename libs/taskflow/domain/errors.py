"""The errors TaskFlow speaks of: what handlers raise, and what callers are answered.

A `TaskflowError` bears a `code` of the contract; one table in the api maps codes to HTTP. The class docstring is
the title a caller reads. Errors of asyncpg and nats are translated into these where they arise.
"""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct


class PermanentError(Exception):
    """Raised by a handler: no further attempt can help. The task fails now, reason `permanent`."""


class RetryLater(Exception):
    """Raised by a handler: try again after `delay_seconds`. The attempt is spent."""

    def __init__(self, delay_seconds: float, message: str = "") -> None:
        super().__init__(message or f"retry in {delay_seconds} s")
        self.delay_seconds = _checked(delay_seconds)


class Snooze(Exception):
    """Raised by a handler: come back after `delay_seconds`. No attempt is spent; at most 1,000 times a life."""

    def __init__(self, delay_seconds: float, message: str = "") -> None:
        super().__init__(message or f"snoozed for {delay_seconds} s")
        self.delay_seconds = _checked(delay_seconds)


def _checked(delay_seconds: float) -> float:
    if not 0 <= delay_seconds <= 31_536_000:
        raise ValueError(f"delay_seconds is {delay_seconds!r}; expected 0 to 31536000 seconds")
    return float(delay_seconds)


class Problem(Struct, omit_defaults=True):
    """One fault in what a caller sent: where (`pointer` into the body, or `parameter`) and what is expected."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class TaskflowError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal"

    def __init__(
        self,
        detail: str = "",
        *,
        problems: list[Problem] | None = None,
        current_status: str | None = None,
        hint: str | None = None,
        retry_after_seconds: float | None = None,
        task: Any = None,
    ) -> None:
        super().__init__(detail or self.title())
        self.detail = detail or self.title()
        self.problems = problems or []
        self.current_status = current_status
        self.hint = hint
        self.retry_after_seconds = retry_after_seconds
        self.task = task

    @classmethod
    def title(cls) -> str:
        """The first line of the class docstring: what happened, in general."""
        return (cls.__doc__ or "").strip().splitlines()[0].rstrip(".")


class MalformedJson(TaskflowError):
    """The body is not valid JSON."""

    code = "malformed_json"


class BadCursor(TaskflowError):
    """The cursor is not one of this list."""

    code = "bad_cursor"


class BadHeader(TaskflowError):
    """A header has a value that is not allowed."""

    code = "bad_header"


class Unauthenticated(TaskflowError):
    """Credentials are missing, or not good."""

    code = "unauthenticated"


class Forbidden(TaskflowError):
    """These credentials do not allow this."""

    code = "forbidden"


class RegistrationClosed(TaskflowError):
    """Accounts are made by admins here."""

    code = "registration_closed"


class NotFound(TaskflowError):
    """There is no such thing."""

    code = "not_found"


class TaskFinished(TaskflowError):
    """The task has finished."""

    code = "task_finished"


class TaskNotRetryable(TaskflowError):
    """The task cannot be retried in its present state."""

    code = "task_not_retryable"


class AlreadyReplayed(TaskflowError):
    """The dead letter is no longer pending."""

    code = "already_replayed"


class OperationFinished(TaskflowError):
    """The operation has ended."""

    code = "operation_finished"


class Stale(TaskflowError):
    """It has changed meanwhile."""

    code = "stale"


class NameTaken(TaskflowError):
    """An account of this name exists."""

    code = "name_taken"


class TooLarge(TaskflowError):
    """The body or a part of it is too large."""

    code = "too_large"


class NotJson(TaskflowError):
    """The body must be application/json."""

    code = "not_json"


class Invalid(TaskflowError):
    """The request is not valid."""

    code = "invalid"


class UnknownField(TaskflowError):
    """The request names something that does not exist."""

    code = "unknown_field"


class UnknownType(TaskflowError):
    """No worker declares this type."""

    code = "unknown_type"


class TargetRefused(TaskflowError):
    """A URL leads to where nothing is sent from here."""

    code = "target_refused"


class IdempotencyKeyReused(TaskflowError):
    """The idempotency key was used for another request."""

    code = "idempotency_key_reused"


class QueueLimit(TaskflowError):
    """Too many tasks of this account wait."""

    code = "queue_limit"


class RateLimited(TaskflowError):
    """Too many requests."""

    code = "rate_limited"


class AccountLocked(TaskflowError):
    """Too many failed tries to sign in."""

    code = "account_locked"


class Unavailable(TaskflowError):
    """The service cannot answer now."""

    code = "unavailable"


class Overloaded(TaskflowError):
    """The service is at its limit."""

    code = "overloaded"


class Draining(TaskflowError):
    """The service is shutting down."""

    code = "draining"


class OutcomeUnknown(TaskflowError):
    """It is not known whether the request was carried out."""

    code = "outcome_unknown"
