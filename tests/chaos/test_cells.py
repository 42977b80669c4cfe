"""The short form of the chaos suite: all cells but a few long ones, with a twentieth of the tasks, five at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.chaos.cell import Scale, load_cells
from tests.chaos.report import PAGE, RESULTS, cells_without_results, read_results, told
from tests.chaos.suite import Suite
from tests.support import leaks, prometheus

CELLS = [each for each in load_cells() if not each.full_only]
AT_ONCE = 5
SECONDS_MAX = 400
"""Until the first cell is waited for the others run too; all of them together may take so long."""


@pytest.fixture(scope="module")
def suite(request: pytest.FixtureRequest) -> Iterator[Suite]:
    """The cells that were asked for, at work."""
    before = leaks.running()
    names = {item.callspec.params["name"] for item in request.session.items if hasattr(item, "callspec")
             and item.module is request.module}  # fmt: skip
    playable = [
        each for each in CELLS if each.name in names and (each.tool is None or prometheus.found(each.tool))
    ]
    with Suite(playable, Scale(short=True), AT_ONCE) as running:
        yield running
    leaks.check_none_left(before)


@pytest.fixture(autouse=True)
def nothing_left_running() -> None:
    """Other cells run meanwhile: it is looked for once all have ended."""


@pytest.mark.timeout(SECONDS_MAX)
@pytest.mark.parametrize("name", [each.name for each in CELLS])
def test_cell(suite: Suite, name: str) -> None:
    if name not in suite.verdicts:
        pytest.skip("no prometheus here: Debian's package has it")
    verdict = suite.verdicts[name].result(SECONDS_MAX)
    print(verdict.log[-12_000:])
    assert verdict.fault is None, verdict.fault
    assert (verdict.lost, verdict.twice, verdict.unasked) == (0, 0, 0)
    assert verdict.doctor == "clean"
    assert verdict.passed
    assert verdict.accepted


def test_the_page_tells_the_last_full_run_of_all_cells() -> None:
    assert RESULTS.exists(), "run `make chaos`"
    assert cells_without_results() == set(), "run `make chaos`"
    results = read_results()
    assert [each.cell for each in results.cells if not each.passed] == []
    assert told(results) in PAGE.read_text(), "the tables are made by `make chaos`, not by hand"
