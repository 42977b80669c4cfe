"""Lists and figures of a million tasks: how long a reader waits for them.

The tasks were made over three weeks, of 20 pairs of queue and type: most of them are completed, 25,000 are queued, some
thousands wait for their time, a thousand run; half have tags, half are of fifty accounts. What is called old is found among
the oldest hundredth alone, `none` nowhere. Beside them lie the figures of two weeks. Each question is asked 20 times over
HTTP, a page being 100 items: by an admin, and by an account that has 10,000 of the tasks. Every answer is checked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx
from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.figures import Row, Table, percentiles, short
from tests.benchmarks.ground import Ground, running_ground
from tests.support import accounts
from tests.support.apis import running_api

from taskflow.kit.clock import rfc3339

TASKS = 1_000_000
ASKED = 20
DAYS = 21
SERIES_DAYS = 14
PASSWORD = "a password for measurements"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

# $1 how many  $2 an owner's id. Nobody serves these types: what is queued is parked, what runs does so for a day.
_TASKS = """
INSERT INTO tasks (id, type, queue, lane, tags, payload, created_at, max_attempts, timeout_seconds, retry, owner_id, status,
                   version, seq, number, attempt, worker_id, due_at, queued_at, rung_at, started_at, finished_at, result)
SELECT (lpad(to_hex(made_ms), 12, '0') || '7' || substr(h, 1, 3) || '8' || substr(h, 4, 15))::uuid,
       CASE WHEN is_old AND i % 3 = 0 THEN 'old' ELSE 'type-' || k % 10 END,
       CASE WHEN is_old AND i % 5 = 0 THEN 'old' ELSE 'queue-' || k % 20 / 4 END,
       CASE WHEN is_old AND i % 7 = 0 THEN 0 ELSE 1 + i % 3 END,
       CASE WHEN is_old AND i % 1000 = 0 THEN '{old}'::text[]
            WHEN i % 2 = 0 THEN ARRAY['customer-' || k % 5000, 'half'] ELSE '{}' END,
       json_build_object('n', i, 'text', repeat('x', 100)), to_timestamp(made_ms / 1000.0), 5, 86400, '{}',
       CASE WHEN i % 100 = 1 THEN $2::uuid WHEN i % 2 = 1 THEN md5('owner' || k % 49)::uuid
            ELSE '00000000-0000-0000-0000-000000000000' END,
       s.status, version, version, number, number, CASE WHEN number > 0 THEN md5('worker')::uuid END,
       CASE WHEN status IN ('scheduled', 'retrying') THEN now() + interval '20 days' END,
       CASE WHEN status <> 'scheduled' THEN to_timestamp(made_ms / 1000.0) END,
       CASE WHEN status = 'queued' THEN 'infinity' WHEN status <> 'scheduled' THEN to_timestamp(made_ms / 1000.0) END,
       CASE WHEN number > 0 THEN now() END, CASE WHEN ended THEN now() END,
       CASE WHEN status = 'completed' THEN '{"ok": true}'::json END
FROM generate_series(0, $1::integer - 1) AS i,
     LATERAL (SELECT md5(i::text), i < $1 / 100, ('x' || substr(md5('k' || i), 1, 7))::bit(28)::integer,
                     (extract(epoch FROM now()) * 1000)::bigint - ($1 - i) * (21 * 86400000::bigint / $1))
         AS made(h, is_old, k, made_ms),
     LATERAL (SELECT * FROM (VALUES (0, 939, 'completed', 3, 1, true), (940, 959, 'failed', 3, 1, true),
                                    (960, 964, 'cancelled', 3, 1, true), (965, 989, 'queued', 1, 0, false),
                                    (990, 990, 'running', 2, 1, false), (991, 996, 'scheduled', 1, 0, false),
                                    (997, 999, 'retrying', 3, 1, false))
                  AS s(first, last, status, version, number, ended)
              WHERE k % 1000 BETWEEN first AND last) AS s"""
_EXPIRED = "UPDATE tasks SET status = 'expired' WHERE queue = 'old' AND type = 'old' AND status = 'completed'"
_WORKER = """
INSERT INTO workers (id, started_at, seen_at, lease_until, pid, slots, host, version, queues, types)
VALUES (md5('worker')::uuid, now(), now(), now() + interval '1 day', 1, 1000, 'bench', '0', '{none}', '{none}')"""
_QUEUES = "INSERT INTO queues (name) SELECT DISTINCT queue FROM tasks ON CONFLICT DO NOTHING"
_TOTALS = """
INSERT INTO stat_totals AS s (queue, type, status, n)
SELECT queue, type, coalesce(status, 'accepted'), count(*) FROM tasks
GROUP BY GROUPING SETS ((queue, type, status), (queue, type))"""
_OWNED = """
INSERT INTO owner_totals (owner_id, queue, type, status, n)
SELECT owner_id, queue, type, coalesce(status, 'accepted'), count(*) FROM tasks
WHERE owner_id <> '00000000-0000-0000-0000-000000000000'
GROUP BY GROUPING SETS ((owner_id, queue, type, status), (owner_id, queue, type))"""
# $1 days, of steps below an hour, and until it is asked. Something happens in every step, to all of 20 pairs.
_SERIES = """
INSERT INTO stat_series (step_seconds, at, queue, type, submitted, started, completed, failed, retried, waits, runs)
SELECT step, at, queue, type, step * n, step * n, step * n - 2, 1, 1,
       array_fill(0, ARRAY[8 + k]) || array_fill(step * n / 12, ARRAY[12]),
       array_fill(0, ARRAY[20 + k]) || array_fill(step * n / 12, ARRAY[12])
