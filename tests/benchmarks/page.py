"""docs/benchmarks.md, whose part between the marks is made from results.json."""

from __future__ import annotations

from tests.benchmarks import published
from tests.benchmarks.cell import load_cells
from tests.benchmarks.figures import Figure, Spread, Table, number
from tests.benchmarks.ground import DEFAULT_CONCURRENCY, STATED_CONCURRENCY
from tests.benchmarks.machine import Machine
from tests.benchmarks.results import Found, Results
from tests.support.systems import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- made by `make bench`; not by hand -->", "<!-- end of what `make bench` made -->"
PICTURES = {
    "drain": (
        "drain.png",
        "Drain rates of TaskFlow, of PgQueuer in the same run, and of others measured elsewhere",
    ),
    "latency": ("latency.png", "Distribution of the time from submit to start, and to the result"),
    "backlog": ("growth.png", "Drain rates relative to the smallest backlog, history and number of queues"),
}
"""By the cell whose section shows it."""


def write_page(results: Results) -> None:
    """Tell the results in the page; what people wrote around them stays."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{told(results)}{after}")


def told(results: Results) -> str:
    """The part of the page that is made: where, then a section for each cell."""
    parts = [BEGIN, *([f"## Where\n\n{_machine(results.machine)}"] if results.machine else [])]
    parts += ["## In short", _in_short(results)]
    for cell in load_cells():
        if found := results.cells.get(cell.name):
            parts += [f"## {cell.title}", cell.means.strip(), _provenance(found)]
            parts.append(told_tables(found))
            if cell.name in PICTURES:
                name, said = PICTURES[cell.name]
                parts.append(f"![{said}](benchmarks/{name})")
    parts += ["## Other queues", _others(), published.table()]
    return "\n\n".join([*parts, END])


_STATED = f"concurrency {STATED_CONCURRENCY}, in batches"
# What is told first: the words for it, then cell, table, row and column. What was not measured is left out.
_IN_SHORT = (
    ("drained by one worker, tasks/s", "drain", "Drain", f"1 worker, {_STATED}", "tasks/s"),
    ("drained by two workers, tasks/s", "drain", "Drain", f"2 workers, {_STATED}", "tasks/s"),
    (
        "as many times what PgQueuer drains, one worker each",
        "peers",
        "Peers",
        "1 worker each",
        "TaskFlow / PgQueuer",
    ),
    (
        "as many times what PgQueuer drains, two workers each",
        "peers",
        "Peers",
        "2 workers each",
        "TaskFlow / PgQueuer",
    ),
    ("submitted in bulk by one caller, tasks/s", "bulk", "Bulk submit", "1 caller", "tasks/s"),
    ("submitted singly, tasks/s", "single", "Single submits", "64 connections", "submits/s"),
    ("of what a bare echo app answers", "single", "Single submits", "64 connections", "submit / echo"),
    ("submit to start at 100/s, p50, ms", "latency", "Latency", "submit to start at 100/s", "p50 ms"),
    ("submit to start at 100/s, p99, ms", "latency", "Latency", "submit to start at 100/s", "p99 ms"),
    ("transactions a minute when idle", "idle", "Idle", "the database", "transactions a minute"),
)


def _in_short(results: Results) -> str:
    lines = [
        f"| {words} | {_figure(results.cells[cell].table(table).row(row).figures[column])} |"
        for words, cell, table, row, column in _IN_SHORT
        if cell in results.cells
    ]
    trial = any(found.scale != 1 for found in results.cells.values())
    warning = "**Some of what follows is from trial runs with smaller sizes**, which each section says.\n\n"
    return warning * trial + "| | |\n|---|--:|\n" + "\n".join(lines)


def told_tables(found: Found) -> str:
    """The tables of a cell."""
    return "\n\n".join(map(_table, found.tables))


def _machine(machine: Machine) -> str:
    lines = [
        (
            "machine",
            f"{machine.cores} cores, {machine.processor}, {machine.memory_gib} GiB, {machine.kernel}",
        ),
        ("Python", f"{machine.python}; {_pairs(machine.packages)}"),
        ("servers", f"PostgreSQL {machine.postgres}, nats-server {machine.nats}, both on the same machine"),
        (
            "stated concurrency",
            f"`WORKER_CONCURRENCY={STATED_CONCURRENCY}`; the default is {DEFAULT_CONCURRENCY}",
        ),
        ("durability", f"{_pairs(machine.durability, ' = ')}; JetStream on files, synced every 100 ms"),
    ]
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in lines)


def _provenance(found: Found) -> str:
    sizes = "" if found.scale == 1 else f", **at {found.scale:g} of the full sizes**"
    rounds = "one round" if found.rounds == 1 else f"{found.rounds} rounds"
    noise = f"{found.stolen:.1%} of the processors' time went to other machines"
    return (
        f"*{rounds}{sizes}, in {found.seconds} s, {noise}; {found.at[:10]}, commit `{found.commit}`: "
        f"`{found.command}`*"
    )


def _table(table: Table) -> str:
    """Figures as `median (least–most)`."""
    columns = list(dict.fromkeys(name for row in table.rows for name in row.figures))
    lines = [f"| {table.title} | " + " | ".join(columns) + " |", "|---|" + "--:|" * len(columns)]
    for row in table.rows:
        cells = [_figure(row.figures.get(name, "")) for name in columns]
        lines.append(f"| {row.what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _figure(figure: Figure) -> str:
    if isinstance(figure, str):
        return figure
    if isinstance(figure, Spread):
        if figure.least == figure.most:
            return number(figure.median)
        return f"{number(figure.median)} ({number(figure.least)}–{number(figure.most)})"
    return number(figure)


def _pairs(facts: dict[str, str], mark: str = " ") -> str:
    return ", ".join(f"{name}{mark}{value}" for name, value in facts.items())


def _others() -> str:
    return (
        "Measured earlier, by their own fastest settings, on a like machine (two cores, PostgreSQL 18, nats-server 2.15; "
        "20,000 no-op tasks). They promise different things: *keeps* is what can still be read of a task once it is "
        "done. Compare orders of magnitude; only the table above has another queue in the same run."
    )
