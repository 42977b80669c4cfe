"""What a system with nothing to do asks of PostgreSQL and of the processors.

One api, scheduler and dlq-consumer, two workers, default settings. PostgreSQL's own count of transactions in the database,
over a minute, without autovacuum and without our own question; and the share of a core that each process uses.
"""

from __future__ import annotations

import time

from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.figures import Row, Table, short
from tests.benchmarks.ground import Ground, running_ground

SECONDS = 60.0
_START_SECONDS = 12.0
"""A backend counts what it did at the start only once it has been idle for ten seconds."""
_OWN = 2
"""Transactions of our own question."""
_TRANSACTIONS = """
SELECT (xact_commit + xact_rollback)::bigint FROM pg_stat_database WHERE datname = current_database()"""


@cell("Idle", once=True)
def measure(asked: Asked) -> list[Table]:
    """One minute."""
    with running_ground(workers=2) as ground:
        ground.execute("ALTER SYSTEM SET autovacuum = off")
        ground.execute("SELECT pg_reload_conf()")
        time.sleep(_START_SECONDS)
        rows = _idle(ground, asked.seconds(SECONDS))
    return [Table("Idle", rows)]


def _idle(ground: Ground, seconds: float) -> list[Row]:
    before, used, began = ground.value(_TRANSACTIONS), ground.usage(), time.monotonic()
    time.sleep(seconds)
    ended, after, lasted = ground.value(_TRANSACTIONS), ground.usage(), time.monotonic() - began
    rows = [Row("the database", {"transactions a minute": short((ended - before - _OWN) * 60 / lasted)})]
    for name, use in after.items():
        share = 100 * (use.cpu_seconds - used[name].cpu_seconds) / lasted
        rows.append(Row(name, {"% of a core": short(share)}))
    return rows
