"""Deliveries in the hands of notifiers: shared fairly among hosts, one notifier each, recorded by who holds them."""

from __future__ import annotations

import asyncio
from collections import Counter

import asyncpg
import pytest
from tests.contract.store import deliveries
from tests.contract.store.conftest import Connect
from tests.contract.store.deliveries import end_leases, host_of, lease, look, record, row, url_of, write

from taskflow.domain.task import LOCAL_OWNER
from taskflow.kit.ids import new_id
from taskflow.store import webhooks
from taskflow.store.webhooks import Leased

Conn = asyncpg.Connection


def hosts(leased: list[Leased]) -> dict[str, int]:
    """How many of each host."""
    return dict(Counter(one.host.removeprefix("https://").partition(".")[0] for one in leased))


async def test_of_each_host_go_as_many_as_may_be_under_way(conn: Conn) -> None:
    for host, count in (("a", 10), ("b", 1), ("c", 5)):
        await write(conn, count, host=host)
    assert hosts(await lease(conn, of_host_max=3)) == {"a": 3, "b": 1, "c": 3}
    assert hosts(await lease(conn, of_host_max=3, busy={host_of("a"): 3, host_of("c"): 2})) == {"c": 1}
    assert hosts(await lease(conn, of_host_max=3, busy={host_of("c"): 9, host_of("x"): 1})) == {"a": 3}
    assert hosts(await lease(conn, limit=2)) == {"a": 2}


async def test_a_lease_hands_over_all_that_a_try_needs(conn: Conn) -> None:
    owner = new_id()
    [delivery_id] = await write(conn, owner=owner)
    [one] = await lease(conn, lease_seconds=30.0)
    kept = await row(conn, delivery_id)
    assert (one.id, one.task_id, one.owner_id) == (delivery_id, str(kept["task_id"]), owner)
    assert (one.turn, one.attempts, one.spent_before, one.max_attempts) == (1, 0, 0, None)
    assert (one.event, one.url, one.host) == ("task.test", url_of("a"), host_of("a"))
    assert (one.sealed, one.content) == (None, kept["content"])
    assert (one.failures, one.slowed_seconds) == (0, 0)
    assert 0 <= one.age_seconds < 20
    assert (kept["status"], kept["attempts"], kept["turn"]) == ("pending", 0, 1)
    assert kept["due_at"] == kept["leased_until"]
    until = await webhooks.next_due(conn)
    assert until is not None and 20 < until <= 30


async def test_what_is_due_longest_goes_first_and_what_is_not_due_stays(conn: Conn) -> None:
    ids = await write(conn, 5)
    for place, delivery_id in enumerate(ids):
        await conn.execute(
            "UPDATE webhook_deliveries SET due_at = now() - $2 * interval '1 s' WHERE id = $1",
            delivery_id,
            place + 1,
        )
    [later] = await write(conn, due_in=60)
    assert {one.id for one in await lease(conn, of_host_max=2)} == set(ids[3:])
    assert {one.id for one in await lease(conn)} == set(ids[:3])
    assert (await row(conn, later))["turn"] == 0
    assert await lease(conn) == []


async def test_only_what_is_pending_is_leased(conn: Conn) -> None:
    await write(conn, 2)
    one, other = await lease(conn)
    await record(conn, [one])
    await record(conn, [other], "no")
    await conn.execute("UPDATE webhook_deliveries SET due_at = now() - interval '1 s'")
    assert await look(conn) == ([], 0, None)
    assert await webhooks.next_due(conn) is None


async def test_the_next_is_due_when_the_first_of_all_is(conn: Conn) -> None:
    assert await webhooks.next_due(conn) is None
    await write(conn, due_in=60)
    await write(conn, host="b", due_in=40)
    until = await webhooks.next_due(conn)
    assert until is not None and 20 < until <= 40
    await write(conn, host="c")
    until = await webhooks.next_due(conn)
    assert until is not None and until <= 0


async def test_notifiers_share_and_take_nothing_twice(conn: Conn, connect: Connect) -> None:
    ids = [one for host in "abcd" for one in await write(conn, 50, host=host)]
    lines = [await connect() for _ in range(4)]
    taken: list[Leased] = []
    while len(taken) < 200:
        pages = await asyncio.gather(*(lease(line, of_host_max=10) for line in lines))
        assert any(pages)
        taken += [one for page in pages for one in page]
    assert sorted(one.id for one in taken) == sorted(ids)
    assert {one.turn for one in taken} == {1}


async def test_many_hosts_are_looked_at_page_by_page(conn: Conn) -> None:
    names = [f"h{number:02}" for number in range(25)]
    for name in names:
        await write(conn, 2 if name in {"h03", "h20"} else 1, host=name)
    await conn.execute(
        "UPDATE webhook_deliveries SET due_at = now() + interval '1 h' WHERE host = $1", host_of("h05")
    )
    after, pages = "", []
    for seen in (10, 10, 5):
        leased, hosts_seen, last = await look(conn, after_host=after, hosts_max=10, of_host_max=1)
        assert hosts_seen == seen
        pages.append(sorted(hosts(leased)))
        after = last or ""
    assert after == host_of("h24")
    assert pages == [[*names[:5], *names[6:10]], names[10:20], names[20:]]
    assert await look(conn, after_host=after, hosts_max=10) == ([], 0, None)
    assert hosts(await lease(conn)) == {"h03": 1, "h20": 1}


