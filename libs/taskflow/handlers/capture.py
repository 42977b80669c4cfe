"""`logging` and `print` inside a handler land in its task's log; outside of one nothing changes.

Entered by the runner (for the worker process) and by a child process. Two in one process share it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TextIO

from taskflow.handlers.context import Context, current

Find = Callable[[], Context | None]
"""Which execution the calling code belongs to."""

_FORMAT = logging.Formatter("%(message)s")


class Stream:
    """Stands for sys.stdout or sys.stderr: writes go to the running handler's log, else on."""

    def __init__(self, real: TextIO, level: str, find: Find) -> None:
        self.real = real
        self.users = 0
        self._find = find
        self._level = level

    def write(self, text: str) -> int:
        """Write as a text stream does."""
        context = self._find()
        if context is None or not isinstance(text, str):
            return self.real.write(text)
        context._print(self._level, text)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class TaskLogHandler(logging.Handler):
    """The one handler on the root logger that routes records to the running handler's log."""

    def __init__(self, find: Find) -> None:
        super().__init__()
        self.users = 0
        self._find = find

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record` to the task's log."""
        context = self._find()
        if context is not None:
            context._line(_level_of(record.levelno), _FORMAT.format(record))
        elif self._is_alone() and logging.lastResort and record.levelno >= logging.lastResort.level:
            logging.lastResort.handle(record)  # as if this handler were not there

    def _is_alone(self) -> bool:
        return all(isinstance(handler, TaskLogHandler) for handler in logging.getLogger().handlers)


def _level_of(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"


class Capture:
    """While entered, handlers' prints and log records are routed to their tasks."""

    def __init__(self, find: Find = current) -> None:
        self._find = find
        self._quieted: list[tuple[logging.Handler | logging.Logger, int]] = []

    def __enter__(self) -> Self:
        self._hook_logging()
        for name, level in (("stdout", "info"), ("stderr", "warning")):
            stream = getattr(sys, name)
            if not isinstance(stream, Stream):
                stream = Stream(stream, level, self._find)
                setattr(sys, name, stream)
            stream.users += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, Stream):
                stream.users -= 1
                if not stream.users:
                    setattr(sys, name, stream.real)
        self._unhook_logging()

    def _hook_logging(self) -> None:
        root = logging.getLogger()
        handler = next((known for known in root.handlers if isinstance(known, TaskLogHandler)), None)
        if handler is None:
            handler = TaskLogHandler(self._find)
            self._admit_info(root)
            root.addHandler(handler)
        handler.users += 1
        self._handler = handler

    def _admit_info(self, root: logging.Logger) -> None:
        """Let records of level info reach tasks, and no more of them the handlers that are there already."""
        level = root.level
        if level <= logging.INFO:
            return
        for known in root.handlers:
            if known.level < level:
                self._quieted.append((known, known.level))
                known.setLevel(level)
        self._quieted.append((root, level))
        root.setLevel(logging.INFO)

    def _unhook_logging(self) -> None:
        self._handler.users -= 1
        if not self._handler.users:
            logging.getLogger().removeHandler(self._handler)
        for quieted, level in self._quieted:
            quieted.setLevel(level)
        self._quieted = []
