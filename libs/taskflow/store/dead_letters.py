"""Dead letters: read by operators, stamped by the dlq-consumer, resolved by commands.

They are written by the statement that sets a task `failed` (`moves.record_outcomes`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from taskflow.domain.dead_letter import DeadLetter, DeadLetterDetail, FailedTry, LetterGroup, Notice
from taskflow.domain.filters import LetterFilters
from taskflow.domain.task import LOCAL_OWNER
from taskflow.kit.clock import rfc3339
from taskflow.store.connect import Conn
from taskflow.store.moves import SHORT_ERROR
from taskflow.store.wire import Row, json_value, time_text, to_json

_COLUMNS = """d.id, d.task_id, d.life, d.type, d.queue, d.tags, d.reason, d.status, d.attempts, d.fingerprint, d.worker_id,
    d.worker_version, d.created_at, d.handled_at, d.resolved_at, d.resolved_by, d.resolved_reason, d.operation_id,
    (SELECT p.id FROM dead_letters p WHERE p.task_id = d.task_id AND p.life < d.life ORDER BY p.life DESC LIMIT 1)
        AS previous_id"""

# $1 type[]  $2 queue[]  $3 reason[]  $4 status[]  $5 part of the error  $6 fingerprint  $7 created after  $8 created before
# $9 tags (all of them); an empty list or a null does not narrow
_MATCH = """(cardinality($1::text[]) = 0 OR type = ANY($1))
  AND (cardinality($2::text[]) = 0 OR queue = ANY($2))
  AND (cardinality($3::text[]) = 0 OR reason = ANY($3))
  AND (cardinality($4::text[]) = 0 OR status = ANY($4))
  AND ($5::text IS NULL
       OR strpos(coalesce(search, lower(concat_ws(' ', error->>'type', error->>'message'))), lower($5)) > 0)
  AND ($6::text IS NULL OR fingerprint = $6)
  AND ($7::timestamptz IS NULL OR created_at > $7) AND ($8::timestamptz IS NULL OR created_at < $8)
  AND (cardinality($9::text[]) = 0 OR tags @> $9)"""

# $10 owner id: null in the first, never in the second, which has an index of its own
MATCH = f"{_MATCH} AND $10::uuid IS NULL"
MATCH_OWN = f"{_MATCH} AND owner_id = $10 AND owner_id <> '{LOCAL_OWNER}'"

# $11 before id  $12 limit
_PAGE = "AND ($11::uuid IS NULL OR id < $11) ORDER BY id DESC LIMIT $12"
_LISTED = f"SELECT {_COLUMNS}, d.error FROM page d ORDER BY d.id DESC"
LIST_LETTERS = f"""-- store.dead_letters.list_letters
WITH page AS MATERIALIZED (SELECT * FROM dead_letters WHERE {MATCH} {_PAGE}) {_LISTED}"""
LIST_OWN_LETTERS = f"""-- store.dead_letters.list_own_letters
WITH page AS MATERIALIZED (SELECT * FROM dead_letters WHERE {MATCH_OWN} {_PAGE}) {_LISTED}"""

# $11 limit
_ALIKE = """SELECT fingerprint, type, count(*) AS count, count(*) FILTER (WHERE status = 'pending') AS pending,
           min(created_at) AS first_seen, max(created_at) AS last_seen, max(id::text COLLATE "C")::uuid AS example_id
    FROM dead_letters WHERE"""
_LARGEST = "GROUP BY fingerprint, type ORDER BY count(*) DESC, max(created_at) DESC LIMIT $11"
_GROUPED = """SELECT a.*, (SELECT d.error FROM dead_letters d WHERE d.id = a.example_id) AS error
FROM alike a ORDER BY a.count DESC, a.last_seen DESC"""
GROUP_LETTERS = f"""-- store.dead_letters.group_letters
WITH alike AS MATERIALIZED ({_ALIKE} {MATCH} {_LARGEST})
{_GROUPED}"""
GROUP_OWN_LETTERS = f"""-- store.dead_letters.group_own_letters
WITH alike AS MATERIALIZED ({_ALIKE} {MATCH_OWN} {_LARGEST})
{_GROUPED}"""

# $1 id uuid[]  $2 with payload  $3 owner id; null: anybody's
# A letter that an older program wrote has no details.
READ_LETTERS = f"""-- store.dead_letters.read_letters
SELECT {_COLUMNS}, coalesce(x.error, d.error) AS error, x.executions,
       CASE WHEN $2 THEN coalesce(x.payload, (SELECT t.payload FROM tasks t WHERE t.id = d.task_id)) END AS payload
