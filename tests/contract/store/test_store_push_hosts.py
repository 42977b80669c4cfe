"""Circuit breakers of pushes: closed, open, half open with one probe; the same for all workers."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from tests.contract.store import world
from tests.contract.store.conftest import Connect

from taskflow.domain.callback import PUSH_TYPE
from taskflow.domain.task import LOCAL_OWNER
from taskflow.kit.ids import new_id
from taskflow.store import push_hosts
from taskflow.store.push_hosts import HostKey, HostState, Report

Conn = asyncpg.Connection
KEY = (LOCAL_OWNER, "https://a.example:443")
OPENS_AFTER, OPEN_SECONDS, OPEN_SECONDS_MAX = 5, 10.0, 60.0


async def report(conn: Conn, failures: int, *, arrived: bool = False, key: HostKey = KEY) -> HostState:
    """What pushes to a host came to; how it stands then."""
    found = await write(conn, [Report(key, failures, arrived, "no" if failures else None)])
    assert found[key].failures == (await push_hosts.read_hosts(conn, [key]))[key].failures
    return found[key]


async def write(conn: Conn, reports: list[Report]) -> dict[HostKey, HostState]:
    """With the numbers of these tests."""
    return await push_hosts.report(
        conn, reports, opens_after=OPENS_AFTER, open_seconds=OPEN_SECONDS, open_seconds_max=OPEN_SECONDS_MAX
    )


async def pass_time(conn: Conn) -> None:
    """Let what is open be half open, and probes have taken too long."""
    await conn.execute(
        "UPDATE push_hosts SET open_until = open_until - interval '1 h', probe_until = probe_until - interval '1 h'"
    )


def stands(state: HostState, failures: int, openings: int, open_seconds: float) -> bool:
    """Whether a host has just been opened for so long, or is not open (0)."""
    assert (state.failures, state.openings) == (failures, openings)
    return (
        state.open_seconds == 0
        if open_seconds == 0
        else open_seconds - 5 < state.open_seconds <= open_seconds
    )


async def test_what_has_not_failed_is_not_known(conn: Conn) -> None:
    await report(conn, 1)
    found = await push_hosts.read_hosts(
        conn, [KEY, (LOCAL_OWNER, "https://b.example:443"), (new_id(), KEY[1])]
    )
    assert found == {KEY: HostState(1, 0, 0.0)}


async def test_the_fifth_failure_in_a_row_opens(conn: Conn) -> None:
    assert stands(await report(conn, 1), 1, 0, 0)
    assert stands(await report(conn, 3), 4, 0, 0)
    assert stands(await report(conn, 1), 5, 1, OPEN_SECONDS)
    assert not await push_hosts.take_probe(conn, KEY, 15)


async def test_five_failures_at_once_open(conn: Conn) -> None:
    assert stands(await report(conn, OPENS_AFTER), 5, 1, OPEN_SECONDS)


async def test_a_success_begins_the_count_anew(conn: Conn) -> None:
    await report(conn, 4)
    assert stands(await report(conn, 0, arrived=True), 0, 0, 0)
    assert stands(await report(conn, 4), 4, 0, 0)
    assert stands(await report(conn, 3, arrived=True), 3, 0, 0), "one arrived, then three failed"
    assert stands(await report(conn, 2), 5, 1, OPEN_SECONDS)


async def test_what_fails_while_it_is_open_keeps_it_open_no_longer(conn: Conn) -> None:
    """Pushes that were under way when it opened."""
    await report(conn, 5)
    until = await conn.fetchval("SELECT open_until FROM push_hosts")
    assert stands(await report(conn, 3), 8, 1, OPEN_SECONDS)
    assert await conn.fetchval("SELECT open_until FROM push_hosts") == until


async def test_it_opens_for_twice_as_long_each_time_up_to_the_maximum(conn: Conn) -> None:
    await report(conn, 5)
    for place, seconds in enumerate((20.0, 40.0, 60.0, 60.0), 2):
        await pass_time(conn)
        assert (await push_hosts.read_hosts(conn, [KEY]))[KEY].open_seconds < 0
        assert await push_hosts.take_probe(conn, KEY, 15)
        assert stands(await report(conn, 1), 4 + place, place, seconds)
    await pass_time(conn)
    await conn.execute("UPDATE push_hosts SET openings = 100000")
    assert stands(await report(conn, 1), 10, 100_001, OPEN_SECONDS_MAX)


@pytest.mark.parametrize("failures", [0, 1])
async def test_a_probe_that_arrives_closes(conn: Conn, failures: int) -> None:
    """Whatever failed after it counts from one."""
    await report(conn, 5)
    await pass_time(conn)
    assert await push_hosts.take_probe(conn, KEY, 15)
    assert stands(await report(conn, failures, arrived=True), failures, 0, 0)
    assert not await push_hosts.take_probe(conn, KEY, 15)
    assert stands(await report(conn, 5 - failures), 5, 1, OPEN_SECONDS)


async def test_of_twenty_at_once_one_may_probe(conn: Conn, connect: Connect) -> None:
    await report(conn, 5)
    lines = [await connect() for _ in range(20)]
    for seconds in (15, 15, 15):
        await pass_time(conn)  # the second time a probe never told what came of it
        won = await asyncio.gather(*(push_hosts.take_probe(line, KEY, seconds) for line in lines))
        assert sum(won) == 1
        assert not await push_hosts.take_probe(conn, KEY, seconds)
    await report(conn, 1)
    await pass_time(conn)
    assert await push_hosts.take_probe(conn, KEY, 15), "what the last one found is written"


async def test_owners_and_hosts_stand_apart(conn: Conn) -> None:
    other_owner, other_host = (new_id(), KEY[1]), (KEY[0], "https://b.example:443")
    found = await write(
        conn,
        [Report(KEY, 5, False, "no"), Report(other_owner, 1, False, "no"), Report(other_host, 4, True, "no")],
    )
    assert {key: (state.failures, state.openings) for key, state in found.items()} == {
        KEY: (5, 1), other_owner: (1, 0), other_host: (4, 0),
    }  # fmt: skip
    assert stands(await report(conn, 0, arrived=True, key=other_host), 0, 0, 0)
    assert (await push_hosts.read_hosts(conn, [KEY]))[KEY].openings == 1
    errors = await conn.fetch("SELECT host, owner_id, error FROM push_hosts")
    assert {(str(r["owner_id"]), r["host"]): r["error"] for r in errors} == {
        KEY: "no", other_owner: "no", other_host: None,
    }  # fmt: skip


async def test_reports_of_many_hosts_at_once_count_all_and_wait_for_nobody_for_ever(
    conn: Conn, connect: Connect
) -> None:
    """In orders that differ."""
    lines = [await connect() for _ in range(6)]
    keys = [(owner, f"https://h{number}") for owner in (new_id(), new_id()) for number in range(20)]

    async def tell(line: Conn, place: int) -> None:
        for turn in range(10):
            await write(line, [Report(key, 1, False, "no") for key in keys[:: (-1) ** (place + turn)]])

    await asyncio.gather(*(tell(line, place) for place, line in enumerate(lines)))
    found = await push_hosts.read_hosts(conn, keys)
    assert len(found) == len(keys)
    assert {(state.failures, state.openings) for state in found.values()} == {(60, 1)}


async def test_workers_that_push_are_counted_while_they_live(conn: Conn) -> None:
    assert await push_hosts.count_pushers(conn, PUSH_TYPE) == 0
    gone = await world.start_worker(conn, types=[PUSH_TYPE])
    await world.start_worker(conn, types=["demo", PUSH_TYPE])
    await world.start_worker(conn)
    assert await push_hosts.count_pushers(conn, PUSH_TYPE) == 2
    await world.end_lease(conn, gone)
    assert await push_hosts.count_pushers(conn, PUSH_TYPE) == 1
