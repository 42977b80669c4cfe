"""A handler's log lines and progress, on their way into the task's history, in batches."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Self

from taskflow.domain.task import Claimed, Moved, Said
from taskflow.engine.dispatch import Dispatcher
from taskflow.kit.batcher import Batcher, Full
from taskflow.kit.clock import now
from taskflow.store import history
from taskflow.store.connect import Line as Connection
from taskflow.store.errors import verdict
from taskflow.store.history import Line

LINES_PER_EXECUTION_MAX = 10_000
LINES_WAITING_MAX = 50_000
TOLD_CHARACTERS_MAX = 1_000
"""What news tell of a line; its task's history has the whole of it."""


class _Kept(NamedTuple):
    task: Claimed
    line: Line


class LineKeeper:
    """Takes lines without waiting; `flushed(task)` waits until those of an attempt are stored."""

    def __init__(self, connection: Connection, dispatcher: Dispatcher) -> None:
        self._connection = connection
        self._dispatcher = dispatcher
        self._batcher: Batcher[_Kept, None] = Batcher(
            self._write,
            verdict=verdict,
            items_max=1_000,
            pending_max=LINES_WAITING_MAX,
            size=lambda kept: 100 + len(kept.line.text or ""),
        )
        self._counts: dict[str, int] = {}
        self._newest: dict[str, asyncio.Future[None]] = {}

    async def __aenter__(self) -> Self:
        await self._batcher.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._batcher.__aexit__(*_)

    def keep(
        self, task: Claimed, kind: str, level: str | None, text: str | None, fraction: float | None
    ) -> None:
        """One log line (`kind` log) or progress report (`kind` progress) of a running attempt."""
        if kind == "log":
            count = self._counts[task.id] = self._counts.get(task.id, 0) + 1
            if count > LINES_PER_EXECUTION_MAX:
                return
            if count == LINES_PER_EXECUTION_MAX:
                level, text = "warning", f"log ends here: {LINES_PER_EXECUTION_MAX} lines an attempt"
        log_level = (level or "info") if kind == "log" else None
        line = Line(task.id, task.number, task.worker_id, now(), log_level, text, fraction)
        with contextlib.suppress(Full):  # PostgreSQL is away: the task matters more than its log
            self._newest[task.id] = self._batcher.put(_Kept(task, line))

    def pending(self, task: Claimed) -> bool:
        """Whether this attempt has said anything: then `flushed` is to be awaited."""
        return task.id in self._newest or task.id in self._counts

    async def flushed(self, task: Claimed) -> None:
        """Until the lines of this attempt are stored, or cannot be."""
        self._counts.pop(task.id, None)
        newest = self._newest.pop(task.id, None)
        if newest is not None:
            await asyncio.wait([newest])

    async def _write(self, lines: list[_Kept]) -> Sequence[None]:
        kept = _latest_progress_only(lines)
        rows = [line for _, line in kept]
        taken = await self._connection.run(lambda conn: history.append_lines(conn, rows))
        self._dispatcher.tell(list(_news(kept, taken)))
        return [None] * len(lines)


def _latest_progress_only(lines: list[_Kept]) -> list[_Kept]:
    """Of progress that came faster than it can be stored only the newest of each task is kept."""
    newest = {line.task_id: id(line) for _, line in lines if line.level is None}
    return [kept for kept in lines if kept.line.level is not None or newest[kept.task.id] == id(kept.line)]


def _news(kept: list[_Kept], taken: Mapping[tuple[str, int], int]) -> Iterator[Moved]:
    """What was said and stored, with its number in its task's history."""
    seqs = dict(taken)
    for task, line in kept:
        place = (task.id, task.number)
        if place in seqs:
            seqs[place] += 1
            message = line.text and line.text[:TOLD_CHARACTERS_MAX]
            event: Literal["log", "progress"] = "progress" if line.level is None else "log"
            said = Said(event, line.number, line.level, message, line.fraction)
            yield Moved(
                task.id,
                seqs[place],
                task.version,
                "running",
                task.type,
                task.queue,
                task.lane,
                task.owner,
                said,
            )
