"""What the statements of the hot paths touch on 100,000 tasks: so many pages a row, however many rows there are.

That a plan names the right index is not enough: it could walk it. The plans are those of test_store_plans: made on
empty ranges and kept while they filled, made when they were full and nobody had analysed them, made after that.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import asyncpg
import pytest
from tests.contract.store import world
from tests.contract.store.filling import LIMITS, WORKERS, fill
from tests.contract.store.plans import analyse, buffers, leave_unanalysed, plan, prepare
from tests.contract.store.statements import STATEMENTS
from tests.support import servers as real

from taskflow.kit.ids import new_id
from taskflow.store.connect import Database

ROWS = 100
KEPT, FULL, ANALYSED = STAGES = ("kept", "full", "analysed")
BY_NO_INDEX, WALKED = WRONG = ("by no index", "by walking an index")


class Asked(NamedTuple):
    """Arguments of a statement as SQL, and how many pages it may touch."""

    arguments: str
    pages_max: int


def _asked(
    worker: str, queued: list[str], running: list[str], letters: list[str], leased: list[str]
) -> dict[str, Asked]:
    """The hot statements for 100 queued or 100 running tasks (of this worker), or for a page of 100."""
    me, waiting, held, buried = f"'{worker}'", _ids(queued), _ids(running), _ids(letters)
    return {
        "store.inserts.insert_alike": Asked(_alike(me), 2_000),
        "store.inserts.insert_tasks": Asked(_various(me), 2_000),
        "store.moves.claim_tasks": Asked(f"{me}, {waiting}, '{{echo,demo}}', 'queued', '{{}}'", 2_200),
        "store.moves.read_remainder": Asked(f"{me}, {waiting}", 1_000),
        "store.moves.record_successes": Asked(f"{me}, {held}, {_VERSIONS}, {_many('text', '{}')}", 2_800),
        "store.moves.record_outcomes": Asked(_released(worker, held), 3_200),
        "store.tasks.read_tasks": Asked(f"{waiting}, {_many('uuid')}", 1_000),
        "store.tasks.read_statuses": Asked(waiting, 1_000),
        "store.history.read_lives": Asked(f"{waiting}, {_many('uuid')}", 1_000),
        "store.history.read_tries": Asked(f"{held}, {_many('bigint', '0')}", 1_000),
        "store.history.read_lines": Asked(
            f"{held}, {_many('bigint', '0')}, {_many('integer', '100')}", 1_000
        ),
        "store.history.read_marks": Asked(
            f"{held}, {_many('bigint', '0')}, {_many('integer', '100')}", 1_000
        ),
        "store.doorbells.read_heads": Asked("", 700),
        "store.doorbells.ring_again": Asked(f"'default', 1, now(), {ROWS}", 2_500),
        "store.doorbells.park": Asked(f"{waiting}, 'queued'", 2_300),
        "store.doorbells.unpark": Asked(f"'{{default,mail}}', '{{echo,echo}}', {ROWS}, 'http.push'", 2_700),
        "store.tending.look": Asked("", 200),
        "store.tending.turn_tasks": Asked(f"{ROWS}", 2_500),
        "store.tending.read_claims": Asked(f"{me}, {held}, 'running'", 1_000),
        "store.commands.lock_letters": Asked(buried, 1_500),
        "store.commands.replay_letters": Asked(
            f"{buried}, 'ann', NULL, NULL, NULL, 'pending', 'failed', NULL", 5_500
        ),
        "store.dead_letters.read_letters": Asked(f"{buried}, true, NULL", 2_500),
        "store.workers.beat": Asked(f"{me}, 15, 200, 1", 900),
        "store.obstacles.count_ahead": Asked(f"'{''.join(queued[-1:])}', {ROWS}", 500),
        "store.obstacles.count_busy": Asked(_ids([worker]), 1_500),
        **_of_deliveries(_ids(leased)),
        "store.rate_limits.borrow": Asked(_limited("5", "1", "1000"), 2_000),
        "store.rate_limits.give_back": Asked(_limited("1", "1"), 2_000),
    }


def _of_deliveries(leased: str) -> dict[str, Asked]:
    """What a notifier says, of 15,000 deliveries to 304 hosts; and a page for a reader."""
    turns, no_text, delays = _many("integer", "1"), _many("text"), _many("float8", "5")
    tries = [
        _many("timestamptz", "now"),
        _many("float8", "1"),
        _many("smallint", "500"),
        _many("text", "no"),
        no_text,
    ]
    recorded = ", ".join([leased, turns, *tries, delays])
    filters = "null, '{}', '{}', null"
    return {
        "store.webhooks.next_due": Asked("", 50),
        "store.webhooks.lease": Asked(f"'', 200, 8, '{{}}', '{{}}', {ROWS}, 15", 8_000),  # of 200 hosts
        "store.webhooks.record_tries": Asked(f"{recorded}, 100, 600", 3_000),
        "store.webhooks.put_off": Asked(f"{leased}, {turns}, {delays}", 2_600),
        "store.webhook_reads.list_deliveries": Asked(f"{filters}, null, {ROWS}, null", 900),
        "store.webhook_reads.read_attempts": Asked(f"{leased}, 50", 1_000),
    }


_VERSIONS = "'{" + ",".join(["2"] * ROWS) + "}'"


def _limited(*numbers: str) -> str:
    """Subjects of limits, from all over the table, and the same numbers for each."""
    subjects = "'{" + ",".join(f"key:{(number + 1) * LIMITS // ROWS}" for number in range(ROWS)) + "}'"
    return ", ".join([subjects, *(f"array_fill({number}, ARRAY[{ROWS}])" for number in numbers)])


def _many(kind: str, value: str | None = None) -> str:
    """A list that says the same for each task."""
    return f"array_fill({'NULL' if value is None else repr(value)}::{kind}, ARRAY[{ROWS}])"


def _alike(me: str) -> str:
    new = _ids([new_id() for _ in range(ROWS)])
    return f"{new}, {_many('text', '{}')}, 'echo', 'default', 2, NULL, '[]', " + (
        f"NULL, NULL, NULL, NULL, 5, 30, '{{}}', {me}, NULL, NULL, NULL, NULL"
    )


def _various(me: str) -> str:
    texts, numbers, no_text = _many("text", "{}"), _many("smallint", "2"), _many("text")
    words = [_many("text", "echo"), _many("text", "default"), numbers, texts, no_text, no_text, no_text]
    times = [_many("timestamptz"), _many("float8"), _many("timestamptz")]
    rest = [
        numbers,
        _many("float8", "30"),
        texts,
        _many("uuid", me.strip("'")),
        no_text,
        _many("smallint"),
        no_text,
        no_text,
    ]
    return ", ".join([_ids([new_id() for _ in range(ROWS)]), *words, *times, *rest])


def _released(worker: str, held: str) -> str:
    numbers, no_text = _many("smallint", "0"), _many("text")
    words = [_many("text", "queued"), _many("text", "released"), no_text, no_text, _many("timestamptz")]
    return ", ".join(
        [held, _VERSIONS, _many("uuid", worker), *words, numbers, numbers, numbers, _many("uuid"), no_text]
    )


def _ids(ids: list[str]) -> str:
    return "'{" + ",".join(sorted(ids)) + "}'"


class Costs(NamedTuple):
    """Pages touched, by stage (or wrong plan) and statement, and how many may be."""

    touched: dict[str, dict[str, int]]
    allowed: dict[str, int]


@pytest.fixture(scope="module")
def costs(databases: real.Databases) -> Iterator[Costs]:
    url = databases.create()
    yield real.blocking(lambda: _measured(url))
    databases.drop(url)


async def _measured(url: str) -> Costs:
    async with Database(url, application="test") as database, _connected(database) as early:
        await leave_unanalysed(early)
        await prepare(early)
        for name in STATEMENTS:
            await plan(early, name, None)
        workers = [await world.start_worker(early) for _ in range(WORKERS)]
        await fill(early, workers)
        asked = _asked(
            workers[0],
            await _tasks(early, workers[0], "queued"),
            await _tasks(early, workers[0], "running"),
            await _letters(early),
            await _leased(early),
        )
        touched = {KEPT: await _touched(early, asked), FULL: await _by_another(database, asked)}
        await analyse(early)
        touched[ANALYSED] = await _touched(early, asked)
        touched[BY_NO_INDEX] = await _by_another(database, asked, settings=_NO_INDEX)
        walked = {name: asked[name] for name in _BY_ID}
        touched[WALKED] = await _by_another(
            database, walked, {name: _walking(name) for name in walked}, settings=_WALKING
        )
    return Costs(touched, {name: one.pages_max for name, one in asked.items()})


@asynccontextmanager
async def _connected(database: Database) -> AsyncIterator[asyncpg.Connection]:
    conn = await database.open_connection(hot=True)
    try:
        yield conn
    finally:
        await conn.close()


async def _tasks(conn: asyncpg.Connection, worker: str, status: str) -> list[str]:
    """Some ids, from all over the table."""
    rows = await conn.fetch(
        "SELECT id::text FROM tasks WHERE status = $1 AND coalesce(worker_id, $2) = $2 ORDER BY md5(id::text) LIMIT $3",
        status, worker, ROWS,
    )  # fmt: skip
    assert len(rows) == ROWS
    return [row["id"] for row in rows]


async def _letters(conn: asyncpg.Connection) -> list[str]:
    """Some ids of letters."""
    rows = await conn.fetch("SELECT id::text FROM dead_letters ORDER BY id LIMIT $1", ROWS)
    assert len(rows) == ROWS
    return [row["id"] for row in rows]


async def _leased(conn: asyncpg.Connection) -> list[str]:
    """Some ids of deliveries in the hands of a notifier."""
    rows = await conn.fetch(
        "SELECT id::text FROM webhook_deliveries WHERE leased_until IS NOT NULL ORDER BY md5(id::text) LIMIT $1",
        ROWS,
    )
    assert len(rows) == ROWS
    return [row["id"] for row in rows]


_NO_INDEX = """SET enable_seqscan = on; SET enable_hashjoin = on; SET enable_indexscan = off;
SET enable_indexonlyscan = off; SET enable_bitmapscan = off"""
_WALKING = "SET enable_hashjoin = on"  # else it walks a hundred times
_BY_ID = (
    "store.moves.claim_tasks",
    "store.moves.record_successes",
    "store.moves.record_outcomes",
    "store.moves.read_remainder",
    "store.tasks.read_tasks",
    "store.tasks.read_statuses",
)


def _walking(name: str) -> str:
    """A statement whose condition on ids is none that an index can be entered by."""
    made = re.sub(r"\bt\.id = (wanted|g)\.id", r"t.id::text = \1.id::text", STATEMENTS[name])
    made = re.sub(r"\bid = ANY\((\$\d)::uuid\[\]\)", r"id::text = ANY(\1::text[])", made)
    made = re.sub(r"\bON id = g\.wanted", "ON id::text = g.wanted::text", made)
    assert made != STATEMENTS[name]
    return made


async def _by_another(
    database: Database,
    asked: Mapping[str, Asked],
    statements: Mapping[str, str] = STATEMENTS,
    *,
    settings: str = "SET enable_hashjoin = off",
) -> dict[str, int]:
    """By a session that plans anew."""
    async with _connected(database) as conn:
        await conn.execute(settings)
        await prepare(conn, {name: statements[name] for name in asked})
        return await _touched(conn, asked)


async def _touched(conn: asyncpg.Connection, asked: Mapping[str, Asked]) -> dict[str, int]:
    found = {}
    for name, one in asked.items():
        whole = conn.transaction()
        await whole.start()
        found[name] = buffers(await plan(conn, name, one.arguments, options=", ANALYZE, BUFFERS"))
        await whole.rollback()
    return found


HOT = tuple(_asked("", [], [], [], []))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", HOT)
def test_a_hundred_rows_touch_so_many_pages_at_most(costs: Costs, name: str, stage: str) -> None:
    print(f"{name} {stage}: {costs.touched[stage][name]} pages")
    assert costs.touched[stage][name] <= costs.allowed[name]


@pytest.mark.parametrize("name", [name for name in HOT if "insert" not in name])
def test_a_plan_by_no_index_would_be_noticed(costs: Costs, name: str) -> None:
    assert costs.touched[BY_NO_INDEX][name] > costs.allowed[name]


@pytest.mark.parametrize("name", _BY_ID)
def test_a_plan_that_walks_an_index_would_be_noticed(costs: Costs, name: str) -> None:
    assert costs.touched[WALKED][name] > costs.allowed[name]
