"""Whether many queues make anything slower.

20,000 tasks spread over one, a hundred, and five hundred queues, all served by one worker (`WORKER_QUEUES`) at the stated
concurrency, each number of queues in a system of its own. Measured like the backlog, with the ratios to one queue.
"""

from __future__ import annotations

from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.figures import Table
from tests.benchmarks.ground import STATED_CONCURRENCY, Ground, running_ground
from tests.benchmarks.growth import Size, compared, measure_size

SIZES = (1, 100, 500)
BACKLOG = 20_000
WARM_UP = 2_000


@cell("Growth: the queues")
def measure(asked: Asked) -> list[Table]:
    """One system a size."""
    return [Table("Queues", compared([_size(asked, queues) for queues in SIZES]))]


def _size(asked: Asked, count: int) -> Size:
    names = ["default", *(f"q{place}" for place in range(1, count))]
    backlog = asked.size(BACKLOG)
    with running_ground(1, STATED_CONCURRENCY, WORKER_QUEUES=",".join(names)) as ground:
        ground.submit_many(WARM_UP, queues=names)
        ground.until_finished(WARM_UP)
        return measure_size(
            ground, asked, f"{count} queue{'s' * (count > 1)}", lambda: _fill(ground, backlog, names)
        )


def _fill(ground: Ground, size: int, names: list[str]) -> None:
    if (missing := size - ground.waiting()) > 0:
        ground.submit_many(missing, queues=names)
