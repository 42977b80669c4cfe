"""How a trace is carried from one program to the next, and what makes its spans.

W3C Trace Context writes it as `00-<trace>-<span>-<flags>` (https://www.w3.org/TR/trace-context/).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextvars import Context
from typing import Literal, Protocol

Kind = Literal["server", "consumer"]
Attributes = Mapping[str, str | int | float | bool]
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def is_traceparent(text: str) -> bool:
    """Whether it is one that we understand; others are to be ignored."""
    return _TRACEPARENT.fullmatch(text) is not None


def is_sampled(traceparent: str) -> bool:
    """Whether whoever began this trace wants spans."""
    return bool(int(traceparent[-2:], 16) & 1)


def trace_id(traceparent: str | None) -> str | None:
    """The trace's id, for log lines."""
    return traceparent[3:35] if traceparent else None


def span_id_of(*names: object) -> str:
    """A span's id made of names, so that another program can link to the span without being told of it."""
    digest = hashlib.sha256(":".join(map(str, names)).encode()).hexdigest()[:16]
    return digest if int(digest, 16) else "0" * 15 + "1"


class Span(Protocol):
    """Something under way."""

    traceparent: str
    """What others take for their parent."""

    def end(
        self, error: tuple[str, str, str | None] | None = None, **attributes: str | int | float | bool
    ) -> None:
        """It is over. `error`: type, message and traceback of why it failed."""


class Tracer(Protocol):
    """Makes spans, and sends them in the background."""

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: str | None,
        attributes: Attributes,
        *,
        span_id: str | None = None,
        link: str | None = None,
    ) -> Span:
        """A span of that name. `link`: the id of another span of the same trace that led to it."""

    def enter(self, variables: Context, traceparent: str) -> None:
        """Let what runs with these context variables see this as the present span."""

    def close(self) -> None:
        """Send what is left, for a moment at most."""
