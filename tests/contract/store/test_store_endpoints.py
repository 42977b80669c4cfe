"""Endpoints: how often in a row they failed, and slowed after a hundred times; then one try at a time goes."""

from __future__ import annotations

import asyncio

import asyncpg
from tests.contract.store import deliveries
from tests.contract.store.conftest import Connect
from tests.contract.store.deliveries import endpoint, host_of, lease, record, row, send, url_of, write

from taskflow.domain.task import LOCAL_OWNER
from taskflow.domain.webhook import SLOWED_AFTER_FAILURES
from taskflow.kit.ids import new_id
from taskflow.store import webhook_reads, webhooks
from taskflow.store.webhooks import SLOWED_SECONDS

Conn = asyncpg.Connection


async def fail(conn: Conn, failures: int) -> None:
    """Let an endpoint have failed so often."""
    await write(conn)
    await send(conn, "no")
    await conn.execute("UPDATE webhook_endpoints SET failures = $1", failures)


async def seconds_ahead(conn: Conn) -> float | None:
    """Until the next try of the only endpoint."""
    found: float | None = await conn.fetchval(
        "SELECT extract(epoch FROM next_try_at - now())::float8 FROM webhook_endpoints"
    )
    return found


async def test_failures_in_a_row_are_counted_until_one_arrives(conn: Conn) -> None:
    await write(conn, 3)
    assert set((await record(conn, await lease(conn), "first", 0.0)).values()) == {3}
    before = await endpoint(conn, url_of("a"))
    assert (before["failures"], before["delivered_at"], before["error"]) == (3, None, "first")
    assert before["failing_since"] is not None
    assert set((await record(conn, await lease(conn), "then", 0.0)).values()) == {6}
    then = await endpoint(conn, url_of("a"))
    assert (then["failures"], then["error"]) == (6, "then")
    assert then["failing_since"] == before["failing_since"]
    first, *others = await lease(conn)
    assert await record(conn, [first]) == {first.id: 0}
    well = await endpoint(conn, url_of("a"))
    assert (well["failures"], well["failing_since"], well["error"]) == (0, None, None)
    assert well["delivered_at"] is not None
    assert set((await record(conn, others, "anew", 0.0)).values()) == {2}
    anew = await endpoint(conn, url_of("a"))
    assert anew["failing_since"] > before["failing_since"]
    assert anew["delivered_at"] == well["delivered_at"]


async def test_a_batch_in_which_one_arrives_shows_an_endpoint_that_is_there(conn: Conn) -> None:
    await fail(conn, 7)
    await write(conn, 3)
    one, *others = await lease(conn)
    ends = [deliveries.tried(one), *(deliveries.tried(other, "no", 5) for other in others)]
    assert set((await webhooks.record_tries(conn, ends)).values()) == {0}
    kept = await endpoint(conn, url_of("a"))
    assert (kept["failures"], kept["failing_since"], kept["error"]) == (0, None, None)
    assert await conn.fetchval("SELECT count(*) FROM webhook_attempts") == 4


async def test_endpoints_are_of_one_owner_and_one_url(conn: Conn) -> None:
    owner = new_id()
    await write(conn)
    await write(conn, path="other")
    await write(conn, owner=owner)
    assert set((await record(conn, await lease(conn), "no", 5)).values()) == {1}
    assert await conn.fetchval("SELECT count(*) FROM webhook_endpoints WHERE failures = 1") == 3


async def test_the_hundredth_failure_in_a_row_slows(conn: Conn) -> None:
    await fail(conn, SLOWED_AFTER_FAILURES - 2)
    assert await seconds_ahead(conn) is None
    await write(conn)
    await send(conn, "no")
    assert await seconds_ahead(conn) is None
    [put_off] = await write(conn)
    await send(conn, "no", 0.0)
    ahead = await seconds_ahead(conn)
    assert ahead is not None and SLOWED_SECONDS - 20 < ahead <= SLOWED_SECONDS
    [one] = await lease(conn)
    assert (one.id, one.failures) == (put_off, SLOWED_AFTER_FAILURES)
    assert SLOWED_SECONDS - 20 < one.slowed_seconds <= SLOWED_SECONDS
    assert await record(conn, [one]) == {put_off: 0}
    assert await seconds_ahead(conn) is None


