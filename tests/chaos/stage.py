"""What a cell works with: a running system, its books, tasks that are remembered once they were accepted."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import httpx
from tests.chaos.cell import Cell, Scale
from tests.support.books import books
from tests.support.chaos import PIDS_KEPT, Extra, Load, extra_service, rung_again, since, until_workers
from tests.support.systems import System
from tests.support.waiting import wait_until_sync

BATCH = 10_000
T = TypeVar("T")
_LOG_BEFORE_CHARS = 4_000
LIVE = ("scheduled", "queued", "running", "retrying")


def until(predicate: Callable[[], T], description: str, seconds: float = 10) -> T:
    """Ask `predicate` ten times a second until its answer is true. Whoever asks the books opens a connection each time."""
    return wait_until_sync(predicate, description, seconds, interval=0.1)


class Stage:
    """One cell's view of a system. All that is submitted through it, or through its system, counts as accepted."""

    def __init__(self, cell: Cell, scale: Scale, system: System, ground: Any = None) -> None:
        self.cell = cell
        self.scale = scale
        self.system = system
        self.ground = ground
        self.books = books(system)
        self.notes: dict[str, Any] = {}
        self.log = since(system.log)
        """What the processes of `dev` have logged since the cell began."""
        self._log_before_chars = len(system.log())
        self.damaged_at = time.time()
        self._accepted_before = frozenset(system.accepted)

    @property
    def short(self) -> bool:
        """Whether this is the short form."""
        return self.scale.short

    def tasks(self, count: int) -> int:
        """`count` in the full form; a twentieth, at least 20, in the short one."""
        return self.scale.tasks(count)

    @property
    def accepted(self) -> set[str]:
        """The ids that this cell was answered with a 2xx for."""
        return self.system.accepted - self._accepted_before

    @property
    def lease(self) -> float:
        """WORKER_LEASE of this cell, in seconds."""
        return float(self.cell.settings.get("WORKER_LEASE", "15s").removesuffix("s"))

    def submit(self, items: Sequence[dict[str, Any]], seconds: float = 60) -> list[str]:
        """Submit in bulk; the ids in order. What was refused for now, or not answered, is asked again by its key."""
        ids: list[str] = []
        for start in range(0, len(items), BATCH):
            batch = {"items": list(items[start : start + BATCH])}
            headers = {"Idempotency-Key": uuid.uuid4().hex}

            def answered(batch: Any = batch, headers: Any = headers) -> httpx.Response | None:
                try:
                    answer = self.system.http.post("/api/v1/tasks/batch", json=batch, headers=headers)
                except httpx.TransportError:
                    return None
                return None if answer.status_code == 503 else answer

            answer = wait_until_sync(answered, "the batch is answered", seconds, interval=0.2)
            assert answer is not None
            assert answer.status_code in {200, 202}, answer.text
            ids += [item["id"] for item in answer.json()["items"]]
        self.system.accepted.update(ids)
        return ids

    def naps(self, count: int, seconds: float = 0.05, **fields: Any) -> list[str]:
        """Submit `count` tasks that sleep on the loop; the ids."""
        return self.submit([{"type": "nap", "payload": {"seconds": seconds}, **fields}] * count)

    @contextmanager
    def load(
        self, body: dict[str, Any], callers: int = 2, *, ask_again: bool = True, pause: float | None = None
    ) -> Iterator[Load]:
        """Callers who submit `body` all the time. Those who were not answered, or by 503, ask again by their keys."""
        if pause is None:
            pause = 0.04 if self.short else 0.01
        with Load(self.system, body, callers=callers, pause=pause) as load:
            yield load
        if ask_again:
            load.settle()
        self.system.accepted.update(load.ids.values())

    def damage(self) -> None:
        """Mark the moment of damage: from the last mark on the seconds count until the last task is done."""
        self.damaged_at = time.time()

    def until_done(self, seconds: float = 60) -> None:
        """Wait until every accepted task is terminal."""
        live = "SELECT count(*) AS n FROM tasks WHERE status = ANY($1::text[])"
        left = 0

        def done() -> bool:
            nonlocal left
            left = int(self.books.patient_value(live, list(LIVE), default=-1))
            return left == 0

        wait_until_sync(done, "no task is live any more", seconds, interval=0.2)

    def lasting(self, seconds: float, what: str) -> None:
        """Let a state last for a while."""
        began = time.monotonic()
        wait_until_sync(lambda: time.monotonic() - began > seconds, what, seconds + 5, interval=0.05)

    def note(self, key: str, value: Any) -> None:
        """An extra fact for the table."""
        self.notes[key] = value

    def extra(
        self, module: str, *, codes: Set[int] = frozenset({0, -signal.SIGKILL}), **settings: str
    ) -> AbstractContextManager[Extra]:
        """One more service beside those of `dev`, with the settings of the cell; it ends with one of `codes`."""
        return extra_service(self.system, module, codes=codes, **{**self.cell.settings, **settings})

    def log_before(self) -> str:
        """The last that was logged before the cell began: cells of one kind share a system."""
        return self.system.log()[: self._log_before_chars][-_LOG_BEFORE_CHARS:]

    def kept_pids(self) -> dict[str, Any]:
        """The pids of all services, to be compared later: nobody exits for what happens to others."""
        pids = self.system.facts()["pids"]
        return {name: pids[name] for name in PIDS_KEPT}

    def rung_again(self) -> list[int]:
        """How many doorbells the schedulers of `dev` rang again, time by time."""
        return rung_again(self.log())

    def until_whole(self) -> None:
        """Wait until all workers are live."""
        until_workers(self.system, self.cell.workers)
