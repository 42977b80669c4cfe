"""Failed tries to sign in, by account and by address; whoever has too many is locked for a while."""

from __future__ import annotations

from collections.abc import Sequence

from taskflow.store.connect import Conn

# $1 subject text[]
READ_LOCK = """-- store.lockouts.read_lock
SELECT extract(epoch FROM max(locked_until) - clock_timestamp())::float8
FROM sign_in_failures WHERE subject = ANY($1::text[]) AND locked_until > clock_timestamp()"""

# $1 subject text[] (sorted)  $2 failures that lock  $3 seconds: how long failures count, and how long a lock lasts
# Failures count from the first of them on; a lock that is over begins a new account.
NOTE_FAILURE = """-- store.lockouts.note_failure
INSERT INTO sign_in_failures AS f (subject, failures, since, locked_until)
SELECT subject, 1, clock_timestamp(),
       CASE WHEN $2::integer <= 1 THEN clock_timestamp() + $3::float8 * interval '1 second' END
FROM unnest($1::text[]) AS g(subject)
ON CONFLICT (subject) DO UPDATE SET (failures, since, locked_until) = (
    SELECT n, CASE WHEN n = 1 THEN clock_timestamp() ELSE f.since END,
           CASE WHEN n >= $2 THEN greatest(f.locked_until, clock_timestamp() + $3::float8 * interval '1 second') END
    FROM (SELECT CASE WHEN coalesce(f.locked_until, f.since + $3::float8 * interval '1 second') < clock_timestamp() THEN 1
                      ELSE f.failures + 1 END AS n) counted)
RETURNING subject, failures"""

# $1 subject
FORGIVE = """-- store.lockouts.forgive
DELETE FROM sign_in_failures WHERE subject = $1 RETURNING failures"""


async def read_lock(conn: Conn, subjects: Sequence[str]) -> float:
    """For how many seconds one of these is locked; 0 if none is."""
    left: float | None = await conn.fetchval(READ_LOCK, list(subjects))
    return left or 0.0


async def note_failure(
    conn: Conn, subjects: Sequence[str], *, failures_max: int, seconds: float
) -> dict[str, int]:
    """Count a failure for each of these; returns how many each has."""
    rows = await conn.fetch(NOTE_FAILURE, sorted(subjects), failures_max, seconds)
    return {row["subject"]: row["failures"] for row in rows}


async def forgive(conn: Conn, subject: str) -> int:
    """Forget the failures of one that succeeded; returns how many there were."""
    failures: int | None = await conn.fetchval(FORGIVE, subject)
    return failures or 0
