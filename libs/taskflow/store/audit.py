"""What may never be, looked for in the rows. Read only; call it in one repeatable-read transaction.

`scan_*` go through all tasks and all dead letters, page by page along the primary key: about 15 s a million on a hot line,
whose plans read no more than a page. The others go in by partial indexes and cost little however much is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from taskflow.domain.task import LOCAL_OWNER
from taskflow.store.connect import Conn

PAGE = 10_000
KEPT_MAX = 100_000
"""Ids kept of one kind of finding; counting goes on."""
_FIRST_ID = "00000000-0000-0000-0000-000000000000"


class Found(NamedTuple):
    """How many there are, and ids of them, not always all."""

    n: int
    ids: list[str]


class Bound(NamedTuple):
    """Queued tasks of this queue and lane that were rung before this moment have no doorbell any more."""

    queue: str
    lane: int
    before: datetime


class Scan(NamedTuple):
    """All tasks, counted by (queue, type, status), and what is wrong with some, by the columns of `FLAGS`.

    `owned`: by (owner, queue, type, status), the built-in owner's left out, as the figures by owner leave them out.
    """

    counts: dict[tuple[str, ...], int]
    owned: dict[tuple[str, ...], int]
    flagged: dict[str, Found]


FLAGS = ("successes_missing", "successes_twice", "tries_missing", "attempts_over", "letters_missing")

# $1 after this id  $2 limit  $3 letters are kept for (seconds)
# The tries of each task are counted by their primary key, one probe a task: that holds on ranges nobody has analysed.
# A running try has no row yet. A resolved letter may be older than it is kept, which no younger failure's can be.
SCAN_TASKS = """-- store.audit.scan_tasks
WITH page AS MATERIALIZED (
    SELECT id, status, type, queue, owner_id, life, number, max_attempts, finished_at
    FROM tasks WHERE id > $1 ORDER BY id LIMIT $2
), judged AS MATERIALIZED (
    SELECT p.id, p.queue, p.type, p.status, p.owner_id,
           p.status = 'completed' AND e.won = 0 AS successes_missing,
           e.wins > e.lives_won AS successes_twice,
           e.n <> p.number - CASE WHEN p.status = 'running' THEN 1 ELSE 0 END AS tries_missing,
           coalesce(e.attempt > p.max_attempts, false) AS attempts_over,
           p.status = 'failed' AND p.finished_at > now() - $3 * interval '1 second' AND NOT EXISTS (
               SELECT FROM dead_letters d WHERE d.task_id = p.id AND d.life = p.life) AS letters_missing
    FROM page p CROSS JOIN LATERAL (
        SELECT count(*) AS n, max(x.attempt) AS attempt,
               count(*) FILTER (WHERE x.status = 'succeeded') AS wins,
               count(DISTINCT x.life) FILTER (WHERE x.status = 'succeeded') AS lives_won,
               count(*) FILTER (WHERE x.status = 'succeeded' AND x.life = p.life) AS won
        FROM executions x WHERE x.task_id = p.id) e
)
SELECT owner_id, queue, type, status, count(*) AS n, max(id::text) AS last,
       array_agg(id ORDER BY id) FILTER (WHERE successes_missing) AS successes_missing,
       array_agg(id ORDER BY id) FILTER (WHERE successes_twice) AS successes_twice,
       array_agg(id ORDER BY id) FILTER (WHERE tries_missing) AS tries_missing,
       array_agg(id ORDER BY id) FILTER (WHERE attempts_over) AS attempts_over,
       array_agg(id ORDER BY id) FILTER (WHERE letters_missing) AS letters_missing
FROM judged GROUP BY owner_id, queue, type, status"""

# $1 after this id  $2 limit
SCAN_LETTERS = """-- store.audit.scan_letters
WITH page AS MATERIALIZED (
    SELECT id, task_id, life FROM dead_letters WHERE id > $1 AND status = 'pending' ORDER BY id LIMIT $2
)
SELECT count(*) AS n, max(p.id::text) AS last,
       array_agg(p.id ORDER BY p.id) FILTER (WHERE t.id IS NULL OR t.life <> p.life OR t.status <> 'failed') AS orphaned
FROM page p LEFT JOIN tasks t ON t.id = p.task_id"""

# $1 queue[]  $2 lane[]  $3 rung before[]  $4 examples a subject
LOST_DOORBELLS = """-- store.audit.lost_doorbells
SELECT n.n, few.ids FROM unnest($1::text[], $2::smallint[], $3::timestamptz[]) AS g(queue, lane, before)
CROSS JOIN LATERAL (
    SELECT count(*) AS n FROM tasks t
    WHERE t.status = 'queued' AND t.queue = g.queue AND t.lane = g.lane AND t.rung_at < g.before) n
