"""Steps of operations: a few items at a time, at the operation's rate.

A step holds the operation's row, so that of several dlq-consumers one at a time takes items of it; what it does to them
commits with the count. The rate is a token bucket in the row: it holds over restarts, and for all consumers together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from taskflow.domain.operation import Canary, CanaryPlan, Operation
from taskflow.store.connect import Conn, one_row
from taskflow.store.operations import OPERATION_COLUMNS, PAGE_ITEMS, as_operation

BURST_SECONDS = 1.0
"""So much of the rate may be made up for after a delay; the rest is forgone."""

RUNNING = """-- store.steps.running
SELECT id FROM operations WHERE status = 'running' ORDER BY id"""

# $1 id
HOLD_OPERATION = f"""-- store.steps.hold_operation
SELECT {OPERATION_COLUMNS}, taken, canary_tasks, canary_lives,
       rate_per_second * least(extract(epoch FROM clock_timestamp() - paced_at)::float8,
                               greatest({BURST_SECONDS}, 1 / rate_per_second)) AS tokens,
       coalesce(extract(epoch FROM clock_timestamp() - canary_since)::float8, 0) AS waited_seconds
FROM operations WHERE id = $1 AND status = 'running' FOR UPDATE SKIP LOCKED"""  # nosec B608  # static text

# $1 id  $2 page  $3 first place (from 1)  $4 last place
READ_ITEMS = """-- store.steps.read_items
SELECT ids[$3:$4] AS ids, guards[$3:$4] AS guards FROM operation_pages WHERE operation_id = $1 AND page = $2"""

# $1 id  $2 taken  $3 done  $4 skipped  $5 failed  $6 tasks of the canary  $7 their lives
# What is skipped costs nothing of the rate.
ADVANCE = f"""-- store.steps.advance
UPDATE operations SET taken = taken + $2, done = done + $3, skipped = skipped + $4, failed = failed + $5,
    paced_at = greatest(paced_at, clock_timestamp() - greatest({BURST_SECONDS}, 1 / rate_per_second) * interval '1 second')
             + ($3 + $5) / rate_per_second * interval '1 second',
    canary_tasks = CASE WHEN canary_state = 'replaying' THEN canary_tasks || $6::uuid[] ELSE canary_tasks END,
    canary_lives = CASE WHEN canary_state = 'replaying' THEN canary_lives || $7::integer[] ELSE canary_lives END
WHERE id = $1"""  # nosec B608  # static text

# $1 task id uuid[]  $2 life integer[]
# A life that failed has left a letter, whatever became of the task since.
JUDGE_CANARY = """-- store.steps.judge_canary
SELECT count(*) FILTER (WHERE j.failed) AS failed, count(*) FILTER (WHERE j.completed) AS succeeded,
       count(*) FILTER (WHERE j.failed OR j.over) AS over
FROM unnest($1::uuid[], $2::integer[]) AS g(id, life), LATERAL (
    SELECT EXISTS (SELECT FROM dead_letters d WHERE d.task_id = g.id AND d.life = g.life) AS failed,
           EXISTS (SELECT FROM tasks t WHERE t.id = g.id AND t.life = g.life AND t.status = 'completed') AS completed,
           NOT EXISTS (SELECT FROM tasks t WHERE t.id = g.id AND t.life = g.life AND t.status IN
                       ('scheduled', 'queued', 'running', 'retrying')) AS over
) j"""

# $1 id  $2 state  $3 succeeded  $4 failed
SET_CANARY = """-- store.steps.set_canary
UPDATE operations SET canary_state = $2, canary_succeeded = $3, canary_failed = $4,
    canary_since = coalesce(canary_since, clock_timestamp()),
    paced_at = CASE WHEN $2 = 'passed' THEN clock_timestamp() ELSE paced_at END
WHERE id = $1"""


class Held(NamedTuple):
    """An operation in the hands of a step. `tokens`: how many items its rate allows now; `taken`: how many were taken."""

    operation: Operation
    taken: int
    tokens: float
    waited_seconds: float
    canary_tasks: list[str]
    canary_lives: list[int]


class Items(NamedTuple):
    """Items of a set. `guards`: of tasks the versions that may be retried, or the lives that may be cancelled."""

    ids: list[str]
    guards: list[int] | None


class Judged(NamedTuple):
    """What became of a canary: how many failed for good, completed, and are terminal at all."""

    failed: int
    succeeded: int
    over: int


async def running(conn: Conn) -> list[str]:
    """The operations that run."""
    return [str(row["id"]) for row in await conn.fetch(RUNNING)]


async def hold(conn: Conn, operation_id: str) -> Held | None:
    """Hold a running operation until the end of the transaction; None if it does not run or another holds it."""
    row = await conn.fetchrow(HOLD_OPERATION, operation_id)
    if row is None:
        return None
    ids = [str(value) for value in row["canary_tasks"] or ()]
    return Held(
        as_operation(row), row["taken"], row["tokens"], row["waited_seconds"], ids, row["canary_lives"] or []
    )


async def read_items(conn: Conn, operation_id: str, taken: int, count: int) -> Items:
    """The next items of a set, `count` at most; fewer at the end of a page."""
    page, place = divmod(taken, PAGE_ITEMS)
    last = min(place + count, PAGE_ITEMS)
    row = await conn.fetchrow(READ_ITEMS, operation_id, page, place + 1, last)
    return Items([str(value) for value in row["ids"]], row["guards"]) if row else Items([], None)


async def advance(
    conn: Conn,
    operation_id: str,
    *,
    taken: int,
    done: int,
    failed: int = 0,
    lives: Sequence[tuple[str, int]] = (),
) -> None:
    """Note that so many items had their turn; `lives` are the tasks' new ones, kept while the canary gathers."""
    await conn.execute(
        ADVANCE,
        operation_id,
        taken,
        done,
        taken - done - failed,
        failed,
        [task_id for task_id, _ in lives],
        [life for _, life in lives],
    )


async def judge_canary(conn: Conn, held: Held) -> Judged:
    """What has become of the tasks of a canary."""
    return Judged(*await one_row(conn, JUDGE_CANARY, held.canary_tasks, held.canary_lives))


async def set_canary(conn: Conn, operation_id: str, state: str, judged: Judged) -> None:
    """Note how the canary stands."""
    await conn.execute(SET_CANARY, operation_id, state, judged.succeeded, judged.failed)


def canary_plan(canary: Canary) -> CanaryPlan:
    """What was asked of a canary."""
    return CanaryPlan(canary.first, canary.stop_if_failed, canary.wait_seconds)
