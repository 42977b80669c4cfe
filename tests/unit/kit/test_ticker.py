"""A ticker says when `run_once` runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from tests.support.waiting import wait_until

from taskflow.kit.ticker import Ticker


class Passing(Exception):
    """A server is away."""


class Work:
    """Counts its runs; each answers with the next of `answers`, False when there are none left."""

    def __init__(self, *answers: float | Exception) -> None:
        self.answers = list(answers)
        self.runs = 0

    async def run_once(self) -> float:
        self.runs += 1
        answer = self.answers.pop(0) if self.answers else False
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def ticking(work: Work, every_seconds: float) -> AsyncIterator[tuple[Ticker, asyncio.Task[None]]]:
    ticker = Ticker("test", work.run_once, every_seconds, passing=(Passing,))
    loop = asyncio.create_task(ticker.run())
    try:
        yield ticker, loop
    finally:
        loop.cancel()
        await asyncio.wait([loop])


async def test_it_runs_at_once_and_then_at_every_tick() -> None:
    work = Work()
    async with ticking(work, 0.02):
        await wait_until(lambda: work.runs >= 4, "four ticks")


async def test_more_to_do_is_done_at_once() -> None:
    work = Work(*[True] * 50)
    async with ticking(work, 3_600):
        await wait_until(lambda: work.runs == 51, "all of it is done without a tick between")


async def test_a_time_given_shortens_the_pause() -> None:
    work = Work(0.02, 0.02, 3_600.0)
    async with ticking(work, 3_600):
        await wait_until(lambda: work.runs == 3, "both short pauses are over")


async def test_a_time_given_never_makes_the_pause_longer() -> None:
    work = Work(*[3_600.0] * 10)
    async with ticking(work, 0.02):
        await wait_until(lambda: work.runs >= 4, "four ticks")


async def test_waking_is_a_tick_now() -> None:
    work = Work()
    async with ticking(work, 3_600) as (ticker, _):
        await wait_until(lambda: work.runs == 1, "the first run")
        ticker.wake()
        await wait_until(lambda: work.runs == 2, "the woken run")


async def test_a_wake_during_a_run_is_not_lost() -> None:
    work = Work()
    ticker: Ticker

    async def run_once() -> float:
        if work.runs == 0:
            ticker.wake()
        return await work.run_once()

    ticker = Ticker("test", run_once, 3_600)
    loop = asyncio.create_task(ticker.run())
    await wait_until(lambda: work.runs == 2, "the run after the wake")
    loop.cancel()
    await asyncio.wait([loop])


async def test_a_passing_fault_waits_for_the_next_tick() -> None:
    work = Work(Passing(), Passing())
    async with ticking(work, 0.02) as (ticker, _):
        await wait_until(lambda: work.runs >= 4, "it goes on")
        assert ticker.on_time


async def test_any_other_fault_ends_the_loop() -> None:
    async with ticking(Work(ValueError("defect")), 0.01) as (_, loop):
        await wait_until(loop.done, "the loop ended")
        with pytest.raises(ValueError, match="defect"):
            await loop


async def test_a_loop_without_success_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    clock = SimpleNamespace(monotonic=lambda: began)
    monkeypatch.setattr("taskflow.kit.ticker.time", clock)
    work = Work(True, *[Passing() for _ in range(10_000)])
    async with ticking(work, 0.01) as (ticker, _):
        await wait_until(lambda: work.runs >= 3, "it went well once, and has failed since")
        assert ticker.on_time
        clock.monotonic = lambda: began + 10
        assert ticker.on_time
        clock.monotonic = lambda: began + 10.1
        assert not ticker.on_time
