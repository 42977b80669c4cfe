"""Whether what is done already makes anything slower.

One worker at the stated concurrency, 20,000 tasks waiting, beside no, a million, and five million completed tasks with one
execution each, as they would stand after six days: written by SQL, counted in the figures, then CHECKPOINT and VACUUM
ANALYZE. Measured like the backlog, with the ratios to no history.
"""

from __future__ import annotations

from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.figures import Table
from tests.benchmarks.ground import BATCH, STATED_CONCURRENCY, Ground, running_ground
from tests.benchmarks.growth import compared, measure_size

SIZES = (0, 1_000_000, 5_000_000)
BACKLOG = 20_000
_CHUNK = 500_000

# $1 first number  $2 how many  $3 of how many in all. UUIDv7 by hand: 48 bits of milliseconds, the version, the variant,
# and for the rest a hash. In the order of time, as they would have come.
_TASKS = """
WITH made AS MATERIALIZED (
    SELECT n, now() - interval '6 days' + interval '5 days' * (n::float8 / $3) AS at, md5(n::text) AS hash
    FROM generate_series($1::bigint, $1::bigint + $2 - 1) AS n
), ids AS MATERIALIZED (
    SELECT at, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3) || '8'
                || substr(hash, 4, 3) || substr(hash, 7, 12))::uuid AS id FROM made
), tasks_made AS (
    INSERT INTO tasks (id, owner_id, created_at, queued_at, rung_at, started_at, finished_at, timeout_seconds, version,
                       seq, started_seq, number, attempt, max_attempts, lane, status, type, queue, payload, result, retry)
    SELECT id, '00000000-0000-0000-0000-000000000000', at, at, at, at, at, 30, 3, 3, 2, 1, 1, 5, 2, 'completed', 'echo',
           'default', '{"order": 12345}', '{"order": 12345}', '{}' FROM ids
)
INSERT INTO executions (task_id, queued_at, started_at, finished_at, number, life, started_seq, finished_seq, attempt,
                        status, moved_to)
SELECT id, at, at, at, 1, 1, 2, 3, 1, 'succeeded', 'completed' FROM ids"""

# $1 how many: accepted and completed, so that the figures go on to agree with the rows.
_FIGURES = """
INSERT INTO stat_deltas (at, n, queue, type, target)
VALUES (now() - interval '1 day', $1, 'default', 'echo', 'completed')"""


@cell("Growth: the history")
def measure(asked: Asked) -> list[Table]:
    """All sizes in one system, the smallest first."""
    sizes, written = [], 0
    with running_ground(1, STATED_CONCURRENCY) as ground:
        ground.submit_many(BATCH // 10)
        ground.until_finished(BATCH // 10)
        for full in SIZES:
            wanted = asked.size(full) if full else 0
            if wanted:
                write_history(ground, written, wanted - written, asked.size(SIZES[-1]))
                written = wanted
            sizes.append(
                measure_size(
                    ground, asked, f"{wanted:,} done before", lambda: _fill(ground, asked.size(BACKLOG))
                )
            )
    return [Table("History", compared(sizes))]


def write_history(ground: Ground, first: int, count: int, of: int) -> None:
    """Write completed tasks, and bring PostgreSQL to the state it would have reached by itself."""
    for start in range(first, first + count, _CHUNK):
        ground.rows(_TASKS, start, min(_CHUNK, first + count - start), float(of))
    ground.rows(_FIGURES, count)
    ground.execute("CHECKPOINT")
    ground.execute("VACUUM ANALYZE")


def _fill(ground: Ground, size: int) -> None:
    if (missing := size - ground.waiting()) > 0:
        ground.submit_many(missing)
