"""What a module logs, whatever else has been set up for logs in this process before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from structlog.testing import capture_logs

from taskflow.kit.logging import get_logger


@contextmanager
def logged(module: ModuleType) -> Iterator[list[Any]]:
    """The lines, as dicts. A logger that has been used keeps the processors of then: it gets another meanwhile."""
    used = module.log
    try:
        with capture_logs() as lines:
            module.log = get_logger(module.__name__)  # type: ignore[attr-defined]
            yield lines
    finally:
        module.log = used  # type: ignore[attr-defined]