async def test_of_a_slowed_endpoint_one_try_goes(conn: Conn, connect: Connect) -> None:
    assert not await webhooks.take_slowed_turn(conn, LOCAL_OWNER, url_of("a"))
    await fail(conn, SLOWED_AFTER_FAILURES)
    lines = [await connect() for _ in range(20)]
    for _ in range(2):
        won = await asyncio.gather(
            *(webhooks.take_slowed_turn(line, LOCAL_OWNER, url_of("a")) for line in lines)
        )
        assert sum(won) == 1
        ahead = await seconds_ahead(conn)
        assert ahead is not None and SLOWED_SECONDS - 20 < ahead <= SLOWED_SECONDS
        assert not await webhooks.take_slowed_turn(conn, LOCAL_OWNER, url_of("a"))
        await conn.execute("UPDATE webhook_endpoints SET next_try_at = now() - interval '1 ms'")
    assert not await webhooks.take_slowed_turn(conn, new_id(), url_of("a"))


async def test_an_endpoint_that_is_back_gets_what_was_put_off(conn: Conn) -> None:
    put_off = await write(conn, 3, due_in=500)
    [due] = await write(conn)
    others = [*await write(conn, path="other", due_in=500), *await write(conn, host="b", due_in=500)]
    foreign = await write(conn, owner=new_id(), due_in=500)
    [leased] = await lease(conn)
    assert leased.id == due
    before = await row(conn, due)
    await webhooks.hasten(conn, LOCAL_OWNER, url_of("a"), host_of("a"), 2)
    assert len(first := {one.id for one in await lease(conn)}) == 2
    await webhooks.hasten(conn, LOCAL_OWNER, url_of("a"), host_of("a"), 2)
    assert first | {one.id for one in await lease(conn)} == set(put_off)
    assert await row(conn, due) == before
    for other in (*others, *foreign):
        assert (await row(conn, other))["turn"] == 0


async def test_endpoints_that_nothing_is_sent_to_are_forgotten(conn: Conn) -> None:
    for host in "abc":
        await write(conn, host=host)
    await send(conn, "no")
    await conn.execute(
        "UPDATE webhook_endpoints SET touched_at = now() - interval '2 h' WHERE url <> $1", url_of("b")
    )
    await conn.execute(
        "INSERT INTO push_hosts (owner_id, host, touched_at) "
        "SELECT $1, h, now() - n * interval '1 h' FROM (VALUES ('young', 0), ('old', 2)) AS v(h, n)",
        LOCAL_OWNER,
    )
    await webhook_reads.prune_endpoints(conn, keep_seconds=3_600)
    assert [r["url"] for r in await conn.fetch("SELECT url FROM webhook_endpoints")] == [url_of("b")]
    assert [r["host"] for r in await conn.fetch("SELECT host FROM push_hosts")] == ["young"]


async def test_endpoints_are_listed_by_owner_and_url(conn: Conn) -> None:
    one, two = sorted([new_id(), new_id()])
    for owner, path in ((two, "a"), (one, "b"), (one, "a"), (one, "c")):
        await write(conn, owner=owner, path=path)
    await send(conn, "no")
    await conn.execute(
        "UPDATE webhook_endpoints SET failures = $1 WHERE url = $2", SLOWED_AFTER_FAILURES, url_of("a", "a")
    )

    async def found(
        owner: str | None = None,
        *,
        after: tuple[str, str] | None = None,
        limit: int = 100,
        slowed: bool = False,
    ) -> list[tuple[str, str]]:
        rows = await webhook_reads.list_endpoints(conn, owner, after=after, limit=limit, slowed=slowed)
        assert all((row.state == "slowed") == (row.failures >= SLOWED_AFTER_FAILURES) for row in rows)
        return [(row.owner_id, row.url[-1]) for row in rows]

    everything = [(one, "a"), (one, "b"), (one, "c"), (two, "a")]
    assert await found() == everything
    assert await found(limit=2) == everything[:2]
    assert await found(after=(one, url_of("a", "b")), limit=2) == everything[2:]
    assert await found(one) == everything[:3]
    assert await found(one, after=(one, url_of("a", "b"))) == [(one, "c")]
    assert await found(slowed=True) == [(one, "a"), (two, "a")]
    assert await found(two, slowed=True) == [(two, "a")]
    assert await found(new_id()) == []
    assert (await webhook_reads.count_webhooks(conn)).slowed == 2


async def test_what_is_pending_and_late_is_counted(conn: Conn) -> None:
    assert await webhook_reads.count_webhooks(conn) == (0, 0, 0)
    await write(conn, 2, due_in=-60)
    await write(conn, due_in=60)
    found = await webhook_reads.count_webhooks(conn)
    assert (found.pending, found.slowed) == (3, 0)
    assert 60 <= found.late_seconds < 80
    await send(conn)
    assert (await webhook_reads.count_webhooks(conn)).pending == 1
