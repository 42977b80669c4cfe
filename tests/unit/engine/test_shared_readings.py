"""What many ask for at once is read once: also when it cannot be had."""

from __future__ import annotations

import asyncio

import pytest

from taskflow.domain.errors import Unavailable
from taskflow.engine.checkup import Shared


class Source:
    """Answers with how often it was asked, or not at all, as soon as it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_away = False
        self.may_answer = asyncio.Event()

    async def read(self) -> int:
        self.asked += 1
        await self.may_answer.wait()
        if self.is_away:
            raise Unavailable("away")
        return self.asked


async def ask(shared: Shared[int], source: Source, callers: int) -> list[int | BaseException]:
    """What so many are answered who ask while the first one's reading goes on."""
    source.may_answer.clear()
    asked = [asyncio.ensure_future(shared.get()) for _ in range(callers)]
    await asyncio.sleep(0)  # all of them have asked
    source.may_answer.set()
    return await asyncio.gather(*asked, return_exceptions=True)


async def test_a_reading_is_shared_until_it_is_old() -> None:
    source = Source()
    assert await ask(Shared(source.read, age_seconds=60), source, 5) == [1] * 5
    anew = Shared(source.read, age_seconds=0)
    await ask(anew, source, 1)
    assert await ask(anew, source, 1) == [3]


async def test_a_failure_is_shared_by_those_who_waited_and_by_nobody_later() -> None:
    source = Source()
    shared = Shared(source.read, age_seconds=60)
    source.is_away = True
    answers = await ask(shared, source, 5)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert source.asked == 1
    with pytest.raises(Unavailable):
        await shared.get()
    source.is_away = False
    assert await ask(shared, source, 2) == [3, 3]
