"""Handlers that will not end, or that take their process along: they are ended, and nobody else pays for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos.cell import DEFAULTS, HOUSE, cell
from tests.chaos.stage import Stage, until
from tests.support import leaks
from tests.support.chaos import until_replaced

NEIGHBOURS = 10


class Among(NamedTuple):
    """A task that runs in a worker process with ten others, all slots of the other worker being busy too."""

    id: str
    pid: int
    beside: list[str]
    elsewhere: list[str]


def among_others(stage: Stage, bad: dict[str, Any], seconds: float) -> Among:
    """Fill all slots but one with naps of so many seconds, then submit the bad one."""
    slots = int(HOUSE["WORKER_CONCURRENCY"])
    assert slots == NEIGHBOURS + 1
    naps = stage.naps(2 * slots - 1, seconds, priority="critical")
    stage.books.until_all("running", naps, 15)
    (bad_id,) = stage.submit([{"priority": "critical", **bad}])
    where = "SELECT w.pid FROM tasks t JOIN workers w ON w.id = t.worker_id WHERE t.id = $1"
    found = until(lambda: stage.books.rows(where, bad_id), "the bad one is claimed", 10)
    pid = found[0]["pid"]
    beside = [task for task in stage.books.running_on(pid) if task != bad_id]
    assert len(beside) == NEIGHBOURS
    return Among(bad_id, pid, beside, [task for task in naps if task not in beside])


def _costs_its_process(stage: Stage, type_: str) -> None:
    bad = {"type": type_, "payload": {}, "timeout_seconds": 2, "max_attempts": 1}
    among = among_others(stage, bad, 7.0)
    stage.damage()
    until_replaced(stage.system, "workers", among.pid)
    stage.note("process replaced after s", round(time.time() - stage.damaged_at, 1))
    assert any("process.ended" in line and "exit code 70" in line for line in stage.log().splitlines())
    stage.until_done()
    tries = stage.books.tries([among.id, *among.beside, *among.elsewhere])
    assert tries[among.id] == ["timed_out"]
    assert {tuple(tries[task]) for task in among.beside} == {("released", "succeeded")}
    assert {tuple(tries[task]) for task in among.elsewhere} == {("succeeded",)}
    attempts = "SELECT DISTINCT attempt FROM tasks WHERE id = ANY($1::uuid[])"
    assert stage.books.value(attempts, among.beside) == 1


SPENT_ONE = "the task is `timed_out`, the process replaced; ten neighbours are `released`, no attempt spent"


@cell("a blocked event loop", expects=SPENT_ONE, exits={0, 70})
def blocked_loop(stage: Stage) -> None:
    """`while True: pass` in an `async def` with `timeout_seconds` 2, beside ten others."""
    _costs_its_process(stage, "spins_on_loop")


@cell("a coroutine that swallows its cancel", expects=SPENT_ONE, exits={0, 70})
def swallowed_cancel(stage: Stage) -> None:
    """`except CancelledError: continue` past a timeout of 2 s, beside ten others."""
    _costs_its_process(stage, "swallows_cancel")


@cell("a blocked event loop with time left", expects="one attempt, completed; the worker stays")
def blocked_loop_with_time_left(stage: Stage) -> None:
    """`time.sleep(10)` in an `async def` with `WORKER_LEASE=3s`, beside ten others."""
    seconds = 7.0 if stage.short else 10.0
    bad = {"type": "blocks_loop", "payload": {"seconds": seconds}, "timeout_seconds": 30}
    among = among_others(stage, bad, 3.0)
    stage.damage()
    stage.until_done(seconds + 15)
    tries = stage.books.tries([among.id, *among.beside, *among.elsewhere])
    assert set(map(tuple, tries.values())) == {("succeeded",)}, tries
    assert among.pid in stage.system.facts()["pids"]["workers"]


@cell(
    "`def` handlers that do not end",
    expects="`timed_out`; child and grandchildren gone within 8 s; neighbours untouched",
    settings=DEFAULTS,
)
def stuck_children(stage: Stage) -> None:
    """`while True: pass`, SIGTERM ignored, a loop in C; each with a grandchild that ignores SIGTERM, and 2 s of time."""
    places = {
        kind: Path(stage.system.folder) / f"{kind}.{time.monotonic_ns()}"
        for kind in ("spins_in_child", "ignores_sigterm", "stuck_in_c")
    }
    neighbours = stage.naps(stage.tasks(200), 0.2)
    bad = stage.submit(
        [{"type": kind, "payload": {"path": str(place)}, "max_attempts": 1} for kind, place in places.items()]
    )
    slowest = 0.0
    for place in places.values():
        until(place.exists, "the handler has begun", 20)
        began, pids = place.stat().st_mtime, {int(pid) for pid in place.read_text().split()}
        until(lambda pids=pids: not pids & leaks.running().keys(), "all it started is gone", 12)
        slowest = max(slowest, time.time() - began)
    stage.note("gone after s", round(slowest, 1))
    assert slowest < 8
    stage.until_done()
    assert set(map(tuple, stage.books.tries(bad).values())) == {("timed_out",)}
    assert set(map(tuple, stage.books.tries(neighbours).values())) == {("succeeded",)}


@cell(
    "a task that kills its process",
    expects="one `lost`, two deaths in a child of its own, then a dead letter `poison`; 50 others complete",
)
def poison(stage: Stage) -> None:
    """`os.kill(os.getpid(), SIGKILL)` in an `async def`, beside 50 others."""
    among = among_others(stage, {"type": "kills_its_process", "payload": {}}, 2.0)
    stage.damage()
    more = stage.naps(50 - NEIGHBOURS - len(among.elsewhere), 0.2)
    others = [*among.beside, *among.elsewhere, *more]
    assert len(others) == 50
    stage.books.until_all("failed", [among.id], 40)
    stage.books.until_all("completed", others, 40)
    tries = [status for status in stage.books.tries([among.id])[among.id] if status != "released"]
    assert tries == ["lost", "failed", "failed"]
    letters = stage.books.rows(
        "SELECT reason, error::json->>'type' AS error FROM dead_letters WHERE task_id = $1", among.id
    )
    assert letters == [{"reason": "poison", "error": "HandlerDied"}]
    killed = "SELECT count(DISTINCT worker_id) FROM executions WHERE task_id = $1 AND status = 'lost'"
    assert stage.books.value(killed, among.id) == 1
