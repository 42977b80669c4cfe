"""How many were buried lately: counted by index among the newest letters, and never further than to the limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taskflow.store.connect import Conn

# $1 fingerprint[]  $2 first id of the window  $3 seconds  $4 at most
COUNT_ALIKE = """-- store.burials.count_alike
SELECT g.fingerprint, (SELECT count(*) FROM (
    SELECT FROM dead_letters d WHERE d.fingerprint = g.fingerprint AND d.id >= $2
      AND d.created_at > clock_timestamp() - $3 * interval '1 second' LIMIT $4) n) AS n
FROM unnest($1::text[]) AS g(fingerprint)"""

# $1 type[]  $2 limit[]  $3 first id of the window  $4 seconds
# Of a type that is paused nothing counts, nor what was buried before it was last resumed.
COUNT_TYPES = """-- store.burials.count_types
SELECT y.name, (SELECT count(*) FROM (
    SELECT FROM dead_letters d WHERE d.type = g.name AND d.id >= $3
      AND d.created_at > greatest(y.resumed_at, clock_timestamp() - $4 * interval '1 second') LIMIT g.most) n) AS n
FROM unnest($1::text[], $2::bigint[]) AS g(name, most) JOIN task_types y ON y.name = g.name
WHERE NOT y.paused"""


async def count_alike(
    conn: Conn, fingerprints: Sequence[str], *, first_id: str, seconds: float, most: int
) -> dict[str, int]:
    """Letters of these fingerprints that were written within the last `seconds`, counted up to `most`."""
    rows = await conn.fetch(COUNT_ALIKE, sorted(fingerprints), first_id, seconds, most)
    return {row["fingerprint"]: row["n"] for row in rows}


async def count_types(
    conn: Conn, limits: Mapping[str, int], *, first_id: str, seconds: float
) -> dict[str, int]:
    """Letters of these types that were written within the last `seconds`, counted up to the limit of each."""
    names = sorted(limits)
    rows = await conn.fetch(COUNT_TYPES, names, [limits[name] for name in names], first_id, seconds)
    return {row["name"]: row["n"] for row in rows}
