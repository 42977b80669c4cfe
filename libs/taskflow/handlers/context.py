"""What a handler is told about its task, and what it can tell back.

Made by the runner for `async def` handlers and by a child process for `def` handlers; both give it an `emit`
that carries log lines and progress away.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

from taskflow.domain.task import Claimed
from taskflow.handlers.texts import TEXT_BYTES_MAX, storable, text_of

Kind = Literal["log", "progress"]
Emit = Callable[[Kind, str, str, float | None], None]
"""`emit(kind, level, text, fraction)`: `fraction` is None for log lines, `level` is "info" for progress."""

LOG_BYTES_MAX = 4 * 1024 * 1024
"""What one execution may log; each line counts 64 bytes besides its text."""

_LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "warn": "warning",
    "error": "error",
    "critical": "error",
}


class Done:
    """Nothing to wait for: lets `await context.progress(0.5)` and `context.progress(0.5)` mean the same."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


DONE = Done()


class TaskLog:
    """`context.log("text")`, `context.log.warning("text")`: lines of the task's log."""

    __slots__ = ("_write",)

    def __init__(self, write: Callable[[str, str], None]) -> None:
        self._write = write

    def __call__(self, text: object, *, level: str = "info") -> Done:
        """Write a line; `level` is debug, info, warning or error."""
        known = _LEVELS.get(level)
        if known is None:
            raise ValueError(f"level is {level!r}; expected debug, info, warning or error")
        self._write(known, text_of(text))
        return DONE

    def debug(self, text: object) -> Done:
        """Write a line of level debug."""
        return self(text, level="debug")

    def info(self, text: object) -> Done:
        """Write a line of level info."""
        return self(text, level="info")

    def warning(self, text: object) -> Done:
        """Write a line of level warning."""
        return self(text, level="warning")

    def error(self, text: object) -> Done:
        """Write a line of level error."""
        return self(text, level="error")


class Context:
    """One execution, as its handler sees it."""

    __slots__ = ("_cancelled", "_claimed", "_closed", "_deadline", "_emit", "_metadata", "_partial", "_room")

    def __init__(self, claimed: Claimed, deadline: float, emit: Emit) -> None:
        self._claimed = claimed
        self._deadline = deadline
        self._emit = emit
        self._cancelled = False
        self._closed = False
        self._metadata: dict[str, Any] | None = None
        self._partial: dict[str, str] = {}
        self._room = LOG_BYTES_MAX

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self._claimed.id

    @property
    def version(self) -> int:
        """The fencing token: a later execution of the same task has a greater one."""
        return self._claimed.version

    @property
    def life(self) -> int:
        """1 at first; each replay begins the next."""
        return self._claimed.life

    @property
    def attempt(self) -> int:
        """Which try of this life it is, from 1."""
        return self._claimed.attempt

    @property
    def max_attempts(self) -> int:
        """How many tries a life has."""
        return self._claimed.max_attempts

    @property
    def number(self) -> int:
        """Which execution of the task it is, over all lives, from 1."""
        return self._claimed.number

    @property
    def deadline(self) -> datetime:
        """When the handler is stopped, UTC."""
        return datetime.fromtimestamp(self._deadline, UTC)

    @property
    def tags(self) -> list[str]:
        """The task's tags."""
        return list(self._claimed.tags)

    @property
    def metadata(self) -> dict[str, Any]:
        """The task's metadata."""
        if self._metadata is None:
            self._metadata = json.loads(self._claimed.metadata)
        return self._metadata

    @property
    def idempotency_key(self) -> str:
        """`<task id>:<life>`: the same for every try of one life, for services that take such a key."""
        return f"{self._claimed.id}:{self._claimed.life}"

    @property
    def traceparent(self) -> str | None:
        """The W3C trace context to hand on to what the handler calls; None if the task was submitted without one and is
        not traced."""
        return self._claimed.trace

    @property
    def cancelled(self) -> bool:
        """Whether the handler has been asked to end: cancelled, past its deadline, or handed back."""
        return self._cancelled

    @property
    def log(self) -> TaskLog:
        """Lines of the task's log: `context.log("text")`, `context.log.error("text")`."""
        return TaskLog(self._line)

    def progress(self, fraction: float, message: str | None = None) -> Done:
        """Say how far the work has come, 0 to 1. May be awaited, need not be."""
        if not 0 <= fraction <= 1 or math.isnan(fraction):
            raise ValueError(f"fraction is {fraction!r}; expected 0 to 1")
        if not self._closed:
            text = "" if message is None else storable(text_of(message))
            self._send("progress", "info", text, float(fraction))
        return DONE

    def _line(self, level: str, text: str) -> None:
        if self._closed or self._room < 0:
            return
        text = storable(text)
        self._room -= len(text) + 64
        if self._room < 0:
            level, text = (
                "warning",
                f"the log of this execution is full ({LOG_BYTES_MAX} bytes); the rest is dropped",
            )
        self._send("log", level, text, None)

    def _send(self, kind: Kind, level: str, text: str, fraction: float | None) -> None:
        token = CURRENT.set(None)  # what the receiver itself logs is not the task's
        try:
            self._emit(kind, level, text, fraction)
        finally:
            CURRENT.reset(token)

    def _print(self, level: str, text: str) -> None:
        """Take what was written to a stream; whole lines become lines of the log."""
        *lines, rest = (self._partial.pop(level, "") + text).split("\n")
        for line in lines:
            self._line(level, line)
        if len(rest) > TEXT_BYTES_MAX:
            self._line(level, rest)
        elif rest:
            self._partial[level] = rest

    def _close(self) -> None:
        """The handler has ended: flush what was printed without a newline, and fall silent."""
        for level, rest in self._partial.items():
            self._line(level, rest)
        self._partial = {}
        self._closed = True


CURRENT: ContextVar[Context | None] = ContextVar("taskflow_context", default=None)
"""The execution this code runs in; `asyncio.to_thread` carries it along. Read by `capture`."""


def current() -> Context | None:
    """The context of the running handler, or None outside of one and after its end."""
    context = CURRENT.get()
    return None if context is None or context._closed else context
