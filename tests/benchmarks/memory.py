"""How much memory a worker holds after 100,000 tasks.

One worker with default settings; the worker process alone (RSS), without the children it keeps warm for `def` handlers:
once it is ready, after 10,000 `echo` tasks, and after 100,000.
"""

from __future__ import annotations

from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.figures import Row, Table, short
from tests.benchmarks.ground import BATCH, Ground, running_ground
from tests.benchmarks.processes import MIB, resident_bytes

TASKS = 100_000


@cell("Memory", once=True)
def measure(asked: Asked) -> list[Table]:
    """The same worker all along."""
    rows = []
    with running_ground(workers=1) as ground:
        rows.append(_held(ground, "ready"))
        for count in (BATCH, max(BATCH, asked.size(TASKS) // BATCH * BATCH)):
            ground.submit_many(count - ground.finished())
            ground.until_finished(count)
            rows.append(_held(ground, f"after {count:,} tasks"))
    return [Table("Memory", rows)]


def _held(ground: Ground, what: str) -> Row:
    (pid,) = ground.system.facts()["pids"]["workers"]
    return Row(what, {"worker MiB": short(resident_bytes(pid) / MIB)})
