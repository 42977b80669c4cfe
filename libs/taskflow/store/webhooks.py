"""Webhook deliveries as rows: leased to a notifier, tried, recorded; told to callers, sent again.

A lease is a time, and a turn that grows: who does not hold the newest turn records nothing. Rows that wait are found by
host, so that a host with many of them does not stand before the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from taskflow.domain.webhook import SLOWED_AFTER_FAILURES
from taskflow.store.connect import Conn
from taskflow.store.telling import NEW_ID

SLOWED_SECONDS = 600.0
"""An endpoint that is slowed gets one try in so many seconds."""

# Seconds until the first pending delivery is due; what is leased is due when its lease ends.
NEXT_DUE = """-- store.webhooks.next_due
SELECT extract(epoch FROM due_at - now())::float8 FROM webhook_deliveries WHERE status = 'pending'
ORDER BY due_at LIMIT 1"""

# $1 after this host  $2 hosts at most  $3 deliveries of a host at most  $4 hosts that have  $5 this many under way
# $6 deliveries at most  $7 lease in seconds
# A loose index scan: one probe a host, however many rows wait. `last_host` is where the next look may go on.
LEASE = """-- store.webhooks.lease
WITH RECURSIVE hosts AS (
    (SELECT host, 1 AS n FROM webhook_deliveries WHERE status = 'pending' AND host > $1 ORDER BY host LIMIT 1)
    UNION ALL
    SELECT x.host, h.n + 1 FROM hosts h, LATERAL (
        SELECT d.host FROM webhook_deliveries d WHERE d.status = 'pending' AND d.host > h.host
        ORDER BY d.host LIMIT 1) x
    WHERE h.n < $2
), due AS MATERIALIZED (
    SELECT p.id FROM hosts h
    LEFT JOIN unnest($4::text[], $5::integer[]) AS b(host, busy) ON b.host = h.host,
    LATERAL (
        SELECT d.id FROM webhook_deliveries d
        WHERE d.status = 'pending' AND d.host = h.host AND d.due_at <= now()
        ORDER BY d.due_at LIMIT greatest(0, $3 - coalesce(b.busy, 0)) FOR UPDATE SKIP LOCKED) p
    LIMIT $6
), leased AS (
    UPDATE webhook_deliveries d
    SET turn = d.turn + 1, leased_until = now() + $7 * interval '1 second', due_at = now() + $7 * interval '1 second'
    FROM due WHERE d.id = due.id
    RETURNING d.id, d.task_id, d.owner_id, d.created_at, d.turn, d.attempts, d.spent_before, d.max_attempts, d.event,
              d.url, d.host, d.sealed, d.content
)
SELECT l.*, coalesce(e.failures, 0) AS failures,
       coalesce(extract(epoch FROM e.next_try_at - now()), 0)::float8 AS slowed_seconds,
       extract(epoch FROM now() - l.created_at)::float8 AS age_seconds,
       (SELECT count(*) FROM hosts) AS hosts_seen, (SELECT host FROM hosts ORDER BY n DESC LIMIT 1) AS last_host
FROM (SELECT true) one LEFT JOIN leased l ON true
LEFT JOIN webhook_endpoints e ON e.owner_id = l.owner_id AND e.url = l.url"""


class Leased(Struct, frozen=True):
    """A delivery in a notifier's hands. `slowed_seconds`: how long its endpoint, if slowed, is not to be tried yet."""

    id: str
    task_id: str | None
    owner_id: str
    turn: int
    attempts: int
    spent_before: int
    max_attempts: int | None
    event: str
    url: str
    host: str
    sealed: str | None
    content: str
    failures: int
    slowed_seconds: float
    age_seconds: float


async def next_due(conn: Conn) -> float | None:
    """Seconds until a delivery is due, negative if one is; None if none is pending."""
    seconds: float | None = await conn.fetchval(NEXT_DUE)
    return seconds


async def lease(
    conn: Conn,
    *,
    after_host: str,
    hosts_max: int,
    of_host_max: int,
    busy: dict[str, int],
    limit: int,
    lease_seconds: float,
) -> tuple[list[Leased], int, str | None]:
    """Take due deliveries, of each host as many as may be under way; and how many hosts were looked at, which was last."""
    rows = await conn.fetch(
        LEASE, after_host, hosts_max, of_host_max, list(busy), list(busy.values()), limit, lease_seconds
    )
    leased = [
        Leased(
            str(r["id"]),
            str(r["task_id"]) if r["task_id"] else None,
            str(r["owner_id"]),
            r["turn"],
            r["attempts"],
            r["spent_before"],
            r["max_attempts"],
            r["event"],
            r["url"],
            r["host"],
            r["sealed"],
            r["content"],
            r["failures"],
            r["slowed_seconds"],
            r["age_seconds"],
        )
        for r in rows
        if r["id"] is not None
    ]
    return leased, rows[0]["hosts_seen"], rows[0]["last_host"]