FROM unnest(ARRAY[60, 300, 900, 3600, 21600, 86400]) AS steps(step),
     LATERAL (SELECT step * interval '1 second') AS w(width),
     generate_series(date_bin(width, now() - interval '1 day' * CASE WHEN step < 3600 THEN $1 ELSE 14 END, 'epoch'),
                     now() + interval '1 hour', width) AS at,
     (SELECT coalesce('queue-' || k / 4, ''), coalesce('type-' || k % 10, ''), count(*)::integer, min(k)
      FROM generate_series(0, 19) AS k GROUP BY CUBE ('queue-' || k / 4, 'type-' || k % 10)) AS kinds(queue, type, n, k)"""


class Question(NamedTuple):
    """Filters of a list. The last of `pages` is timed; `few`: that many are found, or None for a full page."""

    query: dict[str, Any]
    pages: int = 1
    few: int | None = None


def _lists(now: datetime) -> dict[str, Question]:
    """By each filter, and by several."""
    a_day = {"created_after": rfc3339(now - 9 * DAY), "created_before": rfc3339(now - 8 * DAY)}
    return {
        "the newest": Question({}),
        "second page": Question({}, pages=2),
        "of a day": Question(a_day),
        "completed": Question({"status": "completed"}),
        "failed": Question({"status": "failed"}),
        "failed, second page": Question({"status": "failed"}, pages=2),
        "cancelled": Question({"status": "cancelled"}),
        "expired, all old": Question({"status": "expired"}),
        "queued": Question({"status": "queued"}),
        "running": Question({"status": "running"}),
        "scheduled or retrying": Question({"status": ["scheduled", "retrying"]}),
        "of a queue": Question({"queue": "queue-1"}),
        "of a queue and a type, failed": Question({"queue": "queue-1", "type": "type-6", "status": "failed"}),
        "of a queue that has none": Question({"queue": "none"}, few=0),
        "of a type": Question({"type": "type-3"}),
        "of a type, queued, of a day": Question({"type": "type-3", "status": "queued", **a_day}),
        "of a type that has none": Question({"type": "none"}, few=0),
        "of low priority": Question({"priority": "low"}),
        "with a tag that half have": Question({"tag": "half"}),
    }


def _searches() -> dict[str, Question]:
    """By filters without an index, for what is rare: all tasks are looked through."""
    return {
        "of a queue, all old": Question({"queue": "old"}),
        "of a type, all old": Question({"type": "old"}),
        "of a priority, all old": Question({"priority": "critical"}),
        "with a tag that a hundred have": Question({"tag": "customer-77"}),
        "with a tag that ten have, all old": Question({"tag": "old"}),
        "with a tag that none has": Question({"tag": "none"}, few=0),
        "with a name that none has": Question({"name": "none"}, few=0),
        "with an error that none has": Question({"error": "none"}, few=0),
        "failed, with an error that none has": Question({"status": "failed", "error": "none"}, few=0),
        "of a worker that runs nothing": Question(
            {"worker_id": "00000000-0000-7000-8000-000000000000"}, few=0
        ),
    }


def _charts(now: datetime) -> dict[str, tuple[dict[str, Any], int]]:
    """Queries of series, and how many points each has."""
    hour, day, week = ({"from": rfc3339(now - span)} for span in (HOUR, DAY, 7 * DAY))
    return {
        f"{name}{what}": ({**span, "to": rfc3339(now), **query}, points)
        for name, span, points in (
            ("an hour by the minute", hour, 60),
            ("a day by 5 minutes", day, 288),
            ("a week by the hour", week, 168),
        )
        for what, query in (
            ("", {}),
            (", by queue", {"group_by": "queue"}),
            (", by type", {"group_by": "type"}),
            (", of a queue", {"queue": "queue-1"}),
            (", of a queue, by type", {"queue": "queue-1", "group_by": "type"}),
        )
    }


@cell("A million tasks", once=True)
def measure(asked: Asked) -> list[Table]:
    """Fill, then ask."""
    with running_ground(workers=1) as ground, _signed_in(ground) as (owner_id, owner):
        fill(ground, asked.size(TASKS), owner_id, days=max(2, round(asked.scale * SERIES_DAYS)))
        now = datetime.now(UTC)
        admin = ground.system.http
        lists, searches, charts = _lists(now).items(), _searches().items(), _charts(now).items()
        return [
            Table("Lists", [_listed(admin, owner, *each) for each in lists]),
            Table(
                "What is rare, by filters without an index",
                [_listed(admin, owner, *each) for each in searches],
            ),
            Table("Figures", [_read(admin, owner, path) for path in ("/tasks/stats", "/queues")]),
            Table("Series", [_charted(admin, what, *each) for what, each in charts]),
        ]


@contextmanager
def _signed_in(ground: Ground) -> Iterator[tuple[str, httpx.Client]]:
    """An account, and a client with its key, of an api that asks for one."""
    facts = ground.system.facts()
    bus = {"NATS_STREAM_NAME": "TASKFLOW", "NATS_CONSUMER_NAME": "taskflow-worker"}
    with running_api(facts["database_url"], facts["nats_url"], **bus, **accounts.REQUIRED) as api:
        admin = accounts.sign_in(api.url)["access_token"]
        made = accounts.make_user(api.url, admin, username="ann", password=PASSWORD)
        with httpx.Client(base_url=api.url, headers=accounts.bearer(made["api_key"]), timeout=60) as client:
            yield made["user"]["id"], client


def fill(ground: Ground, count: int, owner_id: str, *, days: int) -> None:
    """Write the tasks and their figures, as they would be there by now."""
    ground.make_ranges(DAYS)
    ground.execute(_WORKER)
    ground.rows(_TASKS, count, owner_id)
    ground.execute(_EXPIRED)
    for statement in (_QUEUES, _TOTALS, _OWNED):
        ground.execute(statement)
    ground.rows(_SERIES, days)
    ground.execute("VACUUM ANALYZE")
    assert ground.value("SELECT count(*) FROM tasks") == count


def _listed(admin: httpx.Client, owner: httpx.Client, what: str, question: Question) -> Row:
    times = {"": _asked(admin, question)}
    if question.pages == 1:
        times["account "] = _asked(owner, question, is_owner=True)
    return _row(what, times)


def _read(admin: httpx.Client, owner: httpx.Client, path: str) -> Row:
    return _row(f"`{path}`", {"": _timed(admin, path, {}), "account ": _timed(owner, path, {})})


def _asked(client: httpx.Client, question: Question, *, is_owner: bool = False) -> list[float]:
    """Milliseconds that the last page took, each time."""
    query = question.query
    for _ in range(question.pages - 1):
        query = {**question.query, "cursor": _answer(client, "/tasks", query)["next_cursor"]}
    items = _answer(client, "/tasks", query)["items"]
    for item in items:
        _check(item, question.query)
    if question.few is not None:
        assert len(items) == question.few
    elif not is_owner:
        assert items
    return _timed(client, "/tasks", query)


def _check(item: dict[str, Any], query: dict[str, Any]) -> None:
    for name in {"status", "queue", "type", "priority"} & query.keys():
        assert item[name] in query[name], (item, query)
    assert query.get("tag") in [None, *item["tags"]]
    assert query.get("created_after", "") < item["created_at"] < query.get("created_before", "9")


def _charted(admin: httpx.Client, what: str, query: dict[str, Any], points: int) -> Row:
    found = _answer(admin, "/stats/series", query)["series"]
    for series in found:
        assert points <= len(series["points"]) <= points + 1
        assert all(point["started"] and point["run_seconds"] for point in series["points"])
    row = _row(what, {"": _timed(admin, "/stats/series", query)})
    row.figures["series"] = len(found)
    return row


def _timed(client: httpx.Client, path: str, query: dict[str, Any]) -> list[float]:
    took = []
    for _ in range(ASKED):
        began = time.perf_counter()
        _answer(client, path, query)
        took.append((time.perf_counter() - began) * 1000)
    return took


def _answer(client: httpx.Client, path: str, query: dict[str, Any]) -> dict[str, Any]:
    answer = client.get(f"/api/v1{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _row(what: str, times: dict[str, list[float]]) -> Row:
    return Row(what, {
        f"{who}{name}": short(value)
        for who, took in times.items() for name, value in percentiles(took, 50, 100).items()
    })  # fmt: skip
