"""The machinery of the measurements at a tiny scale, so that it does not rot, and the page that tells their results.

What rates are reached is no test: `make bench` measures that, alone on its machine.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.benchmarks import auth, feed, letters, million, single
from tests.benchmarks.cell import MODULES, Asked, load_cells
from tests.benchmarks.drain import drain
from tests.benchmarks.figures import percentiles, spread
from tests.benchmarks.ground import running_ground
from tests.benchmarks.page import PAGE, PICTURES, told
from tests.benchmarks.results import read_results


def test_a_system_is_drained_and_submitted_to() -> None:
    with running_ground(workers=1) as ground, single.echo_app() as port:
        drained = drain(ground, ground.submit_many, 200)
        assert drained.per_second > 0
        assert {"api", "postgres", "nats", "worker 1"} <= drained.used.keys()
        assert drained.used["worker 1"].memory_bytes > 0 and drained.used["postgres"].memory_bytes > 0
        assert single.round_of(ground, port, 100, 100)["submit / echo"] > 0
        assert ground.settings()["fsync"] == "on"


def test_percentiles_are_of_the_values() -> None:
    assert percentiles(range(1, 101), 50, 99, 100) == {"p50 ms": 50, "p99 ms": 99, "max ms": 100}
    assert spread([3.0, 1.0, 2.0]).median == 2.0


def test_the_page_tells_the_results_of_all_cells() -> None:
    results = read_results()
    assert results.cells.keys() == set(MODULES), "run `make bench`"
    assert told(results) in PAGE.read_text(), "the tables are made by `make bench`, not by hand"


@pytest.mark.parametrize("name", [name for name, _ in PICTURES.values()])
def test_pictures_are_small(name: str) -> None:
    assert 0 < (PAGE.parent / "benchmarks" / name).stat().st_size < 60 * 1024


def test_every_module_of_a_cell_says_what_it_measures() -> None:
    assert [each.name for each in load_cells() if len(each.means.splitlines()) < 3] == []
    assert {path.stem for path in Path(__file__).parent.glob("*.py")} >= set(MODULES)


def test_credentials_are_measured_in_the_small() -> None:
    submits, sign_ins = auth.measure(Asked(1, 0.01))
    assert all(spread.least > 0 for spread in submits.rows[0].figures.values())
    assert sign_ins.rows[0].figures["known / unknown"] > 0


def test_letters_are_looked_through_and_replayed_in_the_small() -> None:
    questions, replays = letters.measure(Asked(1, 0.01))
    assert {row.what for row in questions.rows} >= set(letters.QUESTIONS)
    undisturbed, killed = replays.rows
    assert "two kills" in killed.what
    assert (undisturbed.figures["replayed twice"], killed.figures["replayed twice"]) == (0, 0)


def test_many_tasks_are_listed_in_the_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A twentieth of them. That every answer is right is checked on the way; the plans, by the store's contract."""
    monkeypatch.setattr(million, "ASKED", 3)
    lists, searches, figures, series = million.measure(Asked(1, 0.05))
    assert {"failed", "of a type that has none"} <= {row.what for row in lists.rows}
    assert all(row.figures["p50 ms"] for table in (lists, searches, figures) for row in table.rows)
    assert series.row("an hour by the minute, by type").figures["series"] == 10


def test_the_feed_is_read_in_the_small() -> None:
    reading, meanwhile, cpu = feed.measured(feed.WAYS[:1], 3.0)
    told = reading.rows[0].figures
    assert (told["missing"], told["out of order"], told["resyncs"]) == (0, 0, 0)
    assert told["MB/s written"] > 10, "readers were told too little"
    assert meanwhile.rows[0].figures["beside p99 ms"] > 0
    assert cpu.rows[0].figures["readers"] > 0