async def test_a_lease_that_ended_is_taken_by_another_and_recorded_by_it_alone(conn: Conn) -> None:
    [delivery_id] = await write(conn)
    [first] = await lease(conn)
    assert await lease(conn) == []
    await end_leases(conn)
    [second] = await lease(conn)
    assert (second.id, first.turn, second.turn) == (delivery_id, 1, 2)
    assert await record(conn, [first]) == {}
    await webhooks.put_off(conn, [(first.id, first.turn, 60), (first.id, first.turn, None)])
    kept = await row(conn, delivery_id)
    assert (kept["status"], kept["turn"], kept["attempts"]) == ("pending", 2, 0)
    assert kept["leased_until"] is not None
    assert await conn.fetchval("SELECT count(*) FROM webhook_attempts") == 0
    assert await record(conn, [second]) == {delivery_id: 0}
    assert (await row(conn, delivery_id))["status"] == "delivered"


async def test_who_is_late_may_record_while_nobody_else_has_leased(conn: Conn) -> None:
    [delivery_id] = await write(conn)
    [one] = await lease(conn)
    await end_leases(conn)
    assert await record(conn, [one]) == {delivery_id: 0}


@pytest.mark.parametrize(("error", "delay"), [(None, None), ("no", 5.0), ("no", None)])
async def test_what_is_recorded_again_changes_nothing(
    conn: Conn, error: str | None, delay: float | None
) -> None:
    """As when the answer was lost."""
    [delivery_id] = await write(conn)
    leased = await lease(conn)
    assert set(await record(conn, leased, error, delay)) == {delivery_id}
    before = await row(conn, delivery_id), await deliveries.endpoint(conn, url_of("a"))
    assert await record(conn, leased, error, delay) == {}
    await webhooks.put_off(conn, [(one.id, one.turn, 60) for one in leased])
    assert (await row(conn, delivery_id), await deliveries.endpoint(conn, url_of("a"))) == before
    assert await conn.fetchval("SELECT count(*) FROM webhook_attempts") == 1


async def test_a_try_ends_well_or_for_good_or_comes_again(conn: Conn) -> None:
    for host in "abc":
        await write(conn, host=host)
    well, over, again = sorted(await lease(conn), key=lambda one: one.host)
    ends = [deliveries.tried(well), deliveries.tried(over, "Gone"), deliveries.tried(again, "no", 60)]
    assert await webhooks.record_tries(conn, ends) == {well.id: 0, over.id: 1, again.id: 1}
    rows = [await row(conn, one.id) for one in (well, over, again)]
    assert [(r["status"], r["attempts"], r["leased_until"]) for r in rows] == [
        ("delivered", 1, None), ("failed", 1, None), ("pending", 1, None),
    ]  # fmt: skip
    assert [r["finished_at"] is not None for r in rows] == [True, True, False]
    due = await webhooks.next_due(conn)
    assert due is not None and 40 < due <= 60
    attempts = await conn.fetch("SELECT * FROM webhook_attempts ORDER BY status_code, delivery_id")
    assert [(str(a["delivery_id"]), a["number"], a["status_code"], a["error"]) for a in attempts] == [
        (well.id, 1, 200, None), *sorted([(over.id, 1, 500, "Gone"), (again.id, 1, 500, "no")]),
    ]  # fmt: skip
    assert {(a["duration_seconds"], a["answer"]) for a in attempts} == {(0.25, "said")}
    assert {a["started_at"] for a in attempts} == {one.started_at for one in ends}


async def test_tries_are_numbered_by_delivery(conn: Conn) -> None:
    [delivery_id] = await write(conn)
    for _ in range(3):
        await deliveries.send(conn, "no", 0.0)
    await deliveries.send(conn)
    rows = await conn.fetch("SELECT number, error FROM webhook_attempts ORDER BY number")
    assert [tuple(r) for r in rows] == [(1, "no"), (2, "no"), (3, "no"), (4, None)]
    kept = await row(conn, delivery_id)
    assert (kept["attempts"], kept["turn"], kept["status"]) == (4, 4, "delivered")


async def test_what_is_put_off_spends_nothing(conn: Conn) -> None:
    waits, given_up, kept = await write(conn, 3)
    leased = {one.id: one for one in await lease(conn)}
    await webhooks.put_off(conn, [(waits, leased[waits].turn, 60.0), (given_up, leased[given_up].turn, None)])
    first, second, third = [await row(conn, one) for one in (waits, given_up, kept)]
    assert (first["status"], first["attempts"], first["leased_until"]) == ("pending", 0, None)
    assert 40 < (first["due_at"] - second["finished_at"]).total_seconds() <= 61
    assert (second["status"], second["attempts"], second["leased_until"]) == ("failed", 0, None)
    assert (first["finished_at"], third["leased_until"] is not None) == (None, True)
    assert await webhooks.record_tries(conn, [deliveries.tried(leased[waits])]) == {}


async def test_notifiers_that_record_the_same_endpoints_do_not_wait_for_each_other_for_ever(
    conn: Conn, connect: Connect
) -> None:
    """Each has deliveries to all of them, in orders that differ."""
    lines = [await connect() for _ in range(6)]
    names = [f"h{number:02}" for number in range(12)]
    for name in names:
        await write(conn, len(lines), host=name)
    for turn in range(8):
        shares = [await lease(conn, of_host_max=1) for _ in lines]
        assert all(len(share) == len(names) for share in shares)
        found = await asyncio.gather(
            *(
                record(line, share[:: (-1) ** place], "no", 0.0)
                for place, (line, share) in enumerate(zip(lines, shares, strict=True))
            )
        )
        assert [len(some) for some in found] == [len(names)] * len(lines)
        counts = sorted(count for some in found for count in some.values())
        steps = [*range(turn * len(lines) + 1, (turn + 1) * len(lines) + 1)]
        assert counts == sorted(steps * len(names))
    rows = await conn.fetch("SELECT failures FROM webhook_endpoints WHERE owner_id = $1", LOCAL_OWNER)
    assert [r["failures"] for r in rows] == [8 * len(lines)] * len(names)
