"""How an attempt ended, as values: what `execute` hands to `decide`."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class ExecutionStatus(StrEnum):
    """How one try stands. `failed timed_out lost` spend an attempt; `released` does not."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"
    RELEASED = "released"


class ErrorInfo(Struct, frozen=True):
    """An error as it is stored and shown. Texts are storable: no NUL, no lone surrogate, 64 KiB at most."""

    type: str
    message: str
    traceback: str | None = None


class Succeeded(Struct, frozen=True, gc=False):
    """The handler returned; `result` is JSON text."""

    result: str


class Failed(Struct, frozen=True):
    """The handler raised, or its result could not be kept.

    `permanent`: no further attempt can help. `died`: its child process died under it. `delay_seconds`: the handler
    said when to try again (`RetryLater`).
    """

    error: ErrorInfo
    permanent: bool = False
    died: bool = False
    delay_seconds: float | None = None


class TimedOut(Struct, frozen=True):
    """The handler was stopped at its deadline."""

    error: ErrorInfo


class Lost(Struct, frozen=True):
    """The worker that ran it has no live lease any more."""

    error: ErrorInfo


class Snoozed(Struct, frozen=True):
    """The handler asked to come back later without spending an attempt."""

    delay_seconds: float
    message: str = ""


class Deferred(Struct, frozen=True):
    """Not begun, for it could not be now: to be queued again in so many seconds. Spends neither attempt nor snooze."""

    delay_seconds: float
    reason: str


class Released(Struct, frozen=True):
    """Handed back in order (drain, watchdog). `begun`: the handler had started."""

    reason: str
    begun: bool = True


class Cancelled(Struct, frozen=True):
    """The handler was stopped because its task was cancelled; only the execution is left to close."""

    error: ErrorInfo | None = None


Outcome = Succeeded | Failed | TimedOut | Lost | Snoozed | Deferred | Released | Cancelled

DIED = "HandlerDied"
"""`error.type` of an attempt whose child process died."""
