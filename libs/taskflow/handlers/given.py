"""What the worker's program gives its own handlers, by name: settings, which they may not read themselves.

Plain values that MessagePack can carry: child processes are given the same before they import their handlers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

T = TypeVar("T")

_given: dict[str, object] = {}


def give(values: Mapping[str, object]) -> None:
    """From now on handlers of this process find these values; of the same name, the last one stands."""
    _given.update(values)


def given(name: str, kind: type[T]) -> T | None:
    """What was given under this name, as `kind`; None if nothing was."""
    value = _given.get(name)
    return None if value is None else msgspec.convert(value, kind)


def all_given() -> dict[str, object]:
    """Everything, for a child process."""
    return dict(_given)
