"""Waiting for what must come to be, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def wait_until(
    predicate: Callable[[], T | Awaitable[T]], description: str, timeout: float = 10, interval: float = 0.02
) -> T:
    """Ask `predicate` (plain or async) until its answer is true, and give that."""
    until = time.monotonic() + timeout
    while True:
        answer = predicate()
        found = await answer if inspect.isawaitable(answer) else answer
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"not within {timeout} s: {description} (last answer: {found!r})")
        await asyncio.sleep(interval)


def wait_until_sync(
    predicate: Callable[[], T], description: str, timeout: float = 10, interval: float = 0.02
) -> T:
    """The same for tests and fixtures without an event loop."""
    until = time.monotonic() + timeout
    while True:
        if found := predicate():
            return found
        if time.monotonic() > until:
            raise AssertionError(f"not within {timeout} s: {description} (last answer: {found!r})")
        time.sleep(interval)
