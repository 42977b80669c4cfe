"""Dead letters: read by operators, stamped by the dlq-consumer, resolved by commands.

They are written by the statement that sets a task `failed` (`moves.record_outcomes`).
"""

from __future__ import annotations

from collections.abc import Sequence

from taskflow.domain.dead_letter import DeadLetter, LetterGroup, Notice
from taskflow.domain.filters import LetterFilters
from taskflow.kit.clock import rfc3339
from taskflow.store.connect import Conn
from taskflow.store.wire import Row, json_value, time_text

_COLUMNS = """id, task_id, life, type, queue, reason, status, error, attempts, fingerprint, worker_id, created_at,
    handled_at, resolved_at"""

# $1 type[]  $2 queue[]  $3 reason[]  $4 status[]  $5 part of the error  $6 fingerprint  $7 created after  $8 created before
_MATCH = """(cardinality($1::text[]) = 0 OR type = ANY($1))
  AND (cardinality($2::text[]) = 0 OR queue = ANY($2))
  AND (cardinality($3::text[]) = 0 OR reason = ANY($3))
  AND (cardinality($4::text[]) = 0 OR status = ANY($4))
  AND ($5::text IS NULL OR strpos(lower(concat_ws(' ', error->>'type', error->>'message')), lower($5)) > 0)
  AND ($6::text IS NULL OR fingerprint = $6)
  AND ($7::timestamptz IS NULL OR created_at > $7) AND ($8::timestamptz IS NULL OR created_at < $8)"""

# $9 before id  $10 limit
LIST_LETTERS = f"""-- store.dead_letters.list_letters
SELECT {_COLUMNS} FROM dead_letters WHERE {_MATCH} AND ($9::uuid IS NULL OR id < $9) ORDER BY id DESC LIMIT $10"""

# $9 limit
GROUP_LETTERS = f"""-- store.dead_letters.group_letters
SELECT fingerprint, type, count(*) AS count, min(created_at) AS first_seen, max(created_at) AS last_seen,
       (array_agg(id ORDER BY id DESC))[1] AS example_id,
       (array_agg(error ORDER BY id DESC))[1] AS error
FROM dead_letters WHERE {_MATCH}
GROUP BY fingerprint, type ORDER BY count(*) DESC, max(created_at) DESC LIMIT $9"""

# $1 id uuid[]
READ_LETTERS = f"""-- store.dead_letters.read_letters
SELECT {_COLUMNS} FROM dead_letters WHERE id = ANY($1::uuid[])"""

# $1 id uuid[] (sorted)  $2 fingerprint  $3 true
# Idempotent: the first stamp stays. (Said plainly, `handled_at IS NULL` leads the planner into a partial index, away from
# the ids.)
STAMP_LETTERS = """-- store.dead_letters.stamp_letters
UPDATE dead_letters d SET fingerprint = g.fingerprint, handled_at = clock_timestamp()
FROM unnest($1::uuid[], $2::text[]) AS g(id, fingerprint) WHERE d.id = g.id AND (d.handled_at IS NULL) = $3
RETURNING d.id"""

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

# $1 id
DISCARD_LETTER = f"""-- store.dead_letters.discard_letter
UPDATE dead_letters SET status = 'discarded', resolved_at = clock_timestamp()
WHERE id = $1 AND status = 'pending' RETURNING {_COLUMNS}"""


async def list_letters(
    conn: Conn, filters: LetterFilters, *, limit: int, before: str | None
) -> list[DeadLetter]:
    """Newest first, `limit` at most, older than `before`."""
    rows = await conn.fetch(LIST_LETTERS, *_match(filters), before, limit)
    return [_letter(row) for row in rows]


async def group_letters(conn: Conn, filters: LetterFilters, *, limit: int) -> list[LetterGroup]:
    """Letters by fingerprint, the largest group first."""
    rows = await conn.fetch(GROUP_LETTERS, *_match(filters), limit)
    return [
        LetterGroup(
            fingerprint=r["fingerprint"],
            type=r["type"],
            count=r["count"],
            first_seen=rfc3339(r["first_seen"]),
            last_seen=rfc3339(r["last_seen"]),
            error=json_value(r["error"]),
            example_id=str(r["example_id"]),
        )
        for r in rows
    ]


async def read_letters(conn: Conn, ids: Sequence[str]) -> dict[str, DeadLetter]:
    """The letters of these ids that exist."""
    return {str(row["id"]): _letter(row) for row in await conn.fetch(READ_LETTERS, ids)}


async def stamp_letters(conn: Conn, fingerprints: dict[str, str]) -> set[str]:
    """Mark letters handled, with their fingerprints. Returns the ids that were not yet."""
    ids = sorted(fingerprints)
    rows = await conn.fetch(STAMP_LETTERS, ids, [fingerprints[value] for value in ids], True)
    return {str(row["id"]) for row in rows}


async def unhandled_letters(conn: Conn, *, older_than_seconds: float, limit: int) -> list[Notice]:
    """Notices of letters that nobody has handled for so long."""
    rows = await conn.fetch(UNHANDLED_LETTERS, older_than_seconds, limit)
    return [
        Notice(str(r["id"]), str(r["task_id"]), r["life"], r["type"], r["queue"], r["reason"]) for r in rows
    ]


async def discard_letter(conn: Conn, letter_id: str) -> DeadLetter | None:
    """Resolve a pending letter without a replay; None if it is not pending."""
    row = await conn.fetchrow(DISCARD_LETTER, letter_id)
    return _letter(row) if row else None


def _match(filters: LetterFilters) -> tuple[object, ...]:
    return (
        list(filters.types),
        list(filters.queues),
        list(filters.reasons),
        list(filters.statuses),
        filters.error,
        filters.fingerprint,
        filters.created_after,
        filters.created_before,
    )


def _letter(row: Row) -> DeadLetter:
    return DeadLetter(
        id=str(row["id"]),
        task_id=str(row["task_id"]),
        life=row["life"],
        type=row["type"],
        queue=row["queue"],
        reason=row["reason"],
        status=row["status"],
        error=json_value(row["error"]),
        attempts=row["attempts"],
        fingerprint=row["fingerprint"],
        worker_id=str(row["worker_id"]) if row["worker_id"] else None,
        created_at=rfc3339(row["created_at"]),
        handled_at=time_text(row["handled_at"]),
        resolved_at=time_text(row["resolved_at"]),
    )
