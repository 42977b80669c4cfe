"""Whether a long backlog makes anything slower.

One worker at the stated concurrency. 10,000, then 100,000, then a million tasks wait. With the queue paused, single submits
at 100/s are timed until they are answered; then the queue is resumed, and what is finished is counted for three seconds, or
until nothing waits. The ratios are to the smallest size of the same run.
"""

from __future__ import annotations

from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.figures import Table
from tests.benchmarks.ground import BATCH, STATED_CONCURRENCY, Ground, running_ground
from tests.benchmarks.growth import compared, measure_size

SIZES = (10_000, 100_000, 1_000_000)


@cell("Growth: the backlog")
def measure(asked: Asked) -> list[Table]:
    """All sizes in one system, the smallest first."""
    sizes = []
    with running_ground(1, STATED_CONCURRENCY) as ground:
        ground.submit_many(BATCH // 10)
        ground.until_finished(BATCH // 10)
        for full in SIZES:
            size = asked.size(full)
            sizes.append(
                measure_size(ground, asked, f"{size:,} waiting", lambda size=size: _fill(ground, size))
            )
    return [Table("Backlog", compared(sizes))]


def _fill(ground: Ground, size: int) -> None:
    if (missing := size - ground.waiting()) > 0:
        ground.submit_many(missing)
