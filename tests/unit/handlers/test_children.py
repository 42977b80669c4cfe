"""`def` handlers: they run in child processes, and a deadline really ends them, with all they started."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support import leaks
from tests.support.waiting import wait_until
from tests.unit.handlers.claims import GRACE_SECONDS, SAMPLES, Claim, Heard

from taskflow.domain.attempt import DIED, Cancelled, Failed, Outcome, Released, Snoozed, Succeeded, TimedOut
from taskflow.handlers.registry import load_registry
from taskflow.handlers.runner import Runner


def gone(pid: int) -> bool:
    """Whether no such process runs (a zombie does not)."""
    return pid not in leaks.running()


def exists(path: Path) -> Callable[[], bool]:
    """Whether something was written to `path`."""
    return lambda: path.exists() and bool(path.read_text())


async def test_one_warm_child_serves_call_after_call(runner: Runner, claim: Claim) -> None:
    assert runner.child_pids == []
    first, second = await runner.run(claim("def.pid")), await runner.run(claim("def.pid"))
    assert first == second == Succeeded(str(runner.child_pids[0]))


async def test_isolated_means_a_process_of_its_own(runner: Runner, claim: Claim) -> None:
    outcomes = [await runner.run(claim(kind), isolated=True) for kind in ("def.pid", "co.pid", "def.pid")]
    pids = {outcome.result for outcome in outcomes if isinstance(outcome, Succeeded)}
    assert len(pids) == 3
    assert str(os.getpid()) not in pids
    await wait_until(lambda: not runner.child_pids, "the isolated children have ended")


async def test_payload_context_and_result(runner: Runner, claim: Claim) -> None:
    claimed = claim("def.typed", {"width": 4}, life=2)
    expected = f'{{"twice":8,"task":"{claimed.id}","key":"{claimed.id}:2"}}'
    assert await runner.run(claimed) == Succeeded(expected)
    refused = await runner.run(claim("def.typed", {"width": None}))
    assert isinstance(refused, Failed)
    assert (refused.permanent, refused.error.type) == (True, "InvalidPayload")


@pytest.mark.parametrize("kind", ["nan", "set", "object", "keys", "large"])
async def test_a_result_that_is_not_json_fails_for_good(runner: Runner, claim: Claim, kind: str) -> None:
    outcome = await runner.run(claim("def.result", kind))
    assert isinstance(outcome, Failed)
    assert (outcome.permanent, outcome.error.type) == (True, "UnstorableResult")


async def test_exceptions_come_through(runner: Runner, claim: Claim) -> None:
    outcome = await runner.run(claim("def.raise", "plain"))
    assert isinstance(outcome, Failed)
    assert (outcome.error.type, outcome.error.message) == ("ValueError", "wrong � � value")
    assert "in def_raise" in (outcome.error.traceback or "").splitlines()[1]
    assert await runner.run(claim("def.raise", "snooze")) == Snoozed(3, "not yet")
    for kind in ("exit", "interrupt", "unprintable", "enormous"):
        assert isinstance(await runner.run(claim("def.raise", kind)), Failed)
    assert len(runner.child_pids) == 1  # none of it cost the child


async def test_prints_logs_and_progress_are_heard(runner: Runner, claim: Claim, heard: Heard) -> None:
    await runner.run(claim("def.talk", {}))
    assert heard.lines == [
        ("log", "debug", "detail", None),
        ("log", "info", "by logging", None),
        ("log", "info", "by print", None),
        ("log", "info", "in parts and more", None),
        ("log", "warning", "to stderr", None),
        ("progress", "info", "", 0.25),
        ("log", "info", "no newlinefrom a thread", None),
    ]


async def test_a_deadline_kills_a_busy_handler_and_its_children(
    runner: Runner, claim: Claim, tmp_path: Path
) -> None:
    place = tmp_path / "pids"
    outcome = await runner.run(claim("def.spin", {"path": str(place)}, timeout_seconds=0.5))
    assert isinstance(outcome, TimedOut)
    pids = [int(pid) for pid in place.read_text().split()]
    await wait_until(lambda: all(gone(pid) for pid in pids), "the handler and its grandchild are gone")
    assert await runner.run(claim("def.typed", {"width": 1}))  # a new child serves the next


async def test_sigterm_runs_finally_blocks(
    runner: Runner, claim: Claim, heard: Heard, tmp_path: Path
) -> None:
    place = tmp_path / "tidied"
    outcome = await runner.run(claim("def.tidy", {"path": str(place)}, timeout_seconds=0.2))
    assert isinstance(outcome, TimedOut)
    assert "stopped" in outcome.error.message
    assert place.read_text() == "cancelled=True"
    assert heard.texts == ["begun", "tidied"]


@pytest.mark.parametrize("kind", ["def.stubborn", "def.gil"])
async def test_after_the_grace_comes_sigkill(runner: Runner, claim: Claim, kind: str) -> None:
    outcome = await runner.run(claim(kind, {}, timeout_seconds=0.2))
    assert isinstance(outcome, TimedOut)
    assert f"{GRACE_SECONDS} s of grace and was killed" in outcome.error.message


async def test_what_is_returned_after_the_end_is_not_recorded(runner: Runner, claim: Claim) -> None:
    assert isinstance(await runner.run(claim("def.swallow", {}, timeout_seconds=0.2)), TimedOut)


async def stopped(runner: Runner, claim: Claim, heard: Heard, stop: Callable[[str, int], None]) -> Outcome:
    """The outcome of a handler that is stopped once it has begun."""
    claimed = claim("def.swallow", {})
    run = asyncio.create_task(runner.run(claimed))
    await wait_until(lambda: heard.texts, "the handler has begun")
    stop(claimed.id, claimed.version)
    return await run


async def test_cancel(runner: Runner, claim: Claim, heard: Heard) -> None:
    assert await stopped(runner, claim, heard, runner.cancel) == Cancelled()


async def test_release(runner: Runner, claim: Claim, heard: Heard) -> None:
    outcome = await stopped(
        runner, claim, heard, lambda task_id, version: runner.release(task_id, version, "drained")
    )
    assert outcome == Released("drained", begun=True)


async def test_isolated_coroutines_are_stopped_too(runner: Runner, claim: Claim, heard: Heard) -> None:
    outcome = await runner.run(claim("co.sleep", timeout_seconds=0.3), isolated=True)
    assert isinstance(outcome, TimedOut)
    assert heard.texts == ["begun", "tidied, cancelled=True"]


async def test_one_stopped_while_its_child_starts_has_not_begun(runner: Runner, claim: Claim) -> None:
    claimed = claim("def.pid")
    run = asyncio.create_task(runner.run(claimed))
    await wait_until(lambda: runner.child_pids, "a child starts", interval=0)
    runner.release(claimed.id, claimed.version, "drained")
    assert await run == Released("drained", begun=False)


@pytest.mark.parametrize(
    ("kind", "payload", "how"),
    [("def.exit", 7, "exit code 7"), ("def.exit", 0, "exit code 0"), ("def.segfault", None, "SIGSEGV")],
)
async def test_a_death_costs_the_child_only(
    runner: Runner, claim: Claim, heard: Heard, kind: str, payload: int | None, how: str
) -> None:
    outcome = await runner.run(claim(kind, payload))
    assert isinstance(outcome, Failed)
    assert (outcome.died, outcome.permanent, outcome.error.type) == (True, False, DIED)
    assert how in outcome.error.message
    assert heard.texts == (["last words"] if kind == "def.exit" else [])
    assert isinstance(await runner.run(claim("def.pid")), Succeeded)


async def test_a_kill_from_outside_is_a_death(runner: Runner, claim: Claim, heard: Heard) -> None:
    run = asyncio.create_task(runner.run(claim("def.swallow", {})))
    await wait_until(lambda: heard.texts, "the handler has begun")
    os.kill(runner.child_pids[0], signal.SIGKILL)
    outcome = await run
    assert isinstance(outcome, Failed)
    assert outcome.died
    assert "SIGKILL" in outcome.error.message


async def test_a_sigterm_that_is_not_the_workers_is_ignored(
    runner: Runner, claim: Claim, heard: Heard, tmp_path: Path
) -> None:
    place = tmp_path / "tidied"
    claimed = claim("def.tidy", {"path": str(place)})
    run = asyncio.create_task(runner.run(claimed))
    await wait_until(lambda: heard.texts, "the handler has begun")
    os.kill(runner.child_pids[0], signal.SIGTERM)
    await asyncio.wait({run}, timeout=1.2)
    assert not run.done()
    runner.cancel(claimed.id, claimed.version)
    assert await run == Cancelled()
    assert place.read_text() == "cancelled=True"


async def test_copies_that_a_handler_forks_do_not_answer_for_it(
    runner: Runner, claim: Claim, heard: Heard
) -> None:
    assert await runner.run(claim("def.fork", {})) == Succeeded("5")
    assert heard.texts == []


async def test_a_child_that_dies_while_idle_is_replaced(runner: Runner, claim: Claim) -> None:
    await runner.run(claim("def.pid"))
    os.kill(runner.child_pids[0], signal.SIGKILL)
    await wait_until(lambda: not runner.child_pids, "its death is noticed")
    assert isinstance(await runner.run(claim("def.pid")), Succeeded)


async def test_its_caller_may_be_cancelled(runner: Runner, claim: Claim, heard: Heard) -> None:
    run = asyncio.create_task(runner.run(claim("def.stubborn", {})))
    await wait_until(lambda: heard.texts, "the handler has begun")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await wait_until(lambda: not runner.child_pids, "the child is gone")


async def test_idle_children_go(heard: Heard, claim: Claim) -> None:
    registry = load_registry(SAMPLES)
    async with Runner(registry, imports=SAMPLES, slots=2, on_history=heard, idle_seconds=0.2) as runner:
        outcomes = await asyncio.gather(*(runner.run(claim("def.pid")) for _ in range(2)))
        # Two at once have a child each; the first may be gone before the second, slow to start, has answered.
        assert len({outcome.result for outcome in outcomes if isinstance(outcome, Succeeded)}) == 2
        await wait_until(lambda: not runner.child_pids, "the idle children have ended")


@pytest.mark.parametrize(
    ("module", "kind", "name", "message"),
    [
        ("broken_in_child", "def.unimportable", "HandlerImportError", "No module named 'heavy_library'"),
        ("dies_in_child", "def.deadly", "ChildNotStarted", "exit code 9"),
    ],
)
async def test_a_child_that_cannot_import_says_so(
    heard: Heard,
    claim: Claim,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    kind: str,
    name: str,
    message: str,
) -> None:
    monkeypatch.setenv("TASKFLOW_TEST_BREAKS_IN_PID", str(os.getpid()))
    modules = [f"tests.unit.handlers.{module}"]
    async with Runner(load_registry(modules), imports=modules, slots=1, on_history=heard) as runner:
        outcome = await runner.run(claim(kind))
    assert isinstance(outcome, Failed)
    assert (outcome.error.type, outcome.died, outcome.permanent) == (name, False, False)
    assert message in outcome.error.message


async def test_a_type_only_the_worker_knows_fails_clearly(heard: Heard, claim: Claim) -> None:
    async with Runner(load_registry(SAMPLES), imports=[], slots=1, on_history=heard) as runner:
        outcome = await runner.run(claim("def.pid"))
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "HandlerImportError"
    assert "def.pid" in outcome.error.message


WORKER = """
import asyncio, sys
from tests.unit.handlers.claims import SAMPLES, make_claim
from taskflow.handlers.registry import load_registry
from taskflow.handlers.runner import Runner

