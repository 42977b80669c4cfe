"""100,000 tasks as a system that has run for a while has them, written in a few seconds."""

from __future__ import annotations

import asyncpg

TASKS = 100_000
LIMITS = 20_000
WORKERS = 5

# Of a hundred tasks 87 are completed, two failed, one was cancelled, six wait, one runs, two are scheduled, one is to be
# retried; all mixed, so that what is near in an index is far apart in the table.
_TASKS = """
INSERT INTO tasks (id, type, queue, lane, payload, created_at, max_attempts, timeout_seconds, retry, owner_id, status,
                   version, seq, number, attempt, worker_id, due_at, expires_at, queued_at, rung_at, started_at,
                   finished_at, result)
SELECT (lpad(to_hex(made_ms), 12, '0') || '7' || substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15))::uuid,
       (ARRAY['echo', 'demo'])[1 + i / 100 % 2], (ARRAY['default', 'default', 'mail', 'thumbs'])[1 + i / 200 % 4],
       i / 800 % 4, json_build_object('n', i, 'text', repeat('x', 100)), to_timestamp(made_ms / 1000.0), 5, 30, '{}',
       '00000000-0000-0000-0000-000000000000', status, version, version, number, number,
       CASE WHEN number > 0 THEN w.ids[1 + i / 100 % cardinality(w.ids)] END,
       CASE WHEN status IN ('scheduled', 'retrying') THEN now() + interval '1 hour' * (i - $1 / 5) / $1 END,
       CASE WHEN i / 100 % 10 = 0 THEN now() + interval '1 day' END,
       CASE WHEN status <> 'scheduled' THEN to_timestamp(made_ms / 1000.0) END,
       CASE WHEN status = 'queued' AND i / 3200 % 10 = 0 THEN 'infinity'
            WHEN status <> 'scheduled' THEN to_timestamp(made_ms / 1000.0) END,
       CASE WHEN number > 0 THEN now() END, CASE WHEN ended THEN now() END,
       CASE WHEN status = 'completed' THEN '{"ok": true}'::json END
FROM (SELECT array_agg(id ORDER BY id) AS ids FROM workers) w, generate_series(0, $1 - 1) AS i,
     LATERAL (SELECT (extract(epoch FROM now()) * 1000)::bigint - 600000 + i * 5) AS m(made_ms),
     LATERAL (SELECT * FROM (VALUES (0, 86, 'completed', 3, 1, true), (87, 88, 'failed', 3, 1, true),
                                    (89, 89, 'cancelled', 3, 1, true), (90, 95, 'queued', 1, 0, false),
                                    (96, 96, 'running', 2, 1, false), (97, 98, 'scheduled', 1, 0, false),
                                    (99, 99, 'retrying', 3, 1, false))
                  AS s(first, last, status, version, number, ended) WHERE i % 100 BETWEEN first AND last) AS s"""

_EXECUTIONS = """
INSERT INTO executions (task_id, number, life, attempt, status, moved_to, worker_id, started_at, finished_at, started_seq,
                        finished_seq)
SELECT id, 1, 1, 1, CASE status WHEN 'completed' THEN 'succeeded' WHEN 'cancelled' THEN 'cancelled' ELSE 'failed' END,
       status, worker_id, started_at, now(), 2, 3
FROM tasks WHERE number > 0 AND status <> 'running'"""

_LETTERS = """
INSERT INTO dead_letters (id, task_id, life, attempts, type, queue, reason, worker_id, created_at, handled_at)
SELECT gen_random_uuid(), id, 1, 1, type, queue, 'permanent', worker_id, now(), now() FROM tasks WHERE status = 'failed'"""

_LINES = """
INSERT INTO task_logs (task_id, at, seq, number, level, message)
SELECT id, now(), 2, 1, 'info', 'something was done' FROM tasks WHERE status = 'completed' AND type = 'demo'"""

_EVENTS = """
INSERT INTO task_events (task_id, at, seq, kind, status) SELECT id, now(), 3, 'task', status FROM tasks
WHERE status = 'cancelled'"""

_LIMITS = """
INSERT INTO rate_limits (subject, minutes, counts)
SELECT 'key:' || i, ARRAY(SELECT minute - 59 + k FROM generate_series(0, 59) k), array_fill(1, ARRAY[60])
FROM generate_series(1, $1::integer) AS i, (SELECT floor(extract(epoch FROM now()) / 60)::integer) AS now(minute)"""


DELIVERIES = 15_000
PENDING = 5_000
HOSTS = 300
BUSY_HOSTS = 4

# A third is pending: of these most wait for four hosts, each of the others has one; the half of them is due, some are
# leased.
_DELIVERIES = """
INSERT INTO webhook_deliveries (id, task_id, owner_id, created_at, due_at, leased_until, finished_at, turn, attempts,
                                status, event, url, host, content)
SELECT (lpad(to_hex(made_ms), 12, '0') || '7' || substr(md5('d' || i), 1, 3) || '8' || substr(md5('d' || i), 4, 15))::uuid,
       t.ids[1 + i], md5('o' || i % 50)::uuid, to_timestamp(made_ms / 1000.0), coalesce(leased_until, due_at),
       leased_until, CASE WHEN i % 3 > 0 THEN now() END, 1, CASE WHEN i % 3 > 0 THEN 1 ELSE 0 END,
       (ARRAY['pending', 'delivered', 'failed'])[1 + i % 3], 'task.succeeded', host || '/hook', host,
       json_build_object('n', i, 'text', repeat('x', 500))
FROM (SELECT array_agg(id ORDER BY md5(id::text)) AS ids FROM tasks) t, generate_series(0, $1 - 1) AS i,
     LATERAL (SELECT (extract(epoch FROM now()) * 1000)::bigint - 600000 + i * 30,
                     now() + interval '1 second' * (i / 3 - $2 / 2),
                     CASE WHEN i % 30 = 0 THEN now() + interval '1 hour' END,
                     'https://' || CASE WHEN i / 3 < $3 THEN 'h' || i / 3 ELSE 'busy' || i / 3 % $4 END)
         AS m(made_ms, due_at, leased_until, host)"""

_ATTEMPTS = """
INSERT INTO webhook_attempts (delivery_id, number, started_at, duration_seconds, status_code, error, answer)
SELECT id, 1, now(), 0.1, 200, NULL, 'ok' FROM webhook_deliveries WHERE attempts > 0"""

_ENDPOINTS = """
INSERT INTO webhook_endpoints (owner_id, url, failures, touched_at)
SELECT DISTINCT owner_id, url, 1, now() FROM webhook_deliveries"""


async def fill_deliveries(conn: asyncpg.Connection) -> None:
    """Deliveries of these tasks: to a few hosts very many, to hundreds one."""
    await conn.execute(_DELIVERIES, DELIVERIES, PENDING, HOSTS, BUSY_HOSTS)
    await conn.execute(_ATTEMPTS)
    await conn.execute(_ENDPOINTS)
    assert await conn.fetchval("SELECT count(*) FROM webhook_deliveries WHERE status = 'pending'") == PENDING


async def fill(conn: asyncpg.Connection, workers: list[str], tasks: int = TASKS) -> None:
    """So many tasks and what belongs to them; what runs or has run did so on these workers, who are registered."""
    assert len(workers) == WORKERS
    await conn.execute(_TASKS.replace("$1", str(tasks)))
    for statement in (_EXECUTIONS, _LETTERS, _LINES, _EVENTS):
        await conn.execute(statement)
    await conn.execute(_LIMITS, LIMITS)
    await fill_deliveries(conn)
    assert await conn.fetchval("SELECT count(*) FROM tasks") == tasks
