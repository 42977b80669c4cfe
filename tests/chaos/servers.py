"""PostgreSQL and NATS die, go away, lose what they had: nobody dies with them, and nothing is lost."""

from __future__ import annotations

import itertools
import shutil
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from tests.chaos.cell import cell
from tests.chaos.grounds import OwnServer, OwnServers, own_servers
from tests.chaos.stage import Stage, until
from tests.chaos.workers import NAP
from tests.support.chaos import Load, kill, rung_again, until_replaced

WAITING = "SELECT count(*) FROM tasks WHERE status = 'queued'"
CLIENTS = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"


@cell("NATS SIGKILL", expects="submits are accepted all the while; every task runs once")
def nats_killed(stage: Stage) -> None:
    """nats-server is killed again and again under a backlog and load."""
    pids = stage.kept_pids()
    ids = stage.naps(stage.tasks(10_000), 0.02)
    with stage.load(NAP) as load:
        for _ in range(1 if stage.short else 3):
            load.until_accepted(20)
            _end_nats(stage)
            load.until_accepted(20)
    assert {answer.status for answer in load.answers} == {202}
    stage.until_done()
    assert set(map(tuple, stage.books.tries([*ids, *load.ids.values()]).values())) == {("succeeded",)}
    assert stage.kept_pids() == pids


def _end_nats(stage: Stage, *, with_store: bool = False) -> None:
    nats = stage.system.facts()["pids"]["nats"]
    kill(nats)
    if with_store:
        shutil.rmtree(stage.system.folder / "nats" / "store")
    stage.damage()
    until_replaced(stage.system, "nats", nats)


@cell(
    "NATS store deleted under load, twice in a row",
    expects="all finish with no one's help; each lost doorbell is rung again about once",
    patience=120,
)
def store_deleted(stage: Stage) -> None:
    """JetStream's store is deleted under a backlog of 20,000, and again once the doorbells were rung again."""
    ids: list[str] = []
    lost_at_least = lost_at_most = 0
    with stage.load(NAP, pause=0.05) as load:
        for _ in range(2):
            missing = stage.tasks(20_000) - stage.books.value(WAITING)
            ids += stage.naps(missing, 0.06 if stage.short else 0.03)
            load.until_accepted(20)
            rung = sum(stage.rung_again())
            accepted = len(load.accepted)
            waiting = stage.books.value(WAITING)
            _end_nats(stage, with_store=True)
            until(
                lambda wanted=rung + waiting * 0.9: sum(stage.rung_again()) >= wanted,
                "all are rung again",
                60,
            )
            lost_at_least += waiting
            # The doorbells of what is accepted while there is no stream are lost too.
            lost_at_most += waiting + len(load.accepted) - accepted
    stage.until_done(stage.cell.patience)
    told = sum(stage.rung_again())
    stage.note("doorbells lost", f"{lost_at_least:,} to {lost_at_most:,}")
    stage.note("rung again", told)
    assert told <= lost_at_most * 1.05 + 20, (told, lost_at_most)
    everything = [*ids, *load.ids.values()]
    assert stage.books.statuses(everything) == {"completed": len(everything)}
    assert set(map(tuple, stage.books.tries(everything).values())) == {("succeeded",)}


@cell(
    "a healthy backlog and two schedulers",
    expects="while 100,000 tasks wait, no doorbell is rung again",
    patience=180,
)
def healthy_backlog(stage: Stage) -> None:
    """Nothing is broken: a backlog of 100,000 waits behind slow tasks, tended by two schedulers."""
    seconds = 12.0 if stage.short else 30.0
    with stage.extra("taskflow_scheduler") as second:
        until(lambda: "service.started" in second.log(), "the second scheduler is up", 30)
        slow = stage.naps(22, seconds, priority="critical", timeout_seconds=120)
        stage.books.until_all("running", slow, 15)
        ids = stage.submit([{"type": "echo"}] * stage.tasks(100_000))
        stage.damage()
        stage.books.until_all("completed", slow, seconds + 15)
        waited = stage.books.value("SELECT extract(epoch FROM now() - min(queued_at))::float8 FROM tasks "
                                   "WHERE id = ANY($1::uuid[])", ids)  # fmt: skip
        stage.note("waited s", round(waited))
        stage.until_done(stage.cell.patience)
        assert stage.rung_again() == []
        assert rung_again(second.log()) == []
    tries = "SELECT count(*) FROM executions WHERE task_id = ANY($1::uuid[])"
    assert stage.books.value(tries, ids) == len(ids)


@cell(
    "PostgreSQL immediate shutdown",
    expects="answers are 202 or 503 with Retry-After; no service exits; no attempt is spent",
)
def postgres_killed(stage: Stage) -> None:
    """The postmaster gets SIGQUIT, then SIGKILL, and so on, under load, until callers have noticed."""
    pids = stage.kept_pids()
    ids = stage.naps(stage.tasks(4_000), 0.1)
    single = stage.naps(5, 5.0, max_attempts=1, priority="critical")
    stage.books.until_all("running", single, 10)
    with stage.load(NAP, callers=3) as load:
        load.until_accepted(30)
        for place, number in enumerate(itertools.cycle((signal.SIGQUIT, signal.SIGKILL))):
            if place >= (2 if stage.short else 6) and any(answer.status == 503 for answer in load.answers):
                break
            postgres = stage.system.facts()["pids"]["postgres"]
            kill(postgres, number)
            stage.damage()
            until_replaced(stage.system, "postgres", postgres)
            if place % 2:
                load.until_accepted(10)
        load.until_accepted(30)
    _only_202_and_503(stage, load)
    stage.until_done()
    assert stage.kept_pids() == pids
    _spent_nothing(stage, [*ids, *single, *load.ids.values()])