CROSS JOIN LATERAL (
    SELECT ARRAY(SELECT t.id FROM tasks t
                 WHERE t.status = 'queued' AND t.queue = g.queue AND t.lane = g.lane AND t.rung_at < g.before
                 ORDER BY t.rung_at LIMIT $4) AS ids) few
WHERE n.n > 0"""

# $1 queue[]  $2 type[]  (pairs)  $3 queued before  $4 limit
PARKED_THOUGH_SERVED = """-- store.audit.parked_though_served
WITH served AS MATERIALIZED (
    SELECT queue, array_agg(type) AS types FROM unnest($1::text[], $2::text[]) AS g(queue, type) GROUP BY queue
)
SELECT p.id FROM served s, generate_series(0, 3) AS l(lane), LATERAL (
    SELECT t.id FROM tasks t
    WHERE t.status = 'queued' AND t.queue = s.queue AND t.lane = l.lane AND t.rung_at = 'infinity'
      AND t.type = ANY (s.types) AND t.queued_at < $3) p
LIMIT $4"""

# $1 open for (seconds), reckoned from the cancel or, after a replay, from the last time the task was queued
# A try has a row while it is open only if its task was cancelled under it.
OPEN_TRIES = """-- store.audit.open_tries
SELECT e.task_id, e.number FROM executions e LEFT JOIN tasks t ON t.id = e.task_id
WHERE e.status = 'started'
  AND (t.id IS NULL OR coalesce(t.finished_at, t.queued_at, e.started_at) < now() - $1 * interval '1 second')"""


async def scan_tasks(conn: Conn, *, letters_kept_seconds: float) -> Scan:
    """Go through all tasks; `FLAGS` names what may be found."""
    counts, owned = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    flagged: dict[str, list[str]] = {flag: [] for flag in FLAGS}
    found: Counter[str] = Counter()
    after, seen = _FIRST_ID, PAGE
    while seen >= PAGE:
        rows = await conn.fetch(SCAN_TASKS, after, PAGE, letters_kept_seconds)
        for row in rows:
            owner, place = str(row["owner_id"]), (row["queue"], row["type"], row["status"])
            counts[place] += row["n"]
            if owner != LOCAL_OWNER:
                owned[owner, *place] += row["n"]
            for flag in FLAGS:
                ids = row[flag] or ()
                found[flag] += len(ids)
                flagged[flag] += _some(ids, flagged[flag])
        seen = sum(row["n"] for row in rows)
        after = max((row["last"] for row in rows), default=after)
    return Scan(counts, owned, {flag: Found(found[flag], flagged[flag]) for flag in FLAGS})


async def scan_letters(conn: Conn) -> Found:
    """Pending dead letters whose task is gone, lives on, or has not failed."""
    count, orphaned = 0, list[str]()
    after, seen = _FIRST_ID, PAGE
    while seen >= PAGE:
        [row] = await conn.fetch(SCAN_LETTERS, after, PAGE)
        ids = row["orphaned"] or ()
        count += len(ids)
        orphaned += _some(ids, orphaned)
        seen, after = row["n"], row["last"]
    return Found(count, orphaned)


async def lost_doorbells(conn: Conn, bounds: Sequence[Bound], *, examples: int) -> Found:
    """Queued tasks that were rung before the bound of their subject."""
    rows = await conn.fetch(
        LOST_DOORBELLS,
        [bound.queue for bound in bounds],
        [bound.lane for bound in bounds],
        [bound.before for bound in bounds],
        examples,
    )
    return Found(sum(row["n"] for row in rows), [str(value) for row in rows for value in row["ids"]])


async def parked_though_served(
    conn: Conn, served: Sequence[tuple[str, str]], *, queued_before: datetime
) -> Found:
    """Parked tasks of these (queue, type) pairs."""
    rows = await conn.fetch(
        PARKED_THOUGH_SERVED, [q for q, _ in served], [t for _, t in served], queued_before, KEPT_MAX
    )
    return Found(len(rows), [str(row["id"]) for row in rows])


async def open_tries(conn: Conn, *, open_seconds: float) -> list[tuple[str, int]]:
    """(task id, number) of tries that nobody has closed for so long after their task was cancelled."""
    return [(str(row["task_id"]), row["number"]) for row in await conn.fetch(OPEN_TRIES, open_seconds)]


def _some(ids: Sequence[object], kept: list[str]) -> list[str]:
    return [str(value) for value in ids[: max(0, KEPT_MAX - len(kept))]]