FROM dead_letters d LEFT JOIN LATERAL (
    SELECT error, payload, executions FROM dead_letter_details l WHERE l.task_id = d.task_id AND l.life = d.life LIMIT 1
) x ON true
WHERE d.id = ANY($1::uuid[]) AND ($3::uuid IS NULL OR d.owner_id = $3)"""

# $1 letter id uuid[]  $2 tries a letter
READ_TRIES = f"""-- store.dead_letters.read_tries
SELECT d.id AS letter_id, x.number, x.attempt, x.status, x.worker_id, x.started_at, x.finished_at, x.error,
       w.version, w.host
FROM dead_letters d CROSS JOIN LATERAL (
    SELECT number, attempt, status, worker_id, started_at, finished_at, {SHORT_ERROR} AS error
    FROM executions WHERE task_id = d.task_id AND life = d.life ORDER BY number DESC LIMIT $2
) x LEFT JOIN workers w ON w.id = x.worker_id
WHERE d.id = ANY($1::uuid[]) ORDER BY d.id, x.number"""

# $1 id uuid[] (sorted)  $2 fingerprint  $3 executions (JSON)  $4 true
# Idempotent: the first stamp stays. (Said plainly, `handled_at IS NULL` leads the planner into a partial index, away from
# the ids.) A letter that an older program wrote learns whose it is.
STAMP_LETTERS = """-- store.dead_letters.stamp_letters
WITH stamped AS (
    UPDATE dead_letters d SET fingerprint = g.fingerprint, handled_at = clock_timestamp(),
        owner_id = coalesce(d.owner_id, (SELECT t.owner_id FROM tasks t WHERE t.id = d.task_id))
    FROM unnest($1::uuid[], $2::text[], $3::text[]) AS g(id, fingerprint, executions)
    WHERE d.id = g.id AND (d.handled_at IS NULL) = $4
    RETURNING d.id, d.task_id, d.life, g.executions
), kept AS (
    INSERT INTO dead_letter_details (task_id, life, executions)
    SELECT task_id, life, executions::json FROM stamped
    ON CONFLICT (task_id, life) DO UPDATE SET executions = excluded.executions
)
SELECT id FROM stamped"""

# $1 older than (seconds)  $2 limit
# A notice that was lost, or whose consumer died over it, is sent again.
UNHANDLED_LETTERS = """-- store.dead_letters.unhandled_letters
WITH waiting AS (
    SELECT id FROM dead_letters
    WHERE handled_at IS NULL AND coalesce(noticed_at, created_at) < now() - $1 * interval '1 second'
    ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE dead_letters d SET noticed_at = now() FROM waiting WHERE d.id = waiting.id
RETURNING d.id, d.task_id, d.life, d.type, d.queue, d.reason"""


class Stamp(Struct, frozen=True):
    """What the dlq-consumer adds to a letter."""

    fingerprint: str
    tries: Sequence[FailedTry] = ()


async def list_letters(
    conn: Conn, filters: LetterFilters, *, limit: int, before: str | None
) -> list[DeadLetter]:
    """Newest first, `limit` at most, older than `before`."""
    statement = LIST_OWN_LETTERS if filters.owner else LIST_LETTERS
    rows = await conn.fetch(statement, *matching(filters), before, limit)
    return [DeadLetter(**_fields(row)) for row in rows]


async def group_letters(conn: Conn, filters: LetterFilters, *, limit: int) -> list[LetterGroup]:
    """Letters by fingerprint, the largest group first."""
    statement = GROUP_OWN_LETTERS if filters.owner else GROUP_LETTERS
    rows = await conn.fetch(statement, *matching(filters), limit)
    return [
        LetterGroup(
            fingerprint=r["fingerprint"],
            type=r["type"],
            count=r["count"],
            pending=r["pending"],
            first_seen=rfc3339(r["first_seen"]),
            last_seen=rfc3339(r["last_seen"]),
            error=json_value(r["error"]),
            example_id=str(r["example_id"]),
        )
        for r in rows
    ]


async def read_letters(
    conn: Conn, ids: Sequence[str], *, payload: bool = True, owner: str | None = None
) -> dict[str, DeadLetterDetail]:
    """The letters of these ids that exist and are the owner's; their payloads only if they are asked for."""
    rows = await conn.fetch(READ_LETTERS, ids, payload, owner)
    return {
        str(row["id"]): DeadLetterDetail(
            **_fields(row), payload=json_value(row["payload"]), executions=json_value(row["executions"])
        )
        for row in rows
    }


async def read_tries(conn: Conn, ids: Sequence[str], *, limit: int) -> dict[str, list[FailedTry]]:
    """The newest tries of the lives that these letters end, in order, by letter."""
    found: dict[str, list[FailedTry]] = defaultdict(list)
    for r in await conn.fetch(READ_TRIES, ids, limit):
        began, ended = r["started_at"], r["finished_at"]
        found[str(r["letter_id"])].append(
            FailedTry(
                number=r["number"],
                attempt=r["attempt"],
                status=r["status"],
                worker_id=str(r["worker_id"]) if r["worker_id"] else None,
                worker_version=r["version"],
                host=r["host"],
                started_at=rfc3339(began),
                finished_at=time_text(ended),
                duration_seconds=(ended - began).total_seconds() if ended else None,
                error=json_value(r["error"]),
            )
        )
    return found


async def stamp_letters(conn: Conn, stamps: Mapping[str, Stamp]) -> set[str]:
    """Mark letters handled. Returns the ids that were not yet."""
    ids = sorted(stamps)
    prints = [stamps[letter_id].fingerprint for letter_id in ids]
    tries = [to_json(stamps[letter_id].tries) for letter_id in ids]
    return {str(row["id"]) for row in await conn.fetch(STAMP_LETTERS, ids, prints, tries, True)}


async def unhandled_letters(conn: Conn, *, older_than_seconds: float, limit: int) -> list[Notice]:
    """Notices of letters that nobody has handled for so long."""
    rows = await conn.fetch(UNHANDLED_LETTERS, older_than_seconds, limit)
    return [
        Notice(str(r["id"]), str(r["task_id"]), r["life"], r["type"], r["queue"], r["reason"]) for r in rows
    ]


def matching(filters: LetterFilters) -> tuple[object, ...]:
    """The parameters of `MATCH` and `MATCH_OWN`."""
    return (
        list(filters.types),
        list(filters.queues),
        list(filters.reasons),
        list(filters.statuses),
        filters.error,
        filters.fingerprint,
        filters.created_after,
        filters.created_before,
        list(filters.tags),
        filters.owner,
    )


def _fields(row: Row) -> dict[str, Any]:
    told: dict[str, Any] = {
        name: row[name] for name in ("life", "type", "queue", "tags", "reason", "status", "attempts")
    }
    told |= {name: row[name] for name in ("fingerprint", "worker_version", "resolved_by", "resolved_reason")}
    told |= {name: str(row[name]) for name in ("id", "task_id")}
    optional = ("worker_id", "previous_id", "operation_id")
    told |= {name: str(row[name]) if row[name] else None for name in optional}
    told |= {name: time_text(row[name]) for name in ("created_at", "handled_at", "resolved_at")}
    return told | {"error": json_value(row["error"])}
