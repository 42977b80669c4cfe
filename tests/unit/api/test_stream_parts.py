"""A long history goes out in parts: at once, it would lie in memory, and its reader would have 30 s for all of it."""

from __future__ import annotations

from typing import Any

from tests.support.sse import Parser

from taskflow.domain.task import TaskEvent
from taskflow_api.routes.stream import PART_BYTES, Frames
from taskflow_api.sse import Output

LINE_CHARS = 10_000


async def test_much_goes_in_parts_of_whole_frames() -> None:
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message["body"])

    said = {"number": 1, "level": "info", "message": "x" * LINE_CHARS}
    await Frames(Output(send)).tell(
        [TaskEvent(seq, "2026-01-01T00:00:00Z", "log", None, said) for seq in range(1, 101)]
    )
    assert max(map(len, sent)) < PART_BYTES + LINE_CHARS + 1_000
    told = [[int(event.id) for event in Parser().feed(part)] for part in sent]
    assert sum(told, []) == list(range(1, 101))
