"""Natural batching: what gathers while one round trip is under way goes together with the next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from tests.support.waiting import wait_until

from taskflow.kit import batcher as room
from taskflow.kit.batcher import Batcher, Full, Verdict


class Away(Exception):
    """Try again."""


class Bad(Exception):
    """One of the items cannot be taken."""


def judged(error: Exception) -> Verdict:
    if isinstance(error, Away):
        return Verdict.REPEAT
    return Verdict.HALVE if isinstance(error, Bad) else Verdict.FAIL


class Server:
    """Answers each item with its double, once the gate is open; remembers the batches it was given."""

    def __init__(self, *, open_gate: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.under_way = 0
        self.under_way_max = 0
        self.bad: set[int] = set()
        self.faults: list[Exception] = []
        self.gate = asyncio.Event()
        if open_gate:
            self.gate.set()

    async def act(self, items: list[int]) -> Sequence[int]:
        self.batches.append(items)
        self.under_way += 1
        self.under_way_max = max(self.under_way_max, self.under_way)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
            if self.faults:
                raise self.faults.pop(0)
            if self.bad & set(items):
                raise Bad(f"cannot take {sorted(self.bad & set(items))}")
            return [item * 2 for item in items]
        finally:
            self.under_way -= 1


async def settled(futures: Sequence[asyncio.Future[int]]) -> list[int | str]:
    answers = await asyncio.gather(*futures, return_exceptions=True)
    return [type(a).__name__ if isinstance(a, BaseException) else a for a in answers]


async def test_alone_an_item_goes_at_once() -> None:
    server = Server()
    async with Batcher(server.act, verdict=judged) as batcher:
        assert await batcher.put(21) == 42
    assert server.batches == [[21]]


async def test_what_gathers_during_a_flight_goes_together() -> None:
    server = Server(open_gate=False)
    async with Batcher(server.act, verdict=judged) as batcher:
        first = batcher.put(0)
        await wait_until(lambda: server.under_way == 1, "the first batch is under way")
        rest = [batcher.put(n) for n in range(1, 100)]
        server.gate.set()
        assert await settled([first, *rest]) == [n * 2 for n in range(100)]
    assert server.batches == [[0], list(range(1, 100))]
    assert server.under_way_max == 1


async def test_several_flights_may_be_under_way() -> None:
    server = Server(open_gate=False)
    async with Batcher(server.act, verdict=judged, flights=2, items_max=1) as batcher:
        futures = [batcher.put(n) for n in range(5)]
        await wait_until(lambda: server.under_way == 2, "two batches are under way")
        server.gate.set()
        assert await settled(futures) == [0, 2, 4, 6, 8]
    assert server.under_way_max == 2


async def test_a_batch_is_bounded_in_items_and_in_bytes() -> None:
    server = Server(open_gate=False)
    async with Batcher(server.act, verdict=judged, items_max=3) as batcher:
        futures = [batcher.put(n) for n in range(7)]
        server.gate.set()
        await settled(futures)
    assert [len(batch) for batch in server.batches] == [3, 3, 1]

    server = Server()
    async with Batcher(server.act, verdict=judged, bytes_max=10, size=lambda item: item) as batcher:
        await settled([batcher.put(n) for n in (4, 4, 4, 50, 1, 2)])
    assert server.batches == [[4, 4], [4], [50], [1, 2]]


async def test_a_full_batcher_says_so() -> None:
    server = Server(open_gate=False)
    async with Batcher(server.act, verdict=judged, pending_max=2) as batcher:
        futures = [batcher.put(0)]
        await wait_until(lambda: server.under_way == 1, "the first batch is under way")
        futures += [batcher.put(1), batcher.put(2)]
        with pytest.raises(Full):
            batcher.put(3)
        assert len(batcher) == 2
        server.gate.set()
        assert await settled(futures) == [0, 2, 4]
        assert await batcher.put(3) == 6


async def test_halving_leaves_the_culprits_alone() -> None:
    server = Server(open_gate=False)
    server.bad = {7, 40}
    async with Batcher(server.act, verdict=judged) as batcher:
        futures = [batcher.put(n) for n in range(64)]
        server.gate.set()
        answers = await settled(futures)
    assert answers == ["Bad" if n in server.bad else n * 2 for n in range(64)]
    assert len(server.batches) < 30
    with pytest.raises(Bad, match=r"cannot take \[7\]"):
        await futures[7]


async def test_a_passing_fault_is_repeated_until_it_has_passed() -> None:
    server = Server()
    server.faults = [Away(), Away(), Away()]
    async with Batcher(server.act, verdict=judged) as batcher:
        assert await batcher.put(1) == 2
    assert server.batches == [[1]] * 4


async def test_repeating_ends_when_its_time_is_over() -> None:
    server = Server()
    server.faults = [Away() for _ in range(1_000)]
    async with Batcher(server.act, verdict=judged, repeat_seconds=0.1) as batcher:
        with pytest.raises(Away):
            await batcher.put(1)
        server.faults = []
        assert await batcher.put(2) == 4


async def test_any_other_fault_fails_its_batch_and_no_other() -> None:
    server = Server()
    server.faults = [ValueError("defect")]
    async with Batcher(server.act, verdict=judged) as batcher:
        assert await settled([batcher.put(1), batcher.put(2)]) == ["ValueError", "ValueError"]
        assert await batcher.put(3) == 6
    assert server.batches == [[1, 2], [3]]


async def test_closing_lets_everything_out() -> None:
    server = Server(open_gate=False)
    async with Batcher(server.act, verdict=judged, items_max=2) as batcher:
        futures = [batcher.put(n) for n in range(5)]
        await wait_until(lambda: server.under_way == 1, "a batch is under way")
        asyncio.get_running_loop().call_soon(server.gate.set)
    assert await settled(futures) == [0, 2, 4, 6, 8]


async def test_closing_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CLOSE_SECONDS", 0.1)
    server = Server()
    server.faults = [Away() for _ in range(10_000)]
    async with Batcher(server.act, verdict=judged) as batcher:
        futures = [batcher.put(1)]
        await wait_until(lambda: len(server.batches) > 0, "it is being tried")
        futures.append(batcher.put(2))
    assert await settled(futures) == ["Away", "Away"]


async def test_what_nobody_awaits_goes_with_the_rest_and_its_refusal_is_told() -> None:
    server = Server()
    server.bad = {3}
    refused: list[tuple[int, Exception]] = []
    async with Batcher(
        server.act, verdict=judged, on_refused=lambda item, error: refused.append((item, error))
    ) as batcher:
        batcher.add([1, 2, 3])
        batcher.add_one(4)
        assert await batcher.put(5) == 10
    assert server.batches[0] == [1, 2, 3, 4, 5]
    assert [item for item, _ in refused] == [3]
    assert isinstance(refused[0][1], Bad)


async def test_what_nobody_awaits_is_taken_up_to_the_bound() -> None:
    server = Server(open_gate=False)
    async with Batcher(server.act, verdict=judged, pending_max=2) as batcher:
        with pytest.raises(Full):
            batcher.add([1, 2, 3])
        with pytest.raises(Full):
            batcher.add_one(4)
        server.gate.set()
    assert server.batches == [[1, 2]]


async def test_a_caller_that_gave_up_harms_nobody() -> None:
    server = Server(open_gate=False)
    async with Batcher(server.act, verdict=judged) as batcher:
        first, second = batcher.put(1), batcher.put(2)
        first.cancel()
        server.gate.set()
        assert await second == 4
        server.bad = {3}
        unheard = batcher.put(3)
        await wait_until(unheard.done, "the fault is known")  # and nobody asks for it
