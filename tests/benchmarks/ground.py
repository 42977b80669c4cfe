"""A running system with what measurements need: cheap questions to PostgreSQL, the load generator, pauses."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
from tests.benchmarks.load import Answers, Orders
from tests.benchmarks.processes import Usage, usage_of_system
from tests.support.systems import ROOT, System, running_system
from tests.support.waiting import wait_until_sync

from taskflow.kit.ids import first_id_at
from taskflow.store.partitions import ensure_ranges
from taskflow.store.stats import read_totals

STATED_CONCURRENCY = 2_000
"""WORKER_CONCURRENCY of the stated drain rates: what suits handlers that wait more than they compute."""
DEFAULT_CONCURRENCY = 10
BATCH = 10_000
POLL_SECONDS = 0.2
PATIENCE_SECONDS = 240
SETTLE_SECONDS = 1.0
"""How long a system rests before it is measured: pauses have reached the workers, what was submitted is rung."""
DURABILITY = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "shared_buffers",
    "max_wal_size",
)


class Ground:
    """A system, and one connection to its PostgreSQL for as long as it runs."""

    def __init__(self, system: System, runner: asyncio.Runner, conn: asyncpg.Connection) -> None:
        self.system = system
        self._runner = runner
        self._conn = conn
        self.database_url: str = system.facts()["database_url"]
        self.first_id = first_id_now()
        self.host = urlsplit(system.facts()["api_url"])

    def rows(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a statement."""
        found: list[asyncpg.Record] = self._runner.run(self._conn.fetch(statement, *arguments, timeout=600))
        return found

    def value(self, statement: str, *arguments: Any) -> Any:
        """The only value of a statement."""
        return self.rows(statement, *arguments)[0][0]

    def execute(self, statement: str) -> None:
        """Statements without arguments, such as may stand in no transaction."""
        self._runner.run(self._conn.execute(statement, timeout=600))

    def make_ranges(self, days: int) -> None:
        """Make the ranges of ids of so many days ago until now."""
        today = datetime.now(UTC)
        moments = [today - timedelta(days=ago) for ago in range(days + 1)]
        self._runner.run(ensure_ranges(self._conn, moments))

    def finished(self) -> int:
        """How many tasks are terminal by the figures, which costs no scan of the tasks."""
        return self._count("completed", "failed", "cancelled", "expired")

    def waiting(self) -> int:
        """How many tasks are queued, by the figures."""
        return self._count("queued")

    def until_idle(self) -> None:
        """Wait until no task is live."""
        wait_until_sync(
            lambda: self._count("scheduled", "queued", "running", "retrying") == 0,
            "no task is live", PATIENCE_SECONDS, POLL_SECONDS,
        )  # fmt: skip

    def until_finished(self, count: int) -> None:
        """Wait until so many tasks are terminal; asks rarely, as the cores are the workers'."""
        wait_until_sync(
            lambda: self.finished() >= count, f"{count} tasks are finished", PATIENCE_SECONDS, POLL_SECONDS
        )

    def send(
        self,
        bodies: Sequence[str],
        count: int,
        *,
        path: str = "/api/v1/tasks",
        may_refuse: bool = False,
        **how: Any,
    ) -> Answers:
        """Let the load generator send `count` bodies; all must be accepted, unless `may_refuse`."""
        host, port = self.host.hostname or "", self.host.port or 0
        answers = send(Orders(host=host, port=port, path=path, bodies=list(bodies), count=count, **how))
        assert may_refuse or not answers.refusal, f"{answers.statuses}: {answers.refusal}"
        return answers

    def submit_many(self, count: int, *, queues: Sequence[str] = ("default",), **fields: Any) -> None:
        """Submit `echo` tasks in batches, one after the other, spread over the queues."""
        whole, rest = divmod(count, BATCH)
        for batches, size in ((whole, BATCH), (1, rest)):
            if batches and size:
                body = _batch(size, queues, fields)
                self.send([body], batches, path="/api/v1/tasks/batch", connections=1)

    def submit_singly(self, count: int) -> Answers:
        """Submit `echo` tasks one a call, so that each doorbell rings for few of them."""
        return self.send(['{"type":"echo","payload":1}'], count, connections=64)

    def pause(self) -> None:
        """Let no worker take tasks of any queue."""
        self._set_paused(True)

    def resume(self) -> float:
        """Let the workers go; the moment this was asked for."""
        moment = time.time()
        self._set_paused(False)
        return moment

    def usage(self) -> dict[str, Usage]:
        """What the processes have used so far."""
        return usage_of_system(self.system.facts()["pids"])

    def settings(self) -> dict[str, str]:
        """How PostgreSQL keeps what it has committed."""
        return {name: self.value(f"SHOW {name}") for name in DURABILITY}

    def _count(self, *statuses: str) -> int:
        totals = self._runner.run(read_totals(self._conn))
        return sum(total.n for total in totals if total.status in statuses)

    def _set_paused(self, paused: bool) -> None:
        """One call makes every worker read the pauses of all queues; hundreds of calls would take seconds."""
        if self.value("SELECT count(*) FROM queues") > 1:
            self.rows("UPDATE queues SET paused = $1 WHERE name <> 'default'", paused)
        self.system.post(f"/queues/default/{'pause' if paused else 'resume'}")


@contextmanager
def running_ground(workers: int, concurrency: int = DEFAULT_CONCURRENCY, **settings: str) -> Iterator[Ground]:
    """Start a system on real PostgreSQL and NATS, with the settings everybody has but for those that are said."""
    arguments = ["--workers", str(workers), "--import", "tests.benchmarks.handlers"]
    settings = {"WORKER_CONCURRENCY": str(concurrency), **settings}
    with running_system(*arguments, **settings) as system, asyncio.Runner() as runner:
        conn = runner.run(asyncpg.connect(system.facts()["database_url"]))
        try:
            yield Ground(system, runner, conn)
        finally:
            runner.run(conn.close())


def send(orders: Orders) -> Answers:
    """Run the load generator in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.load"],
        input=msgspec.json.encode(orders), stdout=subprocess.PIPE, cwd=ROOT, check=True,
    )  # fmt: skip
    return msgspec.json.decode(done.stdout, type=Answers)


def _batch(size: int, queues: Sequence[str], fields: dict[str, Any]) -> str:
    """One body of so many tasks."""
    items = [{"type": "echo", "payload": n, "queue": queues[n % len(queues)], **fields} for n in range(size)]
    return json.dumps({"items": items})


def first_id_now() -> str:
    """Ids made from now on are greater."""
    return first_id_at(datetime.now(UTC) - timedelta(milliseconds=1))
