"""Traces, if they are turned on: which spans there are is said here, how they are made and sent is OpenTelemetry's part.

`otel` is imported only when a program turns traces on; while they are off, `tracer()` is None and nothing else is done.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

from taskflow.kit.lifecycle import EXIT_SETTINGS, ProgramError
from taskflow.kit.trace_context import Tracer


class _State:
    tracer: Tracer | None = None
    ratio: float = 0.0


def tracer() -> Tracer | None:
    """The tracer of this program; None while traces are off."""
    return _State.tracer


def drawn() -> bool:
    """The dice: whether something that nobody has decided of yet is to be traced."""
    return random.random() < _State.ratio  # nosec B311  # dice, not a secret


@contextlib.contextmanager
def tracing(service: str, *, on: bool, ratio: float = 0.0) -> Iterator[None]:
    """Traces on while inside, if `on`; `ratio` of what no caller has decided of is traced."""
    if not on:
        yield
        return
    made = _otel(service)
    _State.tracer, _State.ratio = made, ratio
    try:
        yield
    finally:
        _State.tracer, _State.ratio = None, 0.0
        made.close()


def _otel(service: str) -> Tracer:
    try:
        from taskflow.kit.otel import OtelTracer
    except ImportError as error:
        raise ProgramError(
            f"TRACES=true needs the extra otel ({error}); pip install 'taskflow-platform[otel]'",
            EXIT_SETTINGS,
        ) from error
    return OtelTracer(service)
