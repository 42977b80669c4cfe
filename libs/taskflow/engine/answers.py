"""What others answer to webhooks and pushes, as we record it."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from taskflow.kit.clock import now
from taskflow.kit.outgoing import Answer

GONE = 410
RETRY_AFTER_SECONDS_MAX = 3_600.0
_KIB = 1024
_SAID_CHARS_MAX = 200


def header(answer: Answer, name: str) -> str | None:
    """The first header of that name (in lower case)."""
    return next((value for key, value in answer.headers if key.lower() == name), None)


def retry_after(answer: Answer) -> float | None:
    """In how many seconds to come back, an hour at most: RFC 9110, section 10.2.3. None: it does not say."""
    text = (header(answer, "retry-after") or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_SECONDS_MAX)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # what is no date, or one of no calendar
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, _seconds_until(moment)), RETRY_AFTER_SECONDS_MAX)


def _seconds_until(moment: datetime) -> float:
    return (moment - now()).total_seconds()


def said(answer: Answer) -> str:
    """An answer that is no success, in words."""
    status = f"answered {answer.status} {answer.reason}".strip()
    if 300 <= answer.status < 400:
        to = (header(answer, "location") or "nowhere")[:_SAID_CHARS_MAX]
        return f"RedirectRefused: {status}, to {to!r}; redirects are not followed"
    return f"HttpStatus: {status}"


def first_kib(body: bytes) -> str:
    """The beginning of a body as text that can be stored."""
    return body[:_KIB].decode(errors="replace").replace("\0", "�")
