"""How many transactions tasks cost: many share each, whether they came as a batch or one by one.

A budget and no figure, for how tasks gather depends on the machine. On two cores 1,000 tasks of a batch took 11
transactions, 1,000 of 50 callers 147; when every claim and every record goes alone, 2,000 and more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import asyncpg
import pytest
from tests.benchmarks.ground import send
from tests.benchmarks.load import Orders
from tests.support import leaks
from tests.support.systems import System, running_system
from tests.support.waiting import wait_until

TASKS = 1_000
CALLERS = 50
BATCH_TRANSACTIONS_MAX = 40
SINGLES_TRANSACTIONS_MAX = 450
TRANSACTIONS_MIN = 3
"""An insert, a claim, a record: a meter that tells of less is broken."""
IDLE_A_SECOND = 1.4
"""What the system does anyhow; see test_idle."""
FLUSH_SECONDS = 11.0
"""A backend tells what it did a second ago or earlier, or once it has been idle for 10 s."""


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """One worker with many slots."""
    before = leaks.running()
    with running_system("--workers", "1", WORKER_CONCURRENCY="500") as found:
        yield found
    leaks.check_none_left(before)


class Meter:
    """Counts the transactions of everybody else."""

    def __init__(self, conn: asyncpg.Connection) -> None:
        self._conn = conn
        self._own = 0

    async def settled(self) -> float:
        """How many there were so far, less those of an idle system, once all backends have told."""
        await asyncio.sleep(FLUSH_SECONDS)
        await self._ask("SELECT pg_stat_force_next_flush()")
        count = await self._ask(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        )
        return count - self._own - IDLE_A_SECOND * asyncio.get_running_loop().time()

    async def drained(self, wanted: int) -> None:
        """Wait until so many tasks are completed."""

        async def are() -> bool:
            return await self._ask("SELECT count(*) FROM tasks WHERE status = 'completed'") == wanted

        await wait_until(are, f"{wanted} tasks are completed", 60, interval=0.2)

    async def _ask(self, question: str) -> int:
        self._own += 1
        answer: int = await self._conn.fetchval(question)
        return answer


@pytest.fixture
async def meter(system: System) -> AsyncIterator[Meter]:
    conn = await asyncpg.connect(system.facts()["database_url"])
    await conn.execute("ALTER SYSTEM SET autovacuum = off")
    await conn.execute("SELECT pg_reload_conf()")
    yield Meter(conn)
    await conn.close()


async def test_a_thousand_tasks_cost_few_transactions(system: System, meter: Meter) -> None:
    items = [{"type": "echo", "payload": {"n": n}} for n in range(TASKS)]
    await asyncio.to_thread(
        _one_by_one, system, CALLERS
    )  # opens the connections that are opened when first needed
    await meter.drained(CALLERS)
    begun = await meter.settled()
    await asyncio.to_thread(system.submit_many, items)
    await meter.drained(CALLERS + TASKS)
    batch = await meter.settled() - begun
    begun += batch
    await asyncio.to_thread(_one_by_one, system, TASKS)
    await meter.drained(CALLERS + 2 * TASKS)
    singles = await meter.settled() - begun
    print(f"transactions for {TASKS} tasks: {batch:.0f} as a batch, {singles:.0f} one by one")
    assert TRANSACTIONS_MIN <= batch <= BATCH_TRANSACTIONS_MAX
    assert TRANSACTIONS_MIN <= singles <= SINGLES_TRANSACTIONS_MAX


def _one_by_one(system: System, tasks: int) -> None:
    """Each caller sends its next one when the last was answered."""
    place = urlsplit(system.facts()["api_url"])
    answers = send(
        Orders(
            host=place.hostname or "", port=place.port or 0, path="/api/v1/tasks", bodies=['{"type":"echo"}'],
            connections=CALLERS, count=tasks,
        )
    )  # fmt: skip
    assert answers.statuses == {"202": tasks}, answers
    print(f"{tasks} one by one in {answers.seconds:.2f} s")
