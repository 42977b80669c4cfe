"""What measurements come to: figures with their spread, in rows, in tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, field


class Spread(Struct):
    """The same figure of several rounds."""

    median: float
    least: float
    most: float
    rounds: list[float]


Figure = Spread | float | str


class Row(Struct):
    """What was measured, and its figures by the name of their column, the unit in the name."""

    what: str
    figures: dict[str, Figure]


class Table(Struct):
    """Rows that may be compared. `curves` are for pictures only: by row, points of a distribution."""

    title: str
    rows: list[Row]
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def row(self, what: str) -> Row:
        """The row of that name."""
        return next(row for row in self.rows if row.what == what)


CURVE_POINTS = (0, 1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 97, 98, 99, 99.5, 99.9, 100)


def short(value: float) -> float:
    """Four figures say all that a measurement knows."""
    return float(f"{value:.4g}")


def spread(values: Iterable[float]) -> Spread:
    """The spread of a figure over the rounds."""
    rounds = [short(value) for value in values]
    return Spread(short(statistics.median(rounds)), min(rounds), max(rounds), rounds)


def spreads(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The spread of each figure over the rounds."""
    return {name: spread(each[name] for each in rounds) for name in rounds[0]}


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of the sorted values do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def percentiles(values: Iterable[float], *percents: float) -> dict[str, float]:
    """By the names of columns: `p50 ms`, and `max ms` for 100."""
    ordered = sorted(values)
    return {
        "max ms" if percent == 100 else f"p{percent:g} ms": percentile(ordered, percent)
        for percent in percents
    }


def curve(values: Iterable[float]) -> list[tuple[float, float]]:
    """A distribution, as points of (percent, value)."""
    ordered = sorted(values)
    return [(float(percent), short(percentile(ordered, percent))) for percent in CURVE_POINTS]


def number(value: float) -> str:
    """As people read it."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
