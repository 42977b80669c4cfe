"""What a cell of the suite is, and which there are: each measures one thing, on systems it starts itself."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import NamedTuple

from tests.benchmarks.figures import Table

MODULES = (
    "drain",
    "bulk",
    "single",
    "latency",
    "lanes",
    "backlog",
    "history",
    "queues",
    "idle",
    "memory",
    "traces",
    "letters",
    "million",
    "screens",
    "auth",
    "feed",
    "pushes",
    "peers",
)
"""The modules of cells, in the order of the page."""


class Asked(NamedTuple):
    """How thoroughly: a round is one measurement after the warm-up; the sizes are multiplied by `scale`."""

    rounds: int = 3
    scale: float = 1.0

    def size(self, full: int) -> int:
        """So many of something, or a part of them."""
        return max(10, round(full * self.scale))

    def seconds(self, full: float) -> float:
        """So long, or a part of it."""
        return max(1.0, full * self.scale)


class Cell(NamedTuple):
    """One thing to measure. `means` is its module's docstring, which stands in the page.

    `once`: more rounds would tell the same.
    """

    name: str
    title: str
    means: str
    run: Callable[[Asked], list[Table]]
    once: bool = False


CELLS: dict[str, Cell] = {}


def cell(
    title: str, *, once: bool = False
) -> Callable[[Callable[[Asked], list[Table]]], Callable[[Asked], list[Table]]]:
    """Make a function the cell of its module."""

    def register(run: Callable[[Asked], list[Table]]) -> Callable[[Asked], list[Table]]:
        name = run.__module__.rpartition(".")[2]
        means = inspect.getdoc(inspect.getmodule(run)) or ""
        CELLS[name] = Cell(name, title, means, run, once)
        return run

    return register


def load_cells() -> list[Cell]:
    """All cells, in the order of the page."""
    for name in MODULES:
        importlib.import_module(f"tests.benchmarks.{name}")
    return [CELLS[name] for name in MODULES]
