"""`python -m tests.benchmarks [--only NAME]... [--rounds N] [--scale F] [--report]`: measure. `make bench` does.

Prints each table when its cell is over. `--report` keeps the results of the cells that ran in results.json, and writes
docs/benchmarks.md and its pictures from all that are kept. `--only` takes the name of a cell. `--page` measures nothing and
writes the page and the pictures anew.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime

from tests.benchmarks.cell import Asked, Cell, load_cells
from tests.benchmarks.ground import running_ground
from tests.benchmarks.machine import commit, stolen_and_all, stolen_share, this_machine
from tests.benchmarks.page import told_tables, write_page
from tests.benchmarks.results import Found, Results, keep, read_results, set_machine
from tests.support import leaks


def main() -> int:
    """Measure what is asked for."""
    asked = _asked()
    if asked.page:
        _write(read_results())
        return 0
    leaks.mark_session()
    began = time.monotonic()
    for cell in _chosen(asked.only):
        found = _measured(cell, Asked(1 if cell.once else asked.rounds, asked.scale))
        print(
            f"\n{told_tables(found)}\n\n{cell.name}: {found.seconds} s, {found.stolen:.1%} stolen", flush=True
        )
        if asked.report:  # at once, so that an end half-way keeps what was measured
            keep(found)
    print(f"\nall in {time.monotonic() - began:.0f} s", flush=True)
    leaks.check_none_left({})
    if asked.report:
        _write(_with_machine())
    return 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="the measurements")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a cell; may be said again"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the sizes, for short trials")
    parser.add_argument(
        "--report", action="store_true", help="write results.json, docs/benchmarks.md, pictures"
    )
    parser.add_argument("--page", action="store_true", help="only write the page and the pictures anew")
    parser.add_argument("--list", action="store_true", help="name the cells, and run none")
    asked = parser.parse_args()
    if asked.list:
        parser.exit(0, "".join(f"{each.name:10} {each.title}\n" for each in load_cells()))
    return asked


def _chosen(names: list[str]) -> list[Cell]:
    cells = load_cells()
    if unknown := set(names) - {each.name for each in cells}:
        sys.exit(
            f"no cell is called {', '.join(sorted(unknown))}; there are {', '.join(c.name for c in cells)}"
        )
    return [each for each in cells if not names or each.name in names]


def _measured(cell: Cell, asked: Asked) -> Found:
    began, at, measured, before = time.monotonic(), datetime.now(UTC), commit(), stolen_and_all()
    tables = cell.run(asked)
    return Found(
        cell=cell.name,
        at=at.isoformat(timespec="seconds"),
        commit=measured,
        command=_command(cell, asked),
        rounds=asked.rounds,
        scale=asked.scale,
        seconds=round(time.monotonic() - began),
        stolen=round(stolen_share(before, stolen_and_all()), 3),
        tables=tables,
    )


def _command(cell: Cell, asked: Asked) -> str:
    """What measures this cell alone in the same way."""
    scale = "" if asked.scale == 1 else f" --scale {asked.scale:g}"
    return f'make bench ARGS="--only {cell.name} --rounds {asked.rounds}{scale}"'


def _with_machine() -> Results:
    """The results with the facts of the machine; how PostgreSQL keeps what it commits is asked of a running one."""
    with running_ground(workers=1) as ground:
        return set_machine(this_machine(ground.settings()))


def _write(results: Results) -> None:
    from tests.benchmarks.pictures import draw_all

    write_page(results)
    draw_all(results)


if __name__ == "__main__":
    sys.exit(main())
