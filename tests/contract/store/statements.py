"""The store's SQL constants, found by looking."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from taskflow import store


def _found() -> Iterator[tuple[str, str]]:
    for module in pkgutil.iter_modules(store.__path__):
        held = vars(importlib.import_module(f"{store.__name__}.{module.name}"))
        for name, value in held.items():
            if isinstance(value, str) and value.startswith("-- store."):
                yield f"store.{module.name}.{name.lower()}", value


STATEMENTS: dict[str, str] = dict(_found())
"""By name: `store.<module>.<constant in lower case>`."""
