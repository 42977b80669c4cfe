"""Runs cells: several at once, each in a system that no other cell uses at that time."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.chaos.cell import Cell, Scale
from tests.chaos.judge import Verdict, judge
from tests.chaos.stage import Stage
from tests.support.systems import System, running_system

IMPORTS = ("tests.support.chaos_handlers", "tests.support.stuck_handlers")
_FAULT_LINES = 12


class Suite:
    """Runs these cells on threads of its own while it is entered; `verdicts[name]` comes to be.

    In the short form a thread keeps its system for the next cell of the same kind; a cell that failed leaves it to none.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        scale: Scale,
        at_once: int,
        *,
        logs: Path | None = None,
        heard: Callable[[Verdict], None] = lambda _: None,
    ) -> None:
        self._scale = scale
        self._logs = logs
        self._heard = heard
        self._lock = threading.Lock()
        # Those that share a system come last, so that they are spread over the threads; the longest of them first.
        self._waiting = sorted(
            cells, key=lambda each: (sum(each.kind == other.kind for other in cells), -each.patience)
        )
        self._threads = [threading.Thread(target=self._lane, name=f"lane-{n}") for n in range(at_once)]
        self.verdicts: dict[str, Future[Verdict]] = {each.name: Future() for each in cells}

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._waiting.clear()
        for thread in self._threads:
            thread.join()
        for future in self.verdicts.values():
            future.cancel()

    def _next(self, kind: tuple[Any, ...] | None) -> Cell | None:
        with self._lock:
            if not self._waiting:
                return None
            chosen = next(
                (each for each in self._waiting if each.kind == kind and not each.alone), self._waiting[0]
            )
            self._waiting.remove(chosen)
            return chosen

    def _lane(self) -> None:
        place = _Place(self._scale)
        while (cell := self._next(place.kind)) is not None:
            verdict = self._play(cell, place)
            self._heard(verdict)
            self.verdicts[cell.name].set_result(verdict)
        place.leave()

    def _play(self, cell: Cell, place: _Place) -> Verdict:
        verdict = Verdict(cell=cell.name, module=cell.module, done=cell.done, expects=cell.expects)
        began = time.monotonic()
        try:
            self._act(cell, place, verdict)
            if not verdict.passed or cell.alone or not self._scale.short:
                place.leave()
        except Exception:
            verdict.passed = False
            verdict.fault = verdict.fault or _told()
            place.leave_anyhow()
        verdict.took = round(time.monotonic() - began, 1)
        return verdict

    def _act(self, cell: Cell, place: _Place, verdict: Verdict) -> None:
        stage = place.stage(cell)
        try:
            try:
                cell.run(stage)
            except Exception:
                verdict.fault = _told()
            judge(stage, verdict)
        finally:
            if not verdict.passed:
                verdict.log = f"{stage.log_before()}\n--- the cell begins ---\n{stage.log()}"
                if self._logs is not None:
                    (self._logs / f"{cell.name.replace(' ', '-').replace('/', '-')}.log").write_text(
                        verdict.log
                    )


class _Place:
    """A thread's system: the one it has, or a new one."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._stack = ExitStack()
        self._system: System | None = None
        self._ground: Any = None
        self.kind: tuple[Any, ...] | None = None

    def stage(self, cell: Cell) -> Stage:
        """A system of the cell's kind, whole."""
        if self._system is None or self.kind != cell.kind or cell.alone:
            self.leave()
            self._open(cell)
        assert self._system is not None
        stage = Stage(cell, self._scale, self._system, self._ground)
        stage.until_whole()
        return stage

    def _open(self, cell: Cell) -> None:
        settings = dict(cell.settings)
        if cell.ground is not None:
            self._ground = self._stack.enter_context(cell.ground(self._scale))
            settings |= self._ground.settings
        imports = [word for name in IMPORTS for word in ("--import", name)]
        arguments = ("--workers", str(cell.workers), *imports)
        self._system = self._stack.enter_context(running_system(*arguments, **settings))
        self.kind = cell.kind

    def leave(self) -> None:
        """End the system, if there is one."""
        stack, self._stack = self._stack, ExitStack()
        self._system, self._ground, self.kind = None, None, None
        stack.close()

    def leave_anyhow(self) -> None:
        """The same, however it ends: what was wrong before is told already."""
        try:
            self.leave()
        except Exception:
            traceback.print_exc()


def _told() -> str:
    """The exception being handled: its last lines."""
    return "\n".join(traceback.format_exc().strip().splitlines()[-_FAULT_LINES:])
