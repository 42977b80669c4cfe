"""Limits of so many an hour, shared by all who borrow of them: a row a subject, with what was taken in which minute.

What was taken in this minute and the sixty before counts, so in no hour are more granted than the limit says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from taskflow.store.connect import Conn


class Ask(NamedTuple):
    """How many are wanted of a subject's limit; fewer than `least` are of no use."""

    subject: str
    wanted: int
    least: int
    per_hour: int


class Loan(NamedTuple):
    """How many were granted, in which minute; how many are left; and in how many seconds the first come back."""

    granted: int
    left: int
    minute: int
    reset_seconds: float


# $1 subject text[] (sorted)
ADD_SUBJECTS = """-- store.rate_limits.add_subjects
INSERT INTO rate_limits (subject) SELECT subject FROM unnest($1::text[]) AS g(subject) ON CONFLICT (subject) DO NOTHING"""

# $1 subject text[] (sorted, each once)  $2 wanted  $3 least  $4 per hour
# Who else borrows of a subject waits, and sees what was taken here. A later minute may stand there already: the clock was
# read before the wait, or has been set back.
BORROW = """-- store.rate_limits.borrow
WITH clock AS (
    SELECT e.seconds, floor(e.seconds / 60)::integer AS minute
    FROM (SELECT extract(epoch FROM clock_timestamp())::float8 AS seconds) e
), held AS MATERIALIZED (
    SELECT r.subject, r.minutes, r.counts, g.wanted, g.least, g.per_hour
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) AS g(subject, wanted, least, per_hour)
    JOIN rate_limits r ON r.subject = g.subject ORDER BY r.subject FOR UPDATE OF r
), judged AS MATERIALIZED (
    SELECT h.subject, k.minutes, k.counts, k.first, k.here, greatest(h.per_hour - k.used, 0) AS free,
           CASE WHEN h.per_hour - k.used >= greatest(h.least, 0) THEN least(greatest(h.wanted, 0), h.per_hour - k.used)
                ELSE 0 END
               AS granted
    FROM held h, clock c, LATERAL (
        SELECT coalesce(array_agg(m ORDER BY m) FILTER (WHERE m <> c.minute), '{}') AS minutes,
               coalesce(array_agg(n ORDER BY m) FILTER (WHERE m <> c.minute), '{}') AS counts,
               coalesce(sum(n) FILTER (WHERE m = c.minute), 0) AS here, coalesce(sum(n), 0) AS used, min(m) AS first
        FROM unnest(h.minutes, h.counts) AS u(m, n) WHERE m >= c.minute - 60 AND n > 0
    ) k
), taken AS (
    UPDATE rate_limits r
    SET minutes = j.minutes || c.minute, counts = j.counts || (j.here + j.granted)::integer
    FROM judged j, clock c WHERE r.subject = j.subject AND j.granted > 0
)
SELECT j.subject, j.granted, j.free - j.granted AS left, c.minute,
       (coalesce(j.first, c.minute) + 61) * 60 - c.seconds AS reset_seconds
FROM judged j, clock c"""

# $1 subject text[] (sorted, each once)  $2 minute  $3 count
GIVE_BACK = """-- store.rate_limits.give_back
WITH held AS MATERIALIZED (
    SELECT r.subject, r.minutes, r.counts, g.minute, g.n
    FROM unnest($1::text[], $2::integer[], $3::integer[]) AS g(subject, minute, n)
    JOIN rate_limits r ON r.subject = g.subject ORDER BY r.subject FOR UPDATE OF r
)
UPDATE rate_limits r
SET counts = ARRAY(SELECT CASE WHEN u.m = h.minute THEN greatest(u.n - h.n, 0) ELSE u.n END
                   FROM unnest(h.minutes, h.counts) WITH ORDINALITY AS u(m, n, place) ORDER BY u.place)
FROM held h WHERE r.subject = h.subject"""

LIMIT_IS_OLD = "floor(extract(epoch FROM clock_timestamp()) / 60) - 61 > ALL(minutes)"

# $1 limit
PRUNE_LIMITS = f"""-- store.rate_limits.prune_limits
WITH old AS (
    SELECT subject FROM rate_limits WHERE {LIMIT_IS_OLD} LIMIT $1 FOR UPDATE SKIP LOCKED
)
DELETE FROM rate_limits r USING old WHERE r.subject = old.subject RETURNING r.subject"""


async def borrow(conn: Conn, asks: Sequence[Ask]) -> dict[str, Loan]:
    """Take what is left of each of these limits, up to what is wanted. Each subject stands once."""
    missing = sorted(asks)
    loans: dict[str, Loan] = {}
    while missing:
        values = zip(*missing, strict=True)
        for row in await conn.fetch(BORROW, *map(list, values)):
            loans[row["subject"]] = Loan(row["granted"], row["left"], row["minute"], row["reset_seconds"])
        missing = [ask for ask in missing if ask.subject not in loans]
        if missing:
            await conn.execute(ADD_SUBJECTS, [ask.subject for ask in missing])
    return loans


async def give_back(conn: Conn, unspent: Sequence[tuple[str, int, int]]) -> None:
    """What was borrowed in a minute and not used: (subject, minute, how many). A statement a minute: mostly one."""
    minutes: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for subject, minute, count in unspent:
        minutes[minute][subject] += count
    for minute, counts in sorted(minutes.items()):
        rows = sorted((subject, minute, count) for subject, count in counts.items())
        await conn.execute(GIVE_BACK, *(list(column) for column in zip(*rows, strict=True)))


async def prune_limits(conn: Conn, limit: int) -> int:
    """Forget subjects of which nothing was taken for an hour; returns how many."""
    return len(await conn.fetch(PRUNE_LIMITS, limit))
