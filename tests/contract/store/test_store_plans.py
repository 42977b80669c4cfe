"""Which index each statement goes in by, on ranges that are new, empty and never analysed, and when they have filled.

Plans are generic ones, made under the settings of the hot paths: a plan made on an empty range is kept while it fills.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import asyncpg
import pytest
from tests.contract.store import world
from tests.contract.store.plans import Scan, scans
from tests.contract.store.statements import STATEMENTS
from tests.support import servers as real

from taskflow.kit.ids import new_id
from taskflow.store.connect import Database

FIRST = "'00000000-0000-0000-0000-000000000000'"
LAST = "'ffffffff-ffff-ffff-ffff-ffffffffffff'"
SOME = "<some id>"

PKEY = {Scan("tasks", "tasks_pkey")}
QUEUED, RUNNING = Scan("tasks", "tasks_queued"), Scan("tasks", "tasks_running")
TRIES = Scan("executions", "executions_pkey")
HISTORY = {Scan(table, f"{table}_pkey") for table in ("executions", "task_logs", "task_events")}

EXPECTED: dict[str, set[Scan]] = {
    "store.moves.claim_tasks": PKEY,
    "store.moves.read_remainder": PKEY,
    "store.moves.record_outcomes": PKEY,
    "store.moves.record_successes": PKEY,
    "store.moves.close_executions": {Scan("executions", "executions_pkey")},
    "store.tending.turn_tasks": {*PKEY, Scan("tasks", "tasks_due"), Scan("tasks", "tasks_expiring")},
    "store.tending.look": {
        Scan("tasks", "tasks_due"),
        Scan("tasks", "tasks_expiring"),
        QUEUED,
        RUNNING,
        Scan("executions", "executions_open"),
    },
    "store.tending.find_untended": {RUNNING},
    "store.tending.read_claims": PKEY,
    "store.tending.close_orphaned": {Scan("executions", "executions_open"), Scan("tasks", "tasks_pkey")},
    "store.tending.prune_tasks": {*PKEY, *HISTORY},
    "store.doorbells.read_heads": {QUEUED},
    "store.doorbells.ring_again": {QUEUED, *PKEY},
    "store.doorbells.park": PKEY,
    "store.doorbells.unpark": {QUEUED, *PKEY},
    "store.workers.beat": {RUNNING},
    "store.catalog.read_queues": {QUEUED},
    "store.commands.cancel_tasks": PKEY,
    "store.commands.lock_tasks": PKEY,
    "store.commands.retry_tasks": PKEY,
    "store.history.append_lines": PKEY,
    "store.history.read_executions": {*PKEY, Scan("executions", "executions_pkey")},
    "store.history.read_logs": {Scan("task_logs", "task_logs_pkey")},
    "store.history.read_events": {Scan("task_events", "task_events_pkey")},
    "store.history.read_live": PKEY,
    "store.history.task_exists": PKEY,
    "store.tasks.read_tasks": PKEY,
    "store.tasks.read_statuses": PKEY,
    "store.tasks.list_tasks": PKEY,
    "store.audit.scan_tasks": {*PKEY, TRIES},
    "store.audit.scan_letters": PKEY,
    "store.audit.lost_doorbells": {QUEUED},
    "store.audit.parked_though_served": {QUEUED},
    "store.audit.open_tries": {*PKEY, Scan("executions", "executions_open")},
    "store.mend.write_letters": {*PKEY, TRIES},
    "store.mend.resolve_letters": PKEY,
    "store.mend.close_tries": {TRIES},
}

ARGUMENTS = {
    "store.audit.scan_tasks": f"{FIRST}, 10, 1",
    "store.tending.prune_tasks": f"1, 1, {LAST}",
    "store.tasks.list_tasks": f"'{{}}', '{{}}', '{{}}', '{{}}', '{{}}', {FIRST}, {LAST}, 100, false, false, null, null",
    "store.history.read_executions": f"{SOME}, 'running'",
    "store.history.read_logs": f"{SOME}, 0, 10",
    "store.history.read_events": f"{SOME}, 0, 10",
    "store.history.read_live": SOME,
    "store.history.task_exists": SOME,
}
"""Of statements whose ranges are chosen when they begin; the others meet nulls."""


class Stage(NamedTuple):
    """A database of which nothing is known to the planner."""

    name: str
    url: str


@pytest.fixture(scope="module", params=["empty", "full"])
def stage(request: pytest.FixtureRequest, databases: real.Databases) -> Iterator[Stage]:
    url = databases.create()
    real.blocking(lambda: _prepare(url, full=request.param == "full"))
    yield Stage(request.param, url)
    databases.drop(url)


async def _prepare(url: str, *, full: bool) -> None:
    async with Database(url, application="test") as database:
        conn = await database.open_connection(hot=True)
        ranges = await conn.fetch(
            "SELECT oid::regclass::text AS name FROM pg_class WHERE relispartition AND relkind = 'r'"
        )
        for row in ranges:
            await conn.execute(f"ALTER TABLE {row['name']} SET (autovacuum_enabled = off)")
        if full:
            await _fill(conn)
        await conn.close()


async def _fill(conn: asyncpg.Connection) -> None:
    """20,000 tasks: most of them completed, some running, due, waiting."""
    for _ in range(8):
        worker = await world.start_worker(conn)
        ids = await world.submit(conn, 2_300)
        tasks = await world.claim(conn, worker, ids[:2_000])
        await world.end(conn, tasks[:1_800], world.DONE)
        await world.end(conn, tasks[1_800:1_900], world.FAILED)
        await world.submit(conn, 200, delay_seconds=600.0)
    assert await conn.fetchval("SELECT count(*) FROM tasks") == 20_000


@pytest.fixture
async def hot(stage: Stage) -> AsyncIterator[asyncpg.Connection]:
    async with Database(stage.url, application="test") as database:
        conn = await database.open_connection(hot=True)
        yield conn
        await conn.close()


async def planned(conn: asyncpg.Connection, name: str) -> set[Scan]:
    count = len((await conn.prepare(STATEMENTS[name])).get_parameters())
    arguments = ARGUMENTS.get(name) or ", ".join(["NULL"] * count)
    return await scans(conn, STATEMENTS[name], arguments.replace(SOME, f"'{new_id()}'"))


@pytest.mark.parametrize("name", sorted(EXPECTED))
async def test_a_statement_goes_in_by_its_index(hot: asyncpg.Connection, name: str) -> None:
    assert await planned(hot, name) == EXPECTED[name]


async def test_no_statement_reads_a_whole_range(hot: asyncpg.Connection) -> None:
    whole = {name: found for name in STATEMENTS
             if (found := {scan for scan in await planned(hot, name) if scan.by is None})}  # fmt: skip
    assert whole == {}


async def test_every_statement_on_ranges_is_expected(hot: asyncpg.Connection) -> None:
    """A new statement that reads ranges belongs into the table above."""
    assert {name for name in STATEMENTS if await planned(hot, name)} == set(EXPECTED)


async def test_a_page_of_a_scan_reads_no_more_than_a_page(hot: asyncpg.Connection) -> None:
    """A plan for this one page would sort all that is left; the generic plan does not."""
    await hot.execute(f"PREPARE asked AS {STATEMENTS['store.audit.scan_tasks']}")
    text = await hot.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE asked({ARGUMENTS['store.audit.scan_tasks']})")
    await hot.execute("DEALLOCATE asked")
    [page] = [node for node in json.loads(text)[0]["Plan"]["Plans"] if node.get("Subplan Name") == "CTE page"]
    [below] = page["Plans"]
    assert (page["Node Type"], below["Node Type"]) == ("Limit", "Append")
    assert {node["Node Type"] for node in below["Plans"]} == {"Index Scan"}
