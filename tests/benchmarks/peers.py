"""Another queue on the same PostgreSQL, in the same run.

[PgQueuer](https://github.com/janbjorge/pgqueuer) is the fastest queue in Python that keeps its jobs in PostgreSQL that we
know of. Its workers have uvloop, a pool, and the batch size that was fastest here; its tables are logged (its default) in
a database of their own on the server that ours uses. Its 20,000 no-op jobs are enqueued beforehand, by 10,000 from Python
without HTTP; the rate is counted from the signal to its waiting workers until the last job is in its log. Ours is the drain
in batches at the stated concurrency with as many workers, in turn with it. PgQueuer keeps a row in a log; we keep the task
with its payload and result, and an execution.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.drain import TASKS, WARM_UP, drain
from tests.benchmarks.figures import Row, Table, spreads
from tests.benchmarks.ground import (
    BATCH,
    PATIENCE_SECONDS,
    SETTLE_SECONDS,
    STATED_CONCURRENCY,
    Ground,
    running_ground,
)
from tests.support.servers import with_database
from tests.support.systems import ROOT
from tests.support.waiting import wait_until

BATCH_SIZE = 1_000
"""PgQueuer's; of 100, 200, 500 and 1,000 the fastest on two cores, with one worker and with two."""
_DONE = (
    "SELECT count(*), extract(epoch FROM max(created))::float8 FROM pgqueuer_log WHERE status = 'successful'"
)
_LEFT = "SELECT count(*) FROM pgqueuer"


@cell("Beside PgQueuer")
def measure(asked: Asked) -> list[Table]:
    """One worker each, then two."""
    return [Table("Peers", [_beside(asked, workers) for workers in (1, 2)])]


def _beside(asked: Asked, workers: int) -> Row:
    with running_ground(workers, STATED_CONCURRENCY) as ground, asyncio.Runner() as runner:
        ground.execute("CREATE DATABASE pgqueuer")
        url = with_database(ground.database_url, "pgqueuer")
        runner.run(install(url))
        _round(ground, runner, url, workers, asked.size(WARM_UP))
        rounds = [_round(ground, runner, url, workers, asked.size(TASKS)) for _ in range(asked.rounds)]
    return Row(f"{workers} worker{'s' * (workers > 1)} each", spreads(rounds))


def _round(ground: Ground, runner: asyncio.Runner, url: str, workers: int, count: int) -> dict[str, float]:
    """Ours, then PgQueuer's."""
    ours = drain(ground, ground.submit_many, count).per_second
    enqueued = runner.run(enqueue(url, count))
    time.sleep(SETTLE_SECONDS)
    theirs = runner.run(peer_drain(url, workers, count))
    return {
        "TaskFlow tasks/s": ours,
        "PgQueuer jobs/s": theirs,
        "TaskFlow / PgQueuer": ours / theirs,
        "PgQueuer enqueued/s": enqueued,
    }


async def install(url: str) -> None:
    """Make PgQueuer's tables."""
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.queries import Queries

    conn = await asyncpg.connect(url)
    try:
        await Queries(AsyncpgDriver(conn)).install()
    finally:
        await conn.close()


async def enqueue(url: str, count: int) -> float:
    """Enqueue jobs in batches, after clearing what the last round left; how many a second."""
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.queries import Queries
    from tests.benchmarks.pgqueuer_worker import ENTRYPOINT

    conn = await asyncpg.connect(url)
    try:
        await conn.execute("TRUNCATE pgqueuer_log")
        queries = Queries(AsyncpgDriver(conn))
        began = time.perf_counter()
        for start in range(0, count, BATCH):
            size = min(BATCH, count - start)
            payloads: list[bytes | None] = [str(start + n).encode() for n in range(size)]
            await queries.enqueue([ENTRYPOINT] * size, payloads, [0] * size)
        return count / (time.perf_counter() - began)
    finally:
        await conn.close()


async def peer_drain(url: str, workers: int, count: int, batch_size: int = BATCH_SIZE) -> float:
    """Let PgQueuer's workers go and wait until all jobs are done; how many a second."""
    conn = await asyncpg.connect(url)
    try:
        with _peer_workers(url, workers, batch_size) as processes:
            began = time.time()
            for process in processes:
                assert process.stdin
                process.stdin.write("go\n")
                process.stdin.flush()

            async def over() -> bool:
                return await conn.fetchval(_LEFT) == 0

            await wait_until(over, f"{count} jobs are done", PATIENCE_SECONDS, 0.2)
        done, last = await conn.fetchrow(_DONE)
    finally:
        await conn.close()
    assert done == count, f"{done} of {count} are done"
    return count / (last - began)


@contextmanager
def _peer_workers(url: str, workers: int, batch_size: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Workers that are connected and wait to be let go; they end when their stdin does."""
    command = [sys.executable, "-m", "tests.benchmarks.pgqueuer_worker", url, str(batch_size)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(workers)
    ]
    try:
        for process in processes:
            assert process.stdout and process.stdout.readline() == "ready\n"
        yield processes
    finally:
        for process in processes:
            process.communicate(timeout=30)
