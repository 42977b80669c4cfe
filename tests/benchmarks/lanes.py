"""What urgent tasks wait while others are drained.

20,000 `low` tasks wait, two workers with default settings are let loose on them, and meanwhile 50 `critical` and 50 `high`
ones a second come in singly. Told is the time from the moment each was meant to be submitted until its handler started,
over all rounds, and the rate at which the low ones were drained.
"""

from __future__ import annotations

import threading
import time

from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.figures import Row, Table, percentiles, short, spread
from tests.benchmarks.ground import SETTLE_SECONDS, Ground, first_id_now, running_ground

BACKLOG = 20_000
RATE = 50
LANES = ("critical", "high")
_LANE_NUMBERS = {"critical": 0, "high": 1}
LEAD_SECONDS = 0.5
"""So long the load generator has to start before the queue is resumed."""
# Only those that came while low ones still waited: the others had the workers to themselves.
_WAITS = """
SELECT lane, ((result::text)::float8 - (payload::text)::float8) * 1000 FROM tasks
WHERE id >= $1 AND type = 'bench.stamp' AND status = 'completed' AND (payload::text)::float8 BETWEEN $2 AND $3"""
_LAST_LOW = """
SELECT extract(epoch FROM max(finished_at))::float8 FROM tasks WHERE id >= $1 AND type = 'echo'"""


@cell("Lanes")
def measure(asked: Asked) -> list[Table]:
    """Both lanes at once."""
    waits: dict[int, list[float]] = {number: [] for number in _LANE_NUMBERS.values()}
    rates = []
    backlog = asked.size(BACKLOG)
    with running_ground(workers=2) as ground:
        rate = _round(ground, asked.size(BACKLOG // 4), {number: [] for number in waits}, seconds=2)
        for _ in range(asked.rounds):
            rate = _round(ground, backlog, waits, seconds=1 + round(1.3 * backlog / rate))
            rates.append(rate)
    rows = []
    for lane in LANES:
        found = waits[_LANE_NUMBERS[lane]]
        figures = {name: short(value) for name, value in percentiles(found, 50, 99, 100).items()}
        rows.append(Row(f"`{lane}`: submit to start", {"tasks": float(len(found)), **figures}))
    rows.append(Row("`low`: drain", {"tasks/s": spread(rates)}))
    return [Table("Lanes", rows)]


def _round(ground: Ground, backlog: int, waits: dict[int, list[float]], seconds: int) -> float:
    """The drain rate of the low lane; the waits of the urgent ones are added to `waits`.

    Urgent ones come for `seconds`, somewhat longer than the drain will take.
    """
    first, finished = first_id_now(), ground.finished()
    ground.pause()
    ground.submit_many(backlog, priority="low")
    time.sleep(SETTLE_SECONDS)
    bodies = [f'{{"type":"bench.stamp","payload":{{due}},"priority":"{lane}"}}' for lane in LANES]
    rate = RATE * len(LANES)
    urgent = threading.Thread(
        target=ground.send, args=(bodies, rate * seconds), kwargs={"connections": 16, "rate": rate}
    )
    urgent.start()
    time.sleep(LEAD_SECONDS)
    began = ground.resume()
    urgent.join()
    ground.until_finished(finished + backlog + rate * seconds)
    last = ground.value(_LAST_LOW, first)
    for lane, milliseconds in ground.rows(_WAITS, first, began, last):
        waits[lane].append(milliseconds)
    return backlog / (last - began)
