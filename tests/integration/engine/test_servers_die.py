"""PostgreSQL and NATS die under load: what was accepted is finished, and nobody else dies with them."""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter
from contextlib import suppress

import httpx
import pytest
from tests.integration.engine.conftest import LEASE_SECONDS
from tests.support.chaos import PIDS_KEPT, Books, Load, kill, rung_again, since, until_replaced
from tests.support.systems import System
from tests.support.waiting import wait_until_sync

NAP = {"type": "nap", "payload": {"seconds": 0.05}}


def kept_pids(system: System) -> dict[str, object]:
    return {name: system.facts()["pids"][name] for name in PIDS_KEPT}


def test_nats_is_killed_under_a_backlog(system: System, truth: Books) -> None:
    pids = kept_pids(system)
    ids = system.submit_many([NAP] * 1_500)
    with Load(system, NAP) as load:
        load.until_accepted(20)
        nats = system.facts()["pids"]["nats"]
        kill(nats)
        until_replaced(system, "nats", nats)
        load.until_accepted(50)
    assert {answer.status for answer in load.answers} == {202}
    truth.until_all("completed", [*ids, *load.accepted.values()], 40)
    assert set(map(tuple, truth.tries(ids).values())) == {("succeeded",)}
    assert kept_pids(system) == pids
    truth.balance()


@pytest.mark.timeout(180)
def test_a_healthy_backlog_is_not_rung_again_and_a_deleted_store_is_mended(
    system: System, truth: Books
) -> None:
    log = since(system.log)
    slow = {"type": "nap", "payload": {"seconds": 0.2}}
    ids = system.submit_many([slow] * 750)
    wait_until_sync(lambda: _old(truth) > 3, "the backlog is some seconds old", 20)
    ids += system.submit_many([slow] * 750)
    wait_until_sync(lambda: _old(truth) > 8 or not _waiting(truth), "the backlog was tended twice", 40)
    assert rung_again(log()) == []
    more = system.submit_many([NAP] * 2_000)
    nats = system.facts()["pids"]["nats"]
    waiting = _waiting(truth)
    kill(nats)
    shutil.rmtree(system.folder / "nats" / "store")
    until_replaced(system, "nats", nats)
    assert waiting > 1_500
    truth.until_all("completed", [*ids, *more], 60)
    assert set(map(tuple, truth.tries([*ids, *more]).values())) == {("succeeded",)}
    counts = rung_again(log())
    assert 0 < sum(counts) <= waiting + 100, (counts, waiting)
    assert len(counts) <= 4, counts
    truth.balance()


def test_postgres_is_killed_under_load(system: System, truth: Books) -> None:
    pids = kept_pids(system)
    ids = system.submit_many([{"type": "nap", "payload": {"seconds": 0.2}}] * 400)
    single = system.submit_many([{"type": "nap", "payload": {"seconds": 4}, "max_attempts": 1}] * 5)
    with Load(system, NAP, callers=3) as load:
        load.until_accepted(30)
        while not any(answer.status == 503 for answer in load.answers):
            # `dev` waits longer each time before it starts it again: at last, longer than a lease.
            postgres = system.facts()["pids"]["postgres"]
            kill(postgres)
            until_replaced(system, "postgres", postgres)
        wait_until_sync(lambda: load.answers[-1].status == 202, "submits are accepted again", 30)
        load.until_accepted(50)
        repeated = _repeat(system, load)
    seen = Counter(
        (a.status, a.body.get("code") if isinstance(a.body, dict) else a.body) for a in load.answers
    )
    print("answers:", dict(seen))
    assert {answer.status for answer in load.answers} <= {202, 503}, seen
    assert all(answer.retry_after for answer in load.answers if answer.status == 503)
    accepted = load.accepted
    assert {key: repeated[key] for key in accepted if key in repeated} == {
        key: accepted[key] for key in accepted if key in repeated
    }
    everything = list({*ids, *single, *accepted.values(), *repeated.values()})
    truth.until_all("completed", everything, 60)
    tries = truth.tries(everything)
    assert {status for each in tries.values() for status in each} <= {"succeeded", "released", "lost"}
    assert kept_pids(system) == pids
    truth.balance()


def test_an_outage_longer_than_a_lease_costs_healthy_workers_nothing(system: System, truth: Books) -> None:
    """Nobody could renew, so nobody is dead: what runs goes on, though it may start only once."""
    log = since(system.log)
    pids = kept_pids(system)
    postgres = system.facts()["pids"]["postgres"]
    ids = system.submit_many([{"type": "nap", "payload": {"seconds": 9}, "max_attempts": 1}] * 12)
    wait_until_sync(lambda: truth.statuses(ids) == {"running": 12}, "all run", 10)
    backends = [
        row["pid"]
        for row in truth.rows("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
    ]
    held = [postgres, *backends]
    for pid in held:
        _signal(pid, signal.SIGSTOP)
    stopped_at = time.monotonic()
    try:
        wait_until_sync(lambda: time.monotonic() - stopped_at > 2.5 * LEASE_SECONDS, "leases are over", 10)
    finally:
        for pid in held:
            _signal(pid, signal.SIGCONT)
    truth.until_all("completed", ids, 20)
    assert set(map(tuple, truth.tries(ids).values())) == {("succeeded",)}
    assert kept_pids(system) == pids
    assert "rescued" not in log()
    truth.balance()


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        kill(pid, number)


def test_every_connection_is_terminated_five_times_under_load(system: System, truth: Books) -> None:
    pids = kept_pids(system)
    ids = system.submit_many([NAP] * 1_000)
    with Load(system, NAP, callers=3) as load:
        cut = 0
        for _ in range(5):
            load.until_accepted(25)
            cut += truth.value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        load.until_accepted(25)
        assert cut >= 10
    assert {answer.status for answer in load.answers} <= {202, 503}, Counter(a.status for a in load.answers)
    truth.until_all("completed", [*ids, *load.accepted.values()], 40)
    assert kept_pids(system) == pids
    truth.balance()


def _repeat(system: System, load: Load) -> dict[str, str]:
    """Repeat what was refused, and some that was accepted: key to id."""
    refused = [answer.key for answer in load.answers if answer.status != 202]
    found: dict[str, str] = {}
    with httpx.Client(base_url=system.facts()["api_url"], timeout=60) as http:
        for key in [*refused, *list(load.accepted)[-60:]]:
            answer = load.submit(http, key)
            assert answer.status in {200, 202}, answer
            found[key] = answer.body["id"]
    return found


def _old(truth: Books) -> float:
    return float(truth.value(
        "SELECT coalesce(extract(epoch FROM now() - min(queued_at)), 0) FROM tasks WHERE status = 'queued'"))  # fmt: skip


def _waiting(truth: Books) -> int:
    return int(truth.value("SELECT count(*) FROM tasks WHERE status = 'queued'"))
