"""A worker of PgQueuer with a no-op handler, as fast as its settings make it: `python -m ... URL BATCH_SIZE`.

Says `ready` once it is connected, and begins when it is sent a line; ends when its stdin does. Started by the cell `peers`.
"""

from __future__ import annotations

import asyncio
import logging
import sys

import asyncpg
import uvloop
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries

ENTRYPOINT = "noop"


async def noop(job: Job) -> None:
    """Do nothing."""


async def work(url: str, batch_size: int) -> None:
    """Run until stdin ends."""
    logging.getLogger("pgqueuer").setLevel(logging.CRITICAL)
    loop = asyncio.get_running_loop()
    async with asyncpg.create_pool(url, min_size=3, max_size=5) as pool:
        manager = QueueManager(Queries(AsyncpgPoolDriver(pool)))
        manager.entrypoint(ENTRYPOINT)(noop)
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        running = asyncio.create_task(manager.run(batch_size=batch_size))
        await loop.run_in_executor(None, sys.stdin.read)
        manager.shutdown.set()
        await running


if __name__ == "__main__":
    uvloop.run(work(sys.argv[1], int(sys.argv[2])))
