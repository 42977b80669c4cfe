"""How fast `POST /api/v1/tasks/batch` takes tasks: answered 202, so committed.

The queue is paused, the bodies are encoded beforehand (10,000 `echo` tasks each, no keys), and callers send one body after
the other, each over its own connection.
"""

from __future__ import annotations

from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.figures import Row, Table, spreads
from tests.benchmarks.ground import BATCH, Ground, running_ground

TASKS = 80_000


@cell("Bulk submit")
def measure(asked: Asked) -> list[Table]:
    """One, two and four callers."""
    with running_ground(workers=1) as ground:
        ground.pause()
        ground.submit_many(BATCH)
        rows = [_callers(ground, callers, asked) for callers in (1, 2, 4)]
    return [Table("Bulk submit", rows)]


def _callers(ground: Ground, callers: int, asked: Asked) -> Row:
    # Whole batches, as many for each caller: smaller ones would be another measurement.
    count = max(callers, asked.size(TASKS) // BATCH // callers * callers)
    items = ",".join(f'{{"type":"echo","payload":{n}}}' for n in range(BATCH))
    body = f'{{"items":[{items}]}}'
    rounds = []
    for _ in range(asked.rounds):
        answers = ground.send([body], count, path="/api/v1/tasks/batch", connections=callers)
        rounds.append({"tasks/s": count * BATCH / answers.seconds})
    return Row(f"{callers} caller{'s' * (callers > 1)}", spreads(rounds))
