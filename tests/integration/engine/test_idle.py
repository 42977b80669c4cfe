"""A system with nothing to do does next to nothing: a look of the scheduler each 0.75 s, two beats each 5 s, and the
doctor's look each minute make some 105 transactions a minute.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import leaks
from tests.support.books import Books, books
from tests.support.systems import System, running_system
from tests.support.waiting import wait_until_sync

IDLE_SECONDS = 12
STATEMENTS_A_MINUTE_MAX = 120
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def idle_system() -> Iterator[System]:
    """Two workers and the settings everybody has."""
    before = leaks.running()
    with running_system("--workers", "2") as found:
        yield found
    leaks.check_none_left(before)


def test_an_idle_system_asks_little_of_postgres_and_of_the_machine(idle_system: System) -> None:
    truth = books(idle_system)
    pids = idle_system.facts()["pids"]
    named = {
        name: pids[name] for name in ("api", "scheduler", "dlq_consumer", "notifier", "postgres", "nats")
    }
    named |= {f"worker {place}": pid for place, pid in enumerate(pids["workers"], 1)}
    # Neither what autovacuum does with new tables is ours, nor what a backend did at the start and counts only once it
    # has been idle for 10 s.
    truth.rows("ALTER SYSTEM SET autovacuum = off")
    truth.rows("SELECT pg_reload_conf()")
    began = time.monotonic()
    wait_until_sync(lambda: time.monotonic() - began > 11, "the start is over", 15, interval=0.5)
    before, cpu_before, began = _transactions(truth), {n: _cpu(p) for n, p in named.items()}, time.monotonic()
    wait_until_sync(
        lambda: time.monotonic() - began > IDLE_SECONDS, "it was idle", IDLE_SECONDS + 5, interval=0.5
    )
    seconds = time.monotonic() - began
    used = {name: (_cpu(pid) - cpu_before[name]) / seconds for name, pid in named.items()}
    a_minute = (_transactions(truth) - before - 2) * 60 / seconds  # two are our own question's
    print(f"{a_minute:.0f} transactions a minute; of a core:", {n: f"{u:.1%}" for n, u in used.items()})
    assert a_minute <= STATEMENTS_A_MINUTE_MAX
    assert max(used.values()) < 0.05, used


def _transactions(truth: Books) -> int:
    return int(truth.value(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"))  # fmt: skip


def _cpu(pid: int) -> float:
    """Seconds of processor time so far. Fields 14 and 15 of /proc/<pid>/stat, man 5 proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND
