"""Circuit breakers of pushes, by owner and host: shared by all workers, written only where something fails.

Closed: failures below the threshold. Open: `open_until` is ahead, nothing is sent. Half open: it is past, one probe goes;
a failure opens it again for twice as long, a success closes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from taskflow.store.connect import Conn
from taskflow.store.wire import Row

HostKey = tuple[str, str]
"""Owner id and host, as `https://example.org:443`."""


class HostState(NamedTuple):
    """How a host stands. `open_seconds`: how long it stays open; 0 or less with `openings`: half open."""

    failures: int
    openings: int
    open_seconds: float


CLOSED = HostState(0, 0, 0.0)

_STATE = "failures, openings, coalesce(extract(epoch FROM open_until - clock_timestamp()), 0)::float8 AS open_seconds"

# $1 owner id[]  $2 host[]
READ_HOSTS = f"""-- store.push_hosts.read_hosts
SELECT h.owner_id, h.host, {_STATE} FROM unnest($1::uuid[], $2::text[]) AS g(owner_id, host)
JOIN push_hosts h ON h.owner_id = g.owner_id AND h.host = g.host"""

# How many live workers share what a host may be sent at once.
COUNT_PUSHERS = """-- store.push_hosts.count_pushers
SELECT count(*) FROM workers WHERE lease_until > now() AND ended_at IS NULL AND types @> ARRAY[$1::text]"""

# $1 owner id[]  $2 host[] (sorted pairs)  $3 failures since the last success  $4 whether any succeeded  $5 error
# $6 failures that open it  $7 seconds open at first  $8 at most
# A success closes what came before it; what failed since counts from there.
REPORT = f"""-- store.push_hosts.report
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::boolean[], $5::text[])
        AS g(owner_id, host, failures, arrived, error)
)
INSERT INTO push_hosts AS h (owner_id, host, failures, openings, open_until, touched_at, error)
SELECT owner_id, host, failures, CASE WHEN failures >= $6 THEN 1 ELSE 0 END,
       CASE WHEN failures >= $6 THEN clock_timestamp() + $7 * interval '1 second' END, clock_timestamp(), error
FROM given
ON CONFLICT (owner_id, host) DO UPDATE
SET (failures, openings, open_until) = (
        SELECT was.failures + g.failures,
               CASE WHEN opens.it THEN was.openings + 1 ELSE was.openings END,
               CASE WHEN opens.it
                    THEN m.now + least($8, $7 * 2 ^ least(was.openings, 20)) * interval '1 second'
                    ELSE was.open_until END
        FROM given g, LATERAL (SELECT clock_timestamp()) AS m(now),
             LATERAL (SELECT CASE WHEN NOT g.arrived THEN h.failures ELSE 0 END,
                             CASE WHEN NOT g.arrived THEN h.openings ELSE 0 END,
                             CASE WHEN NOT g.arrived THEN h.open_until END) AS was(failures, openings, open_until),
             LATERAL (SELECT coalesce(was.open_until <= m.now, was.failures + g.failures >= $6)) AS opens(it)
        WHERE g.owner_id = h.owner_id AND g.host = h.host),
    probe_until = NULL, touched_at = clock_timestamp(), error = excluded.error
RETURNING owner_id, host, {_STATE}"""

# $1 owner id  $2 host  $3 seconds that the probe may take
TAKE_PROBE = """-- store.push_hosts.take_probe
UPDATE push_hosts SET probe_until = clock_timestamp() + $3 * interval '1 second'
WHERE owner_id = $1 AND host = $2 AND open_until <= clock_timestamp()
  AND (probe_until IS NULL OR probe_until <= clock_timestamp())
RETURNING host"""


class Report(Struct, frozen=True):
    """What pushes to a host came to: `failures` since the last that arrived, if `arrived` says that one did."""

    key: HostKey
    failures: int
    arrived: bool
    error: str | None


async def read_hosts(conn: Conn, keys: Sequence[HostKey]) -> dict[HostKey, HostState]:
    """Those of these hosts that have failed lately; the others are closed."""
    rows = await conn.fetch(READ_HOSTS, [key[0] for key in keys], [key[1] for key in keys])
    return {_key(row): _state(row) for row in rows}


async def count_pushers(conn: Conn, push_type: str) -> int:
    """How many live workers push."""
    count: int = await conn.fetchval(COUNT_PUSHERS, push_type)
    return count


async def report(
    conn: Conn, reports: Sequence[Report], *, opens_after: int, open_seconds: float, open_seconds_max: float
) -> dict[HostKey, HostState]:
    """Write what pushes came to, one report a host; returns how the hosts stand now."""
    ordered = sorted(reports, key=lambda one: one.key)
    rows = await conn.fetch(
        REPORT,
        [one.key[0] for one in ordered],
        [one.key[1] for one in ordered],
        [one.failures for one in ordered],
        [one.arrived for one in ordered],
        [one.error for one in ordered],
        opens_after,
        open_seconds,
        open_seconds_max,
    )
    return {_key(row): _state(row) for row in rows}


async def take_probe(conn: Conn, key: HostKey, seconds: float) -> bool:
    """Whether who asks may try a host that is half open."""
    return await conn.fetchval(TAKE_PROBE, *key, seconds) is not None


def _key(row: Row) -> HostKey:
    return str(row["owner_id"]), row["host"]


def _state(row: Row) -> HostState:
    return HostState(row["failures"], row["openings"], row["open_seconds"])
