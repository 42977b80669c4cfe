"""`async def` handlers: they run on the loop, end at their deadline, and never harm it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from typing import Any

import pytest
from msgspec import Raw
from tests.support.waiting import wait_until
from tests.unit.handlers import samples
from tests.unit.handlers.claims import SAMPLES, Claim, Heard

from taskflow.domain.attempt import Cancelled, Failed, Released, Snoozed, Succeeded, TimedOut
from taskflow.handlers.registry import Registry, load_registry
from taskflow.handlers.runner import Runner


async def test_typed_payload_and_context(runner: Runner, claim: Claim) -> None:
    claimed = claim("co.typed", {"width": 4, "unknown": 1})
    assert await runner.run(claimed) == Succeeded(f'{{"twice":8,"task":"{claimed.id}"}}')
    assert await runner.run(claim("co.nothing", [1])) == Succeeded("null")


async def test_a_payload_that_does_not_fit_fails_for_good(runner: Runner, claim: Claim) -> None:
    outcome = await runner.run(claim("co.typed", {"width": "wide"}))
    assert isinstance(outcome, Failed)
    assert (outcome.permanent, outcome.error.type) == (True, "InvalidPayload")
    assert "$.width" in outcome.error.message


@pytest.mark.parametrize("kind", ["nan", "set", "object", "keys", "large"])
async def test_a_result_that_is_not_json_fails_for_good(runner: Runner, claim: Claim, kind: str) -> None:
    outcome = await runner.run(claim("co.result", kind))
    assert isinstance(outcome, Failed)
    assert (outcome.permanent, outcome.error.type) == (True, "UnstorableResult")


async def test_odd_text_in_a_result_is_kept_or_replaced(runner: Runner, claim: Claim) -> None:
    assert await runner.run(claim("co.result", "surrogate")) == Succeeded('{"a�":["�"]}')
    assert await runner.run(claim("co.result", "nul")) == Succeeded('"a\\u0000b"')


async def test_an_exception_tells_from_the_handlers_frame_on(runner: Runner, claim: Claim) -> None:
    outcome = await runner.run(claim("co.raise", "plain"))
    assert isinstance(outcome, Failed)
    assert (outcome.error.type, outcome.error.message) == ("ValueError", "wrong � � value")
    trace = (outcome.error.traceback or "").splitlines()
    assert trace[0] == "Traceback (most recent call last):"
    assert "in co_raise" in trace[1]
    assert not outcome.permanent


async def test_what_handlers_raise_to_say_more(runner: Runner, claim: Claim) -> None:
    permanent = await runner.run(claim("co.raise", "permanent"))
    assert isinstance(permanent, Failed)
    assert permanent.permanent
    later = await runner.run(claim("co.raise", "later"))
    assert isinstance(later, Failed)
    assert (later.delay_seconds, later.permanent) == (7, False)
    assert await runner.run(claim("co.raise", "snooze")) == Snoozed(3, "not yet")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("odd", "OddSnooze"),
        ("exit", "SystemExit"),
        ("interrupt", "KeyboardInterrupt"),
        ("cancelled", "CancelledError"),
        ("unprintable", "Unprintable"),
        ("enormous", "ValueError"),
    ],
)
async def test_no_exception_harms_the_loop(runner: Runner, claim: Claim, kind: str, name: str) -> None:
    outcome = await runner.run(claim("co.raise", kind))
    assert isinstance(outcome, Failed)
    assert outcome.error.type == name
    assert len(outcome.error.message.encode()) <= 4096
    assert len((outcome.error.traceback or "").encode()) <= 65_536
    assert await runner.run(claim("co.echo", 1)) == Succeeded("1")


async def test_the_deadline_ends_it(runner: Runner, claim: Claim, heard: Heard) -> None:
    outcome = await runner.run(claim("co.sleep", timeout_seconds=0.1))
    assert isinstance(outcome, TimedOut)
    assert "0.1 s" in outcome.error.message
    assert heard.texts == ["begun", "tidied, cancelled=True"]


async def test_one_that_swallows_the_cancel_is_given_up(
    runner: Runner, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    monkeypatch.setattr(samples, "LET_GO", let_go)
    claimed = claim("co.swallow", timeout_seconds=0.05)
    assert isinstance(await runner.run(claimed), TimedOut)
    assert set(runner.stuck) == {(claimed.id, claimed.version)}
    assert runner.held() == set()
    let_go.set()
    await wait_until(lambda: not runner.stuck, "the handler ends at last")


async def test_cancel_and_release(runner: Runner, claim: Claim, heard: Heard) -> None:
    first, second = claim("co.sleep"), claim("co.sleep")
    runs = [asyncio.create_task(runner.run(claimed)) for claimed in (first, second)]
    await wait_until(lambda: len(heard.texts) == 2, "both have begun")
    assert runner.held() == {(first.id, 3), (second.id, 3)}
    runner.cancel(first.id, first.version + 1)  # of a version that is not ours: nothing
    runner.cancel(first.id, first.version)
    runner.release(second.id, second.version, "drained")
    assert await asyncio.gather(*runs) == [Cancelled(), Released("drained", begun=True)]


async def test_one_stopped_before_its_first_step_has_not_begun(runner: Runner, claim: Claim) -> None:
    claimed = claim("co.sleep")
    run = asyncio.ensure_future(runner.run(claimed))
    await wait_until(lambda: runner.held() or None, "it is held", interval=0)
    runner.release(claimed.id, claimed.version, "drained")
    assert await run == Released("drained", begun=False)


async def test_a_cancel_outranks_a_release(runner: Runner, claim: Claim, heard: Heard) -> None:
    claimed = claim("co.sleep")
    run = asyncio.create_task(runner.run(claimed))
    await wait_until(lambda: heard.texts, "it has begun")
    runner.release(claimed.id, claimed.version, "drained")
    runner.cancel(claimed.id, claimed.version)
    assert await run == Cancelled()


async def test_its_caller_may_be_cancelled(runner: Runner, claim: Claim, heard: Heard) -> None:
    run = asyncio.create_task(runner.run(claim("co.sleep")))
    await wait_until(lambda: heard.texts, "it has begun")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await wait_until(lambda: not runner.stuck, "the handler has ended")
    assert runner.held() == set()


async def test_an_unknown_type_is_handed_back(runner: Runner, claim: Claim) -> None:
    outcome = await runner.run(claim("no.such"))
    assert isinstance(outcome, Released)
    assert not outcome.begun


async def test_prints_logs_and_progress_are_heard(claim: Claim, heard: Heard) -> None:
    # Not the fixture's runner: pytest sets sys.stdout anew between a fixture's part and the test's.
    async with Runner(load_registry(SAMPLES), imports=SAMPLES, slots=1, on_history=heard) as runner:
        await runner.run(claim("co.talk", {}))
        await wait_until(lambda: "no newlinefrom a thread" in heard.texts, "the thread's line has come")
    assert sorted(heard.lines, key=str) == sorted(
        [
            ("log", "debug", "detail", None),
            ("log", "info", "by logging", None),
            ("log", "info", "by print", None),
            ("log", "info", "in parts and more", None),
            ("log", "warning", "to stderr", None),
            ("log", "info", "no newlinefrom a thread", None),
            ("log", "info", "awaited", None),
            ("progress", "info", "", 0.25),
            ("progress", "info", "half", 0.5),
        ],
        key=str,
    )


async def test_outside_of_handlers_nothing_is_heard(
    heard: Heard, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with Runner(load_registry(SAMPLES), imports=SAMPLES, slots=1, on_history=heard):
        print("outside")
        logging.getLogger("outside").warning("a warning")
    assert heard.lines == []
    assert "outside" in capsys.readouterr().out
    assert "a warning" in caplog.text


async def test_streams_and_loggers_are_given_back(heard: Heard) -> None:
    before = (sys.stdout, sys.stderr, logging.getLogger().handlers[:], logging.getLogger().level)
    async with Runner(Registry({}), imports=[], slots=1, on_history=heard):
        assert sys.stdout is not before[0]
    assert (sys.stdout, sys.stderr, logging.getLogger().handlers[:], logging.getLogger().level) == before


async def test_a_thousand_at_once(runner: Runner, claim: Claim) -> None:
    texts = [f'{{"n":{n},"n":1e400}}' for n in range(1000)]
    outcomes: list[Any] = await asyncio.gather(*(runner.run(claim("co.echo", Raw(text))) for text in texts))
    assert outcomes == [Succeeded(text) for text in texts]


async def test_leaving_the_runner_hands_back_what_runs(heard: Heard, claim: Claim) -> None:
    async with Runner(load_registry(SAMPLES), imports=SAMPLES, slots=2, on_history=heard) as runner:
        runs = [asyncio.create_task(runner.run(claim(kind, {}))) for kind in ("co.sleep", "def.swallow")]
        await wait_until(lambda: len(heard.texts) == 2, "both have begun")
    assert await asyncio.gather(*runs) == [Released("the worker ended", begun=True)] * 2
    assert await runner.run(claim("co.echo", 1)) == Released("the worker ended", begun=False)
