"""Workers that die, stand still or are replaced: what they had in hand is finished by others."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import AbstractContextManager, ExitStack

from tests.chaos.cell import DEFAULTS, cell
from tests.chaos.stage import Stage, until
from tests.support.chaos import Extra, kill, until_replaced

NAP = {"type": "nap", "payload": {"seconds": 0.05}}
RAN_AGAIN = """
    SELECT DISTINCT ON (l.task_id) extract(epoch FROM n.started_at)::float8 AS at
    FROM executions l
    JOIN executions n ON n.task_id = l.task_id AND n.number > l.number AND n.status <> 'released'
    WHERE l.status = 'lost' AND l.task_id = ANY($1::uuid[])
    ORDER BY l.task_id, n.number"""


def busiest(stage: Stage, at_least: int = 2) -> int:
    """The pid of a worker that runs several tasks."""
    pids = stage.system.facts()["pids"]["workers"]

    def found() -> int | None:
        return next((pid for pid in pids if len(stage.books.running_on(pid)) >= at_least), None)

    pid = until(found, f"a worker runs {at_least} tasks", 15)
    assert pid is not None
    return pid


def _worker_dies(stage: Stage, seconds_max: float) -> None:
    # A task that was lost queues up anew: in a lane of its own it need not wait for the backlog as well.
    ids = stage.naps(20, 2.0, priority="critical")
    pid = busiest(stage, 8)
    backlog = stage.naps(stage.tasks(2_000), 0.1)
    kill(pid)
    stage.damage()
    until_replaced(stage.system, "workers", pid)
    stage.until_done()
    again = [row["at"] - stage.damaged_at for row in stage.books.rows(RAN_AGAIN, ids)]
    stage.note("tasks it had", len(again))
    stage.note("run elsewhere after s", round(max(again), 1))
    assert max(again) < seconds_max
    assert stage.books.statuses([*ids, *backlog]) == {"completed": len(ids) + len(backlog)}


@cell("worker SIGKILL", expects="its tasks run elsewhere within 25 s", settings=DEFAULTS, full_only=True)
def worker_killed(stage: Stage) -> None:
    """A worker with all slots busy is killed, with the settings everybody has (lease 15 s)."""
    _worker_dies(stage, 25)


@cell("worker SIGKILL, lease 3 s", expects="its tasks run elsewhere within 8 s")
def worker_killed_short_lease(stage: Stage) -> None:
    """The same with `WORKER_LEASE=3s`."""
    _worker_dies(stage, 8)


@cell(
    "worker SIGSTOP past its lease",
    expects="its tasks run elsewhere; it changes nothing, and works on under a new id",
)
def worker_stopped(stage: Stage) -> None:
    """A busy worker is stopped by SIGSTOP until its tasks have run elsewhere, then continued."""
    ids = stage.naps(15, 2.5) + stage.naps(stage.tasks(400), 0.1)
    pid = busiest(stage, 4)
    old = _ids_of(stage, pid)
    kill(pid, signal.SIGSTOP)
    stage.damage()
    try:
        lost = stage.books.running_on(pid)
        assert lost
        stage.books.until_all("completed", ids, 30)
    finally:
        kill(pid, signal.SIGCONT)
    stage.note("tasks it had", len(lost))
    new = until(lambda: _ids_of(stage, pid) - old, "the worker has another id", 15)
    assert os.path.exists(f"/proc/{pid}")
    tries = stage.books.tries(lost)
    assert {_without_released(tries[i]) for i in lost} == {("lost", "succeeded")}, tries

    def works() -> bool:
        stage.naps(60, 0.02)
        ran = "SELECT count(*) FROM executions WHERE worker_id = ANY($1::uuid[]) AND status = 'succeeded'"
        return bool(stage.books.value(ran, list(new)))

    until(works, "it runs tasks under the new id", 15)


def _ids_of(stage: Stage, pid: int) -> set[str]:
    """The ids under which the process is a live worker."""
    workers = stage.system.get("/workers")["items"]
    return {each["id"] for each in workers if each["pid"] == pid and each["status"] == "live"}


def _without_released(tries: list[str]) -> tuple[str, ...]:
    """`released` is no try: the task waited in vain for a process of its own."""
    return tuple(status for status in tries if status != "released")


@cell(
    "rolling restart of all workers",
    expects="no attempt is spent (but by max_attempts=1 tasks that outlast the drain); exit code 0 in time",
)
def rolling_restart(stage: Stage) -> None:
    """SIGTERM to every worker at once under load, then, in the full form, to one after the other."""
    long, long_seconds = 8, 7.0
    outlast = stage.naps(long, long_seconds, priority="critical")
    single = stage.naps(4, long_seconds, priority="critical", max_attempts=1)
    stage.books.until_all("running", [*outlast, *single], 15)
    ids = stage.naps(stage.tasks(4_000), 0.1)
    with stage.load(NAP) as load:
        load.until_accepted(20)
        pids = stage.system.facts()["pids"]["workers"]
        stage.damage()
        slowest = _restart(stage, pids)
        for _ in range(0 if stage.short else 2):
            for pid in stage.system.facts()["pids"]["workers"]:
                slowest = max(slowest, _restart(stage, [pid]))
        load.until_accepted(20)
    stage.note("slowest drain s", round(slowest, 1))
    rest = [*ids, *outlast, *load.ids.values()]
    stage.books.until_all("completed", rest, 60)
    stage.until_done()
    seen = Counter(status for tries in stage.books.tries(rest).values() for status in tries)
    assert set(seen) <= {"succeeded", "released"}, seen
    stage.note("handed back", seen["released"])
    assert seen["released"] >= long
    spent = "SELECT count(*) FROM tasks WHERE id = ANY($1::uuid[]) AND attempt <> 1"
    assert stage.books.value(spent, rest) == 0
    assert set(map(tuple, stage.books.tries(single).values())) == {("lost",)}
    ended = [line for line in stage.log().splitlines() if "process.ended" in line]
    assert len(ended) >= len(pids), ended
    assert all("exit code 0" in line for line in ended), ended


def _restart(stage: Stage, pids: list[int]) -> float:
    """Have workers end in order; the seconds until the last has ended."""
    began = time.monotonic()
    for pid in pids:
        kill(pid, signal.SIGTERM)
    drain, grace, margin = 3.0, 1.0, 4.0  # of these settings; the rest is for recording on a busy machine
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "they end", drain + grace + margin)
    seconds = time.monotonic() - began
    for pid in pids:
        until_replaced(stage.system, "workers", pid)
    stage.until_whole()
    return seconds


@cell(
    "a deploy with one broken handler",
    expects="other types are unaffected; after the mended deploy and a replay all complete",
)
def broken_deploy(stage: Stage) -> None:
    """A good version is replaced by one whose handler raises, by one that cannot be imported, by a good one."""
    with ExitStack() as old:
        old.enter_context(_deployed(stage, "good"))
        first = _orders(stage, 200)
        stage.books.until_all("completed", first[:10], 15)
        with _deployed(stage, "broken") as broken:
            until(lambda: _ids_of(stage, broken.process.pid), "the broken version works", 15)
            stage.damage()
            old.close()
            second = _orders(stage, 600)
            stage.until_done(30)
    assert stage.books.statuses(second[1::2]) == {"completed": len(second) // 2}, "receipts are unaffected"
    letters = stage.books.rows(
        "SELECT id::text AS id FROM dead_letters WHERE task_id = ANY($1::uuid[]) AND status = 'pending'",
        [*first, *second],
    )
    assert len(letters) >= len(second) // 2
    third = _orders(stage, 200)
    with _deployed(stage, "cannot be imported", codes={2}) as unimportable:
        assert unimportable.process.wait(20) == 2
        assert "lacks a library" in unimportable.log()
    assert stage.books.statuses(third) == {"queued": len(third)}
    with _deployed(stage, "good"):
        for letter in letters:
            stage.system.post(f"/dead-letters/{letter['id']}/replay", expect=202)
        stage.books.until_all("completed", [*first, *second, *third], 30)
    stage.note("dead letters replayed", len(letters))


def _deployed(stage: Stage, version: str, codes: set[int] | None = None) -> AbstractContextManager[Extra]:
    """A worker of that version, for a queue of its own."""
    return stage.extra(
        "taskflow_worker", codes=codes or {0}, DEPLOYED=version, WORKER_QUEUES="orders",
        WORKER_IMPORTS="tests.support.deployed_handlers",
    )  # fmt: skip


def _orders(stage: Stage, count: int) -> list[str]:
    """Tasks of both types, in turn."""
    pair = [{"type": name, "queue": "orders"} for name in ("makes_invoice", "sends_receipt")]
    return stage.submit(pair * (stage.tasks(count) // 2))
