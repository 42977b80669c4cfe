"""Failures on demand: every built-in type takes `forceFail` and `fail_times`, to show and test retries."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct, field

from taskflow import Context

_FALSE = frozenset({b"", b"false", b"null", b"0", b"0.0", b'""', b"[]", b"{}"})
_DIGITS_MAX = 9


class Knobs(Struct, kw_only=True):
    """What every built-in payload may bear. `fail_times: n`: the first n executions fail, over all lives."""

    force_fail: Any = field(default=False, name="forceFail")
    fail_times: Annotated[int, Meta(ge=0)] = 0


class _RawKnobs(Struct):
    force_fail: Raw = field(default_factory=Raw, name="forceFail")
    fail_times: Raw = field(default_factory=Raw)


_DECODER = msgspec.json.Decoder(_RawKnobs)


def obey(knobs: Knobs, context: Context) -> None:
    """Fail if the payload asks for it."""
    _fail(bool(knobs.force_fail), knobs.fail_times, context)


def obey_raw(payload: Raw, context: Context) -> None:
    """Fail if a payload that may be any JSON is an object that asks for it; all else in it is left unread."""
    try:
        knobs = _DECODER.decode(payload)
    except msgspec.ValidationError:  # not an object
        return
    times = bytes(knobs.fail_times)
    counted = times.isdigit() and len(times) <= _DIGITS_MAX
    _fail(bytes(knobs.force_fail) not in _FALSE, int(times) if counted else 0, context)


def _fail(always: bool, times: int, context: Context) -> None:
    if always:
        raise RuntimeError("forced failure")
    if context.number <= times:
        raise RuntimeError(f"forced failure {context.number} of {times}")