@cell(
    "PostgreSQL away for two leases",
    expects="nobody could renew, so nobody is dead: what runs goes on, though it may start only once",
)
def postgres_stands_still(stage: Stage) -> None:
    """The postmaster and all backends are stopped by SIGSTOP for two leases and a half."""
    pids = stage.kept_pids()
    postgres = stage.system.facts()["pids"]["postgres"]
    ids = stage.naps(12, stage.lease * 2.5 + 3, max_attempts=1)
    stage.books.until_all("running", ids, 10)
    held = [postgres, *(row["pid"] for row in stage.books.rows(f"SELECT pid {CLIENTS}"))]
    for pid in held:
        _signal(pid, signal.SIGSTOP)
    try:
        stage.lasting(stage.lease * 2.5, "leases are over")
    finally:
        for pid in held:
            _signal(pid, signal.SIGCONT)
    stage.damage()
    stage.until_done()
    assert set(map(tuple, stage.books.tries(ids).values())) == {("succeeded",)}
    assert stage.kept_pids() == pids
    assert "tasks.rescued" not in stage.log()


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        kill(pid, number)


@cell(
    "PostgreSQL connections terminated in a loop",
    expects="answers are 202 or 503; no service exits; no attempt is spent",
)
def connections_terminated(stage: Stage) -> None:
    """`pg_terminate_backend` of every connection, again and again under load."""
    pids = stage.kept_pids()
    ids = stage.naps(stage.tasks(10_000), 0.03)
    cut = 0
    with stage.load(NAP, callers=3) as load:
        for _ in range(5 if stage.short else 40):
            load.until_accepted(20)
            cut += stage.books.value(f"SELECT count(pg_terminate_backend(pid)) {CLIENTS}")
            stage.damage()
        load.until_accepted(20)
    stage.note("connections cut", cut)
    assert cut >= 20
    _only_202_and_503(stage, load)
    stage.until_done()
    assert stage.kept_pids() == pids
    _spent_nothing(stage, [*ids, *load.ids.values()])


def _away(stage: Stage, servers: Sequence[OwnServer], statuses: set[int]) -> None:
    """Stop servers for 20 s (two leases and a bit in the short form) under load, while tasks run that start only once."""
    seconds = stage.lease * 2.2 if stage.short else 20.0
    pids = stage.kept_pids()
    single = stage.naps(12, seconds + 2, max_attempts=1, timeout_seconds=120)
    stage.books.until_all("running", single, 10)
    ids = stage.naps(stage.tasks(4_000), 0.05)
    with stage.load(NAP, callers=3, pause=0.05) as load:
        load.until_accepted(20)
        for server in servers:
            server.stop()
        asked = len(load.answers) + 3
        stage.lasting(seconds, "servers are away")
        during = load.answers[asked:]
        for server in servers:
            server.start()
        stage.damage()
        load.until_accepted(20)
    stage.note("answers meanwhile", len(during))
    assert during, "no answer while they were away"
    assert {answer.status for answer in during} == statuses
    _only_202_and_503(stage, load)
    stage.until_done()
    _spent_nothing(stage, [*ids, *single, *load.ids.values()])
    assert set(map(tuple, stage.books.tries(single).values())) == {("succeeded",)}
    assert stage.kept_pids() == pids
    assert "tasks.rescued" not in stage.log()


@cell(
    "PostgreSQL stopped for 20 s",
    expects="503 with Retry-After; nobody exits or stands still; tasks that run go on, no attempt is spent",
    ground=own_servers,
)
def postgres_stopped(stage: Stage) -> None:
    """PostgreSQL is shut down under load and started again."""
    servers: OwnServers = stage.ground
    _away(stage, [servers.postgres], {503})


@cell(
    "NATS stopped for 20 s",
    expects="submits are accepted all the while; nobody exits or stands still; no attempt is spent",
    ground=own_servers,
    full_only=True,
)
def nats_stopped(stage: Stage) -> None:
    """NATS is shut down under load and started again."""
    servers: OwnServers = stage.ground
    _away(stage, [servers.nats], {202})


@cell(
    "PostgreSQL and NATS stopped for 20 s",
    expects="503 with Retry-After; nobody exits or stands still; no attempt is spent",
    ground=own_servers,
    full_only=True,
)
def both_stopped(stage: Stage) -> None:
    """Both are shut down under load and started again."""
    servers: OwnServers = stage.ground
    _away(stage, [servers.nats, servers.postgres], {503})


def _only_202_and_503(stage: Stage, load: Load) -> None:
    """Every caller was answered: accepted, or to come again later."""
    seen = Counter(
        (a.status, a.body.get("code") if isinstance(a.body, dict) else a.body) for a in load.answers
    )
    assert {answer.status for answer in load.answers} <= {202, 503}, seen
    refused = [answer for answer in load.answers if answer.status == 503]
    stage.note("refused with 503", len(refused))
    assert all(answer.retry_after for answer in refused)


def _spent_nothing(stage: Stage, ids: list[str]) -> None:
    """All completed in their first attempt."""
    assert stage.books.statuses(ids) == {"completed": len(ids)}
    seen = Counter(status for tries in stage.books.tries(ids).values() for status in tries)
    assert set(seen) <= {"succeeded", "released"}, seen