class Tried(Struct, frozen=True):
    """How a try ended. `delay_seconds`: until the next; None: that was the last."""

    id: str
    turn: int
    started_at: datetime
    duration_seconds: float
    status_code: int | None
    error: str | None
    answer: str | None
    delay_seconds: float | None = None


# $1 delivery id uuid[] (sorted)  $2 turn  $3 started at  $4 duration  $5 status code  $6 error  $7 answer
# $8 seconds until the next try, null: none  $9 failures that slow an endpoint  $10 seconds between tries of such a one
# A lease is recorded once: what is repeated because its answer was lost changes nothing.
RECORD_TRIES = """-- store.webhooks.record_tries
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[], $4::float8[], $5::smallint[], $6::text[],
                         $7::text[], $8::float8[])
        AS g(id, turn, started_at, seconds, status_code, error, answer, delay)
), moved AS (
    UPDATE webhook_deliveries d
    SET attempts = d.attempts + 1, leased_until = NULL,
        status = CASE WHEN g.error IS NULL THEN 'delivered' WHEN g.delay IS NULL THEN 'failed' ELSE 'pending' END,
        due_at = CASE WHEN g.delay IS NULL THEN d.due_at ELSE clock_timestamp() + g.delay * interval '1 second' END,
        finished_at = CASE WHEN g.delay IS NULL THEN clock_timestamp() END
    FROM given g WHERE d.id = g.id AND d.turn = g.turn AND d.leased_until IS NOT NULL
    RETURNING d.id, d.attempts, d.owner_id, d.url, g.started_at, g.seconds, g.status_code, g.error, g.answer
), tried AS (
    INSERT INTO webhook_attempts (delivery_id, number, started_at, duration_seconds, status_code, error, answer)
    SELECT id, attempts, started_at, seconds, status_code, error, answer FROM moved
), sums AS (
    SELECT owner_id, url, bool_or(error IS NULL) AS arrived, count(*) AS n, max(error) AS error FROM moved
    GROUP BY owner_id, url ORDER BY owner_id, url
), endpoints AS (
    INSERT INTO webhook_endpoints AS e (owner_id, url, failures, failing_since, delivered_at, touched_at, error)
    SELECT owner_id, url, CASE WHEN arrived THEN 0 ELSE n END, CASE WHEN NOT arrived THEN clock_timestamp() END,
           CASE WHEN arrived THEN clock_timestamp() END, clock_timestamp(), CASE WHEN NOT arrived THEN error END
    FROM sums
    ON CONFLICT (owner_id, url) DO UPDATE
    SET failures = CASE WHEN excluded.failures = 0 THEN 0 ELSE e.failures + excluded.failures END,
        failing_since = CASE WHEN excluded.failures > 0 THEN coalesce(e.failing_since, excluded.failing_since) END,
        delivered_at = coalesce(excluded.delivered_at, e.delivered_at),
        next_try_at = CASE WHEN excluded.failures > 0 AND e.failures + excluded.failures >= $9
                           THEN clock_timestamp() + $10 * interval '1 second' END,
        touched_at = clock_timestamp(), error = excluded.error
    RETURNING e.owner_id, e.url, e.failures
)
SELECT m.id, m.attempts, e.failures FROM moved m JOIN endpoints e ON e.owner_id = m.owner_id AND e.url = m.url"""

# $1 owner id  $2 url  $3 host  $4 limit
# What a slowed endpoint has put off goes at once when it is reached again; what is under way is left alone.
HASTEN = """-- store.webhooks.hasten
WITH put_off AS (
    SELECT id FROM webhook_deliveries
    WHERE status = 'pending' AND host = $3 AND due_at > now() AND leased_until IS NULL AND owner_id = $1 AND url = $2
    ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE webhook_deliveries d SET due_at = now() FROM put_off p WHERE d.id = p.id"""

# $1 owner id  $2 url  $3 seconds between tries
# Of a slowed endpoint one try at a time goes: who moves its clock may.
TAKE_SLOWED_TURN = """-- store.webhooks.take_slowed_turn
UPDATE webhook_endpoints SET next_try_at = clock_timestamp() + $3 * interval '1 second'
WHERE owner_id = $1 AND url = $2 AND (next_try_at IS NULL OR next_try_at <= clock_timestamp()) RETURNING url"""

# $1 delivery id uuid[] (sorted)  $2 turn  $3 seconds, null: it is given up
# What is leased is pending; to say so would let the planner go in by an index of all that is.
PUT_OFF = """-- store.webhooks.put_off
UPDATE webhook_deliveries d
SET due_at = coalesce(clock_timestamp() + g.delay * interval '1 second', d.due_at), leased_until = NULL,
    status = CASE WHEN g.delay IS NULL THEN 'failed' ELSE d.status END,
    finished_at = CASE WHEN g.delay IS NULL THEN clock_timestamp() END
FROM unnest($1::uuid[], $2::integer[], $3::float8[]) AS g(id, turn, delay)
WHERE d.id = g.id AND d.turn = g.turn AND d.leased_until IS NOT NULL"""


