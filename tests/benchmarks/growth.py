"""What the cells `backlog`, `history` and `queues` measure of a system that has grown, and how they compare it."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from tests.benchmarks.cell import Asked
from tests.benchmarks.figures import Row, Spread, percentiles, short, spreads
from tests.benchmarks.ground import SETTLE_SECONDS, Ground
from tests.benchmarks.processes import MIB, resident_bytes

WINDOW_SECONDS = 3.0
"""The drain is measured for so long at most: a million tasks need not be waited for."""
SUBMIT_RATE = 100
SUBMIT_SECONDS = 5.0
_FINISHED = """
SELECT count(*), extract(epoch FROM max(finished_at))::float8 FROM tasks
WHERE id >= $1 AND finished_at BETWEEN to_timestamp($2) AND to_timestamp($3) AND status = 'completed'"""


class Size(NamedTuple):
    """One step of growth, and its rounds."""

    what: str
    rounds: list[dict[str, float]]
    worker_mib: tuple[float, float]
    """The worker's memory before and after."""


def measure_size(ground: Ground, asked: Asked, what: str, refill: Any) -> Size:
    """Drain and submit, `asked.rounds` times. Before each drain `refill` brings the backlog to its size, paused."""
    before = _worker_mib(ground)
    rounds = []
    for _ in range(asked.rounds):
        ground.pause()
        refill()
        time.sleep(SETTLE_SECONDS)
        rounds.append({**_submit_milliseconds(ground, asked), "drained/s": _drain_rate(ground)})
    return Size(what, rounds, (before, _worker_mib(ground)))


def compared(sizes: list[Size]) -> list[Row]:
    """A row a size; the ratios are to the smallest."""
    rows = []
    for size in sizes:
        figures = spreads(size.rounds)
        first = spreads(sizes[0].rounds)
        ratios = {
            "drain / smallest": _ratio(figures["drained/s"], first["drained/s"]),
            "submit p50 / smallest": _ratio(figures["submit p50 ms"], first["submit p50 ms"]),
        }
        memory = {"worker MiB before": short(size.worker_mib[0]), "after": short(size.worker_mib[1])}
        rows.append(Row(size.what, {**figures, **ratios, **memory}))
    return rows


def _drain_rate(ground: Ground) -> float:
    """Tasks finished a second from the resume until all are, or the window is over; leaves the queue paused."""
    left = ground.waiting()
    began = ground.resume()
    while ground.waiting() and time.time() - began < WINDOW_SECONDS:
        time.sleep(0.2)
    over = time.time()
    ground.pause()
    count, last = ground.rows(_FINISHED, ground.first_id, began, over)[0]
    return count / ((last if count >= left else over) - began)


def _submit_milliseconds(ground: Ground, asked: Asked) -> dict[str, float]:
    count = round(SUBMIT_RATE * asked.seconds(SUBMIT_SECONDS))
    answers = ground.send(['{"type":"echo","payload":1}'], count, connections=32, rate=SUBMIT_RATE)
    return {f"submit {name}": value for name, value in percentiles(answers.milliseconds, 50, 99).items()}


def _ratio(one: Spread, other: Spread) -> float:
    return short(one.median / other.median)


def _worker_mib(ground: Ground) -> float:
    return sum(map(resident_bytes, ground.system.facts()["pids"]["workers"])) / MIB