async def main():
    claimed = make_claim(sys.argv[1], {"path": sys.argv[2]})
    tell = lambda *line: print("heard", flush=True)
    async with Runner(load_registry(SAMPLES), imports=SAMPLES, slots=1, on_history=tell) as runner:
        await runner.run(claimed)

asyncio.run(main())
"""


def worker_running(kind: str, place: Path) -> subprocess.Popen[str]:
    """A process with a runner that runs one handler; it says when the handler has logged something."""
    command = [sys.executable, "-c", WORKER, kind, str(place)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's lifeline is Linux's")
async def test_a_killed_worker_takes_children_and_grandchildren_along(tmp_path: Path) -> None:
    place = tmp_path / "pids"
    with worker_running("def.spin", place) as worker:
        await wait_until(exists(place), "the handler has begun")
        worker.kill()
    pids = [int(pid) for pid in place.read_text().split()]
    await wait_until(lambda: all(gone(pid) for pid in pids), "handler and grandchild are gone")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's lifeline is Linux's")
async def test_a_killed_worker_takes_a_child_stuck_in_c_along(tmp_path: Path) -> None:
    before = set(leaks.running())
    with worker_running("def.gil", tmp_path) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "heard\n"
        children = set(leaks.running()) - before - {worker.pid}
        worker.kill()
    await wait_until(lambda: all(gone(pid) for pid in children), "the stuck child is gone")
