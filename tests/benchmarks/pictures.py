"""The pictures of docs/benchmarks.md. Needs matplotlib, which only `make bench` installs."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot
from PIL import Image
from tests.benchmarks.figures import Figure, Spread, number
from tests.benchmarks.page import PAGE, PICTURES
from tests.benchmarks.published import PEERS
from tests.benchmarks.results import Results

FOLDER = PAGE.parent / "benchmarks"
OURS, PEER, ELSEWHERE = "#1f6feb", "#d9730d", "#c4c9d0"
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e8eb",
    "axes.axisbelow": True,
}
_GROWTH = {
    "backlog": ("Backlog", OURS, "o"),
    "history": ("History", PEER, "s"),
    "queues": ("Queues", "#2da44e", "^"),
}


def draw_all(results: Results) -> None:
    """Draw what there are results for."""
    FOLDER.mkdir(exist_ok=True)
    with pyplot.rc_context(_STYLE):
        if {"drain", "peers"} & results.cells.keys():
            _save(_draw_drain(results), FOLDER / PICTURES["drain"][0])
        if "latency" in results.cells:
            _save(_draw_latency(results), FOLDER / PICTURES["latency"][0])
        if _GROWTH.keys() & results.cells.keys():
            _save(_draw_growth(results), FOLDER / PICTURES["backlog"][0])


def _save(figure: Any, path: Path) -> None:
    """A palette of few colours makes a third of the bytes, which stay in the history of the repository."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=100, facecolor="white", metadata={"Software": None})
    pyplot.close(figure)
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)


def _draw_drain(results: Results) -> Any:
    """Bars for one process and for two, the longest first; what was not measured in our runs is grey."""
    figure, panels = pyplot.subplots(1, 2, figsize=(10, 5.2), layout="constrained", sharex=True)
    for panel, workers in zip(panels, (1, 2), strict=True):
        bars = sorted(_drain_bars(results, workers), key=lambda bar: bar[1])
        drawn = panel.barh([bar[0] for bar in bars], [bar[1] for bar in bars], color=[bar[2] for bar in bars])
        panel.bar_label(drawn, [number(bar[1]) for bar in bars], padding=3, fontsize=8)
        panel.set_title(f"{workers} worker process{'es' * (workers > 1)}")
        panel.set_xlabel("no-op tasks drained a second")
        panel.tick_params(axis="y", labelsize=8)
        panel.grid(visible=False, axis="y")
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.margins(x=0.15)
    patches = [pyplot.Rectangle((0, 0), 1, 1, color=colour) for colour in (OURS, PEER, ELSEWHERE)]
    labels = ["TaskFlow", "in the same run as TaskFlow", "measured elsewhere on a like machine"]
    figure.legend(patches, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _drain_bars(results: Results, workers: int) -> list[tuple[str, float, str]]:
    bars = [(peer.name, float((peer.one, peer.two)[workers - 1]), ELSEWHERE) for peer in PEERS]
    if found := results.cells.get("drain"):
        named = f"{workers} worker{'s' * (workers > 1)}, "
        for row in found.table("Drain").rows:
            if row.what.startswith(named):
                label = row.what.removeprefix(named).replace("concurrency ", "")
                bars.append((f"TaskFlow, {label}", _middle(row.figures["tasks/s"]), OURS))
    if found := results.cells.get("peers"):
        row = found.table("Peers").row(f"{workers} worker{'s' * (workers > 1)} each")
        bars.append(("PgQueuer, same run", _middle(row.figures["PgQueuer jobs/s"]), PEER))
    return bars


def _draw_latency(results: Results) -> Any:
    """Milliseconds by percent of the tasks, on a scale that gives the last ones room."""
    figure, panel = pyplot.subplots(figsize=(8, 4.4), layout="constrained")
    (table,) = results.cells["latency"].tables
    for place, (name, points) in enumerate(table.curves.items()):
        kept = [(100 / (100 - percent), value) for percent, value in points if percent < 100]
        colour, dashes = (OURS, PEER)[place // 2 % 2], ("-", "--")[place % 2]
        panel.plot(*zip(*kept, strict=True), dashes, color=colour, label=name)
    panel.set_xscale("log")
    panel.set_yscale("log")
    percents = (0, 50, 90, 99, 99.9)
    panel.set_xticks(
        [100 / (100 - percent) for percent in percents], [f"{percent:g} %" for percent in percents]
    )
    panel.minorticks_off()
    top = max(value for points in table.curves.values() for _, value in points)
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000) if tick <= 2 * top]
    panel.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    panel.set_xlabel("of the tasks were as fast or faster")
    panel.set_ylabel("ms since it was to be submitted")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def _draw_growth(results: Results) -> Any:
    """Drain rates and medians of submits, relative to the smallest size."""
    figure, panels = pyplot.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for panel, column, title in zip(
        panels,
        ("drain / smallest", "submit p50 / smallest"),
        ("Drain rate", "Time of a submit (p50), nothing being drained"),
        strict=True,
    ):
        for cell, (name, colour, mark) in _GROWTH.items():
            if found := results.cells.get(cell):
                rows = found.table(name).rows
                ratios = [_middle(row.figures[column]) for row in rows]
                sizes = "  ".join(row.what.split()[0] for row in rows)
                panel.plot(range(len(rows)), ratios, f"{mark}-", color=colour, label=f"{name}: {sizes}")
        panel.axhline(1, color="#8b949e", linewidth=0.8)
        panel.set_xticks([0, 1, 2], ["smallest", "middle", "largest"])
        panel.set_ylim(bottom=0)
        panel.set_ylabel("relative to the smallest")
        panel.set_title(title)
    panels[0].legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def _middle(figure: Figure) -> float:
    return figure.median if isinstance(figure, Spread) else float(figure)