async def record_tries(conn: Conn, tries: Sequence[Tried]) -> dict[str, int]:
    """Write how tries ended. By delivery id how often in a row its endpoint has failed now; stale turns are left out."""
    rows = sorted(tries, key=lambda row: row.id)
    found = await conn.fetch(
        RECORD_TRIES,
        [r.id for r in rows],
        [r.turn for r in rows],
        [r.started_at for r in rows],
        [r.duration_seconds for r in rows],
        [r.status_code for r in rows],
        [r.error for r in rows],
        [r.answer for r in rows],
        [r.delay_seconds for r in rows],
        SLOWED_AFTER_FAILURES,
        SLOWED_SECONDS,
    )
    return {str(row["id"]): row["failures"] for row in found}


async def hasten(conn: Conn, owner_id: str, url: str, host: str, limit: int) -> None:
    """Make what waits for this endpoint due now."""
    await conn.execute(HASTEN, owner_id, url, host, limit)


async def take_slowed_turn(conn: Conn, owner_id: str, url: str) -> bool:
    """Whether a slowed endpoint may be tried now, by who asks."""
    return await conn.fetchval(TAKE_SLOWED_TURN, owner_id, url, SLOWED_SECONDS) is not None


async def put_off(conn: Conn, waits: Sequence[tuple[str, int, float | None]]) -> None:
    """Give leased deliveries (id, turn) back, to be due in so many seconds; no attempt is spent. None: give them up."""
    rows = sorted(waits, key=lambda row: row[0])
    await conn.execute(PUT_OFF, [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])


# $1 task id  $2 owner id, or null: anybody's  $3 event  $4 url  $5 host  $6 sealed  $7 max attempts
# Says what stands: the row as it is now.
SEND_NOW = f"""-- store.webhooks.send_now
INSERT INTO webhook_deliveries (id, task_id, owner_id, created_at, due_at, event, url, host, sealed, max_attempts,
                                content)
SELECT {NEW_ID}, t.id, t.owner_id, clock_timestamp(), clock_timestamp(), $3, $4, $5, $6, $7, to_json(t)
FROM tasks t WHERE t.id = $1 AND ($2::uuid IS NULL OR t.owner_id = $2)
RETURNING id"""

# $1 owner id  $2 event  $3 url  $4 host  $5 sealed  $6 content
ALERT = f"""-- store.webhooks.alert
INSERT INTO webhook_deliveries (id, owner_id, created_at, due_at, event, url, host, sealed, content)
VALUES ({NEW_ID}, $1, clock_timestamp(), clock_timestamp(), $2, $3, $4, $5, $6)"""

# $1 delivery id  $2 task id  $3 owner id, or null: anybody's
# One that is pending goes now, in the same budget; one that has ended begins a fresh one.
REPLAY = """-- store.webhooks.replay
UPDATE webhook_deliveries
SET status = 'pending', due_at = CASE WHEN leased_until > now() THEN due_at ELSE now() END, finished_at = NULL,
    spent_before = CASE WHEN status = 'pending' THEN spent_before ELSE attempts END
WHERE id = $1 AND task_id = $2 AND ($3::uuid IS NULL OR owner_id = $3) RETURNING id"""


# $1 delivery id
# Who sends on demand has probably mended the endpoint: a slowed one may be tried now.
ALLOW_TRY = """-- store.webhooks.allow_try
UPDATE webhook_endpoints e SET next_try_at = now()
FROM webhook_deliveries d WHERE d.id = $1 AND e.owner_id = d.owner_id AND e.url = d.url AND e.next_try_at > now()"""


async def allow_try(conn: Conn, delivery_id: str) -> None:
    """Let this delivery's endpoint be tried now, however often it has failed."""
    await conn.execute(ALLOW_TRY, delivery_id)


async def send_now(
    conn: Conn,
    task_id: str,
    owner: str | None,
    *,
    event: str,
    url: str,
    host: str,
    sealed: str | None,
    max_attempts: int | None,
) -> str | None:
    """Write a delivery of the task as it is; returns its id, None without such a task."""
    made = await conn.fetchval(SEND_NOW, task_id, owner, event, url, host, sealed, max_attempts)
    return str(made) if made else None


async def alert(
    conn: Conn, owner_id: str, event: str, url: str, host: str, sealed: str | None, content: str
) -> None:
    """Write a delivery that tells operators something."""
    await conn.execute(ALERT, owner_id, event, url, host, sealed, content)


async def replay(conn: Conn, delivery_id: str, task_id: str, owner: str | None) -> bool:
    """Send a delivery of this task again; False without such a one."""
    return await conn.fetchval(REPLAY, delivery_id, task_id, owner) is not None
