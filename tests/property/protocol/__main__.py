"""`python -m tests.property.protocol [--pairs] [--traces] [--jobs N]`: try everything, print a table, exit 1 if a law
does not hold, or if a mutant is not caught.

Without `--pairs` what the tests try, some seconds; with it every pair of faults, about a million states, some minutes.
`--traces` prints how each mutant is caught.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from typing import NamedTuple

from tests.property.protocol.check import check
from tests.property.protocol.mutants import mutants
from tests.property.protocol.scenarios import Scenario, full, short


class Result(NamedTuple):
    """What a scenario came to; `good`: no law is broken, or a mutant was caught. `traces` as text, by law."""

    name: str
    good: bool
    states: int
    seconds: float
    traces: dict[str, str]


def tried(scenario: Scenario) -> Result:
    """Check one scenario."""
    began = time.perf_counter()
    space, found = check(scenario.scope, until=scenario.law)
    good = not found if scenario.law is None else scenario.law in found
    traces = {law: str(example) for law, example in found.items()}
    return Result(scenario.name, good, len(space.states), time.perf_counter() - began, traces)


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.property.protocol")
    parser.add_argument("--pairs", action="store_true", help="every pair of faults, too")
    parser.add_argument("--traces", action="store_true", help="print how each mutant is caught")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args(arguments)
    laws: Iterable[Scenario] = chain(short(), full()) if options.pairs else short()
    began = time.perf_counter()
    with ProcessPoolExecutor(options.jobs) as pool:
        kept = _printed(pool.map(tried, laws), traces=False)
        caught = _printed(pool.map(tried, mutants()), traces=options.traces)
    results = kept + caught
    bad = [result.name for result in results if not result.good]
    states = sum(result.states for result in results)
    print(
        f"\n{len(kept)} scenarios, {len(caught)} mutants, {states:,} states, {time.perf_counter() - began:.0f} s"
    )
    print(f"NOT AS IT MUST BE: {', '.join(bad)}" if bad else "every law holds, every mutant is caught")
    return 1 if bad else 0


def _printed(results: Iterable[Result], *, traces: bool) -> list[Result]:
    done = []
    for result in results:
        done.append(result)
        verdict = ("caught" if result.traces else "ok") if result.good else "NO"
        print(f"{verdict:6} {result.states:8,} states {result.seconds:6.1f} s  {result.name}", flush=True)
        if traces or (result.traces and not result.good):
            print("\n".join(result.traces.values()))
    return done


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
