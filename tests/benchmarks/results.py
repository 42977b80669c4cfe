"""What runs found, kept in tests/benchmarks/results.json: the last result of each cell, and the machine."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct, field
from tests.benchmarks.figures import Table
from tests.benchmarks.machine import Machine

RESULTS = Path(__file__).with_name("results.json")


class Found(Struct):
    """What one cell found, and when, of which commit, how. `scale` multiplied the sizes; 1 is in full.

    `stolen` is the part of the processors' time that went to other machines meanwhile.
    """

    cell: str
    at: str
    commit: str
    command: str
    rounds: int
    scale: float
    seconds: int
    stolen: float
    tables: list[Table]

    def table(self, title: str) -> Table:
        """The table of that title."""
        return next(table for table in self.tables if table.title == title)


class Results(Struct):
    """The last result of each cell, by its name."""

    machine: Machine | None = None
    cells: dict[str, Found] = field(default_factory=dict)


def read_results() -> Results:
    """What is kept."""
    return msgspec.json.decode(RESULTS.read_bytes(), type=Results) if RESULTS.exists() else Results()


def keep(found: Found) -> None:
    """Keep what a cell found; the others keep what they had."""
    results = read_results()
    results.cells[found.cell] = found
    _write(results)


def set_machine(machine: Machine) -> Results:
    """Keep the facts of the machine; all results."""
    results = read_results()
    results.machine = machine
    _write(results)
    return results


def _write(results: Results) -> None:
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
