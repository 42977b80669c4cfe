"""`python -m tests.chaos [--short] [--only NAME]... [--at-once N] [--report]`: run the suite. `make chaos` does.

Exit code 0 if every cell passed. `--report` writes tests/chaos/results.json and docs/reliability.md, once all cells have
run in full. `--only` takes a part of a cell's name, or the name of a module of cells. The logs of cells that failed are
kept in the folder of `--logs`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.chaos.cell import Cell, Scale, load_cells
from tests.chaos.judge import Verdict
from tests.chaos.suite import Suite
from tests.support import leaks, prometheus


def main() -> int:
    """Run the cells that are asked for."""
    asked = _asked()
    cells = _chosen(load_cells(asked.only), asked.only)
    if asked.short and not asked.only:
        cells = [each for each in cells if not each.full_only]
    if asked.list:
        for each in cells:
            print(f"{each.module:12} {each.name}")
        return 0
    cells = _playable(cells, report=asked.report)
    asked.logs.mkdir(parents=True, exist_ok=True)
    leaks.mark_session()
    began = time.monotonic()
    with Suite(cells, Scale(asked.short), asked.at_once, logs=asked.logs, heard=_tell) as suite:
        verdicts = [suite.verdicts[each.name].result() for each in cells]
    leaks.check_none_left({})
    seconds = time.monotonic() - began
    failed = [verdict.cell for verdict in verdicts if not verdict.passed]
    print(
        f"{len(verdicts) - len(failed)} of {len(verdicts)} cells passed in {seconds:.0f} s; logs in {asked.logs}"
    )
    if asked.report and not (asked.short or asked.only):
        from tests.chaos.report import write_report

        write_report(verdicts, at_once=asked.at_once, seconds=seconds)
    return 1 if failed else 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="the chaos suite")
    parser.add_argument("--short", action="store_true", help="the short form: a twentieth of the tasks")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument(
        "--report",
        action="store_true",
        help="write results.json and docs/reliability.md, if all cells ran in full",
    )
    parser.add_argument("--logs", type=Path, default=Path("/tmp/taskflow-chaos"), metavar="FOLDER")
    parser.add_argument("--list", action="store_true", help="name the cells, and run none")
    asked = parser.parse_args()
    if asked.report and (asked.short or asked.only):
        parser.error(
            "a report tells of the full form of all cells: --report goes with neither --short nor --only"
        )
    return asked


def _chosen(cells: list[Cell], parts: list[str]) -> list[Cell]:
    chosen = [each for each in cells if not parts or any(p in each.name or p == each.module for p in parts)]
    if not chosen:
        sys.exit(f"no cell is called {parts}")
    return chosen


def _playable(cells: list[Cell], *, report: bool) -> list[Cell]:
    """Those whose tools are here. A report leaves none out."""
    playable = [each for each in cells if each.tool is None or prometheus.found(each.tool)]
    without = {each.tool for each in cells if each not in playable}
    if without and (report or not playable):
        sys.exit(
            f"expected {', '.join(map(str, without))} on the PATH or in PROMETHEUS_BIN, as cells need it"
        )
    for each in cells:
        if each not in playable:
            print(f"skip {each.name}: no {each.tool} here", flush=True)
    return playable


def _tell(verdict: Verdict) -> None:
    said = "ok  " if verdict.passed else "FAIL"
    facts = f"{verdict.accepted} accepted, {verdict.lost} lost, {verdict.twice} twice, {verdict.seconds} s"
    notes = ", ".join(f"{key}: {value}" for key, value in verdict.notes.items())
    print(f"{said} {verdict.cell} ({verdict.took} s): {facts}; doctor {verdict.doctor}; {notes}", flush=True)
    if not verdict.passed:
        print(f"     unasked: {verdict.unasked}\n     {verdict.fault}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
