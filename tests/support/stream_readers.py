"""Many readers of tasks' streams, on a thread of their own, who go to another api when theirs breaks off."""

from __future__ import annotations

import asyncio
import resource
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from tests.support.sse import Event, Source

TOLD = frozenset({"task", "log", "progress"})
_OTHER_FILES = 200


class Wrong(NamedTuple):
    """What readers were told, held against the histories: all zero, or something is wrong."""

    missing: int
    twice: int
    disordered: int
    unlike: int


def _known(item: dict[str, Any]) -> dict[str, Any]:
    """An event without the time of a move that wrote no row of its own: that is told from what came of it later."""
    came_due = item["event"] == "task" and item["status"] == "queued" and not item["data"]
    return item | {"at": None} if came_due else item


class TaskReader(Source):
    """A reader of one task. If the task may be replayed, `end` is not the last it wants to hear: it comes back."""

    def __init__(
        self, task_id: str, urls: Sequence[str], first: int, settled: threading.Event | None
    ) -> None:
        super().__init__(self._where, last=frozenset() if settled else frozenset({"end"}))
        self.task_id = task_id
        self._urls = urls
        self._turn = first
        self._settled = settled

    def _where(self) -> str:
        """The same api as before, unless that one broke off or refused."""
        return f"{self._urls[self._turn % len(self._urls)]}/api/v1/tasks/{self.task_id}/events"

    def broke_off(self) -> None:
        """Go to the next one."""
        self._turn += 1

    def ended(self, status: int) -> bool:
        """After 204, of a task that may be replayed, only once nobody will."""
        return status == 204 and (self._settled is None or self._settled.is_set())

    def told(self) -> list[tuple[float, Event]]:
        """The events of the task, each with when it came."""
        return [(at, event) for at, event in self.events if event.event in TOLD]

    @property
    def reads_from(self) -> str:
        """The api whose stream it reads; none while it has none, or was told the end."""
        if self.is_over or not self.connected or (self.events and self.events[-1][1].event == "end"):
            return ""
        return self.connected[-1].url.partition("/api/")[0]

    def is_whole(self, since: float, seq: int) -> bool:
        """Whether it came back after `since`, and has been told all up to `seq`; or has been told the end."""
        came_back = self.connected[-1].at >= since and int(self.last_id or 0) >= seq
        return came_back or self.is_over

    def whole_at(self, since: float, seq: int) -> float:
        """When it was; `since` if that cannot be told, as no stream was needed."""
        back = next((each.at for each in self.connected if each.at >= since), since)
        return max(back, next((at for at, event in self.told() if int(event.id) >= seq), since))

    def compare(self, history: Sequence[dict[str, Any]]) -> Wrong:
        """Hold what it was told against the task's history, from 1 on."""
        seen = [int(event.id) for _, event in self.told()]
        counts = Counter(seen)
        facts = {item["seq"]: _known(item) for item in history}
        return Wrong(
            missing=len(facts.keys() - counts.keys()),
            twice=sum(counts.values()) - len(counts),
            disordered=sum(after <= before for before, after in pairwise(seen)),
            unlike=sum(_known(event.json) != facts.get(int(event.id)) for _, event in self.told()),
        )


def _allow_files(count: int) -> None:
    """Each connection is an open file, of which many systems allow a process 1,024 until it asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


class Readers:
    """One reader a task while it is entered, spread over `urls`. `replayed`: those of the tasks that may be."""

    def __init__(self, ids: Sequence[str], urls: Sequence[str], replayed: Collection[str] = ()) -> None:
        self.settled = threading.Event()
        """To be set once nobody will replay anything any more."""
        again = frozenset(replayed)
        self.readers = [
            TaskReader(task_id, urls, place, self.settled if task_id in again else None)
            for place, task_id in enumerate(ids)
        ]
        self._thread = threading.Thread(target=self._run, name="readers")
        self._loop = asyncio.new_event_loop()
        self._all: asyncio.Task[Any] | None = None
        self.fault: BaseException | None = None

    def __enter__(self) -> Readers:
        _allow_files(len(self.readers) + _OTHER_FILES)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.settled.set()
        if self._thread.is_alive() and self._all is not None:
            self._loop.call_soon_threadsafe(self._all.cancel)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._all = self._loop.create_task(self._read_all())
        try:
            self._loop.run_until_complete(self._all)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self.fault = error

    async def _read_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for reader in self.readers:
                group.create_task(reader.run())

    @property
    def connected(self) -> int:
        """How many have had a stream."""
        return sum(bool(reader.connected) for reader in self.readers)

    @property
    def over(self) -> int:
        """How many have been told the end."""
        assert self.fault is None, repr(self.fault)
        return sum(reader.is_over for reader in self.readers)

    @property
    def events(self) -> int:
        """How many events all of them have been told."""
        return sum(len(reader.events) for reader in self.readers)
