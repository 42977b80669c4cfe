"""What a handler did, as an outcome: its result encoded, its exception judged and made storable.

Called where the handler ran: in the worker for coroutines, in the child process for functions.
"""

from __future__ import annotations

import os
import traceback
from types import TracebackType

from msgspec import Raw

from taskflow.domain.attempt import ErrorInfo, Failed, Snoozed, Succeeded, TimedOut
from taskflow.domain.errors import PermanentError, RetryLater, Snooze
from taskflow.domain.task import Claimed
from taskflow.handlers.results import UnstorableResult, encode_result
from taskflow.handlers.texts import MESSAGE_BYTES_MAX, NAME_BYTES_MAX, storable, text_of

FRAMES_MAX = 50
DELAY_SECONDS_MAX = 31_536_000
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep


def error_info(name: str, message: str, trace: str | None = None) -> ErrorInfo:
    """An ErrorInfo whose texts can be stored."""
    return ErrorInfo(
        storable(name, NAME_BYTES_MAX),
        storable(message, MESSAGE_BYTES_MAX),
        None if trace is None else storable(trace, keep="tail"),
    )


def returned(value: object, arguments: tuple[object, ...], claimed: Claimed) -> Succeeded | Failed:
    """The handler returned `value`; `arguments` is what it had been called with."""
    given = arguments[0] if arguments and isinstance(arguments[0], Raw) else None
    try:
        return Succeeded(encode_result(value, given, claimed.payload))
    except UnstorableResult as error:
        return Failed(error_info("UnstorableResult", str(error)), permanent=True)
    except Exception as error:  # a Struct's or an Enum's own code
        return Failed(
            error_info("UnstorableResult", f"{type(error).__name__}: {text_of(error)}"), permanent=True
        )


def refused(error: Exception) -> Failed:
    """The payload does not fit the handler's type; no further attempt can help."""
    return Failed(error_info("InvalidPayload", text_of(error)), permanent=True)


def raised(error: BaseException) -> Failed | Snoozed:
    """The handler raised `error`."""
    message = text_of(error)
    delay = _delay_of(error)
    if isinstance(error, Snooze) and delay is not None:
        return Snoozed(delay, storable(message, MESSAGE_BYTES_MAX))
    info = error_info(type(error).__name__, message, _trace(error))
    return Failed(info, permanent=isinstance(error, PermanentError), delay_seconds=delay)


def timed_out(claimed: Claimed, ended: str = "was stopped at its deadline") -> TimedOut:
    """The handler ran into its deadline."""
    return TimedOut(error_info("TimedOut", f"the handler {ended}, after {claimed.timeout_seconds:g} s"))


def _delay_of(error: BaseException) -> float | None:
    """When to come back; None also if a subclass has made nonsense of it."""
    if not isinstance(error, (RetryLater, Snooze)):
        return None
    delay = getattr(error, "delay_seconds", None)
    return float(delay) if isinstance(delay, (int, float)) and 0 <= delay <= DELAY_SECONDS_MAX else None


def _trace(error: BaseException) -> str | None:
    """The traceback from the handler's own frame on; None if even formatting it fails."""
    try:
        trace = _below_us(error.__traceback__)
        report = traceback.TracebackException(type(error), error, trace, limit=-FRAMES_MAX, compact=True)
        return "".join(report.format())
    except BaseException:  # an exception's own code may raise anything
        return None


def _below_us(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    return trace
