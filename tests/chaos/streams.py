"""Live streams: whoever serves them dies while many write, and no reader misses an event or is told one twice."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

import httpx
from tests.chaos.cell import cell
from tests.chaos.stage import Stage, until
from tests.support.chaos import Extra, kill, until_replaced
from tests.support.stream_readers import Readers, Wrong

from taskflow.cli.dev.places import free_port

IMPORTS = "tests.support.handlers,tests.support.chaos_handlers"
LATE_MAX_SECONDS = 10
"""News that are lost are found at a re-read every two seconds; the rest is for a machine that is busy."""
_EXPIRE_SECONDS = 8
_SEQS = "SELECT id::text AS id, seq FROM tasks WHERE id = ANY($1::uuid[])"


class Way(NamedTuple):
    """What becomes of some of the tasks: what is submitted, and what others do to it. `unheard`: cancelled without NATS."""

    fields: dict[str, Any]
    payload: dict[str, Any]
    expires: bool = False
    unheard: bool = False
    cancelled: bool = False
    replayed: bool = False
    talks: bool = False


WAYS = (
    Way({}, {}),
    Way({"priority": "high"}, {"pause_seconds": 0.05}),
    Way({}, {"fails": 1}),
    Way({}, {"fails": 2, "snoozes_below": 3}),
    Way({}, {"snoozes_below": 8}),
    Way({"delay_seconds": 2}, {}),
    Way({"delay_seconds": 600}, {}, expires=True),
    Way({"delay_seconds": 600}, {}, unheard=True),
    Way({}, {}, cancelled=True),
    Way({}, {"lives_lost": 1}, replayed=True),
    Way({"delay_seconds": 1}, {"fails": 1}, cancelled=True, replayed=True),
)
TALKER = Way(
    {"timeout_seconds": 600, "priority": "critical"}, {"steps": 3_000, "pause_seconds": 0.2}, talks=True
)
"""However slow the machine is, some say something until they are cancelled."""
_TALKERS = 4


@cell(
    "apis SIGKILLed in mid-stream",
    expects="their readers go on at the other one; every event of every task comes once, in order, as in its history",
    patience=90,
)
def apis_killed(stage: Stage) -> None:
    """Two apis are killed in turn, then NATS, while each task has a reader; workers, commands and the scheduler write."""
    port = free_port()
    urls = (stage.system.facts()["api_url"], f"http://127.0.0.1:{port}")
    stage.system.post("/queues/default/pause")
    ways = [TALKER] * _TALKERS + [WAYS[n % len(WAYS)] for n in range(stage.tasks(1_000))]
    ids = stage.submit([_item(stage, way) for way in ways])
    acts = dict(zip(ids, ways, strict=True))
    unheard = _chosen(acts, "unheard")
    with (
        _slots(stage) as worker,
        Readers(ids, urls, _chosen(acts, "replayed")) as readers,
        Commands(urls, acts) as commands,
    ):
        with _second_api(stage, port) as second:
            until(lambda: readers.connected == len(ids), "all read", 60)
            stage.system.post("/queues/default/resume")
            _mid_stream(readers)
            pid = stage.system.facts()["pids"]["api"]
            whole = [_killed(stage, readers, pid, urls[0])]
            until_replaced(stage.system, "api", pid)
            until(lambda: _serves(urls[0]), "the api is back", 30)
            _mid_stream(readers)
            whole.append(_killed(stage, readers, second.process.pid, urls[1]))
        with _second_api(stage, port):
            late = _without_nats(stage, readers, unheard, worker)
            until(commands.done, "all commands were obeyed", 90)
            for talker in _chosen(acts, "talks"):
                stage.system.post(f"/tasks/{talker}/cancel")
            readers.settled.set()
            stage.until_done(120)
            until(lambda: readers.over == len(ids), "all readers were told the end", 30)
            wrong = _compared(urls[1], readers)
    stage.note("readers", len(ids))
    stage.note("events", readers.events)
    stage.note("commands", commands.given)
    stage.note("events missing", wrong.missing)
    stage.note("events twice", wrong.twice)
    stage.note("whole again after s", round(max(whole), 1))
    stage.note("cancelled without NATS", len(unheard))
    stage.note("told after s", round(late, 1))
    assert wrong == Wrong(0, 0, 0, 0), wrong
    assert max(whole) < LATE_MAX_SECONDS
    assert late < LATE_MAX_SECONDS


def _item(stage: Stage, way: Way) -> dict[str, Any]:
    pause = 0.7 if stage.short else 0.3  # few tasks have to last as long
    item = {"type": "chats", "payload": {"pause_seconds": pause, **way.payload}, **way.fields}
    if way.expires:
        item["expires_at"] = (datetime.now(UTC) + timedelta(seconds=_EXPIRE_SECONDS)).isoformat()
    return item


def _chosen(acts: Mapping[str, Way], what: str) -> list[str]:
    """Those of the tasks whose way has this."""
    return [task_id for task_id, way in acts.items() if getattr(way, what)]


class Commands:
    """Others who cancel and replay tasks meanwhile. What was not answered, or came too early, they say again."""

    def __init__(self, urls: Sequence[str], acts: Mapping[str, Way]) -> None:
        self._urls = deque(urls)
        self._to_do: deque[tuple[str, list[str]]] = deque()
        for task_id, way in acts.items():
            if words := ["cancel"] * way.cancelled + ["retry"] * way.replayed:
                self._to_do.append((task_id, words))
        random.Random(7).shuffle(self._to_do)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._speak, name="commands")
        self.given = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def done(self) -> bool:
        """Whether all were obeyed."""
        assert self._thread.is_alive() or not self._to_do, "the one who commands has died"
        return not self._to_do

    def _speak(self) -> None:
        with httpx.Client(timeout=10) as http:
            while self._to_do and not self._stop.wait(0.05):
                task_id, words = self._to_do[0]
                if self._obeyed(http, task_id, words[0]):
                    words.pop(0)
                    self.given += 1
                if words:
                    self._to_do.rotate(-1)
                else:
                    self._to_do.popleft()

    def _obeyed(self, http: httpx.Client, task_id: str, word: str) -> bool:
        """A cancel is done with when the task has ended, a retry when a new life begins or the first went well."""
        try:
            answer = http.post(f"{self._urls[0]}/api/v1/tasks/{task_id}/{word}")
        except httpx.TransportError:
            self._urls.rotate()
            return False
        assert answer.status_code in {200, 202, 409, 503}, answer.text
        if word == "cancel":
            return answer.status_code in {200, 409}
        return answer.status_code == 202 or answer.json().get("current_status") == "completed"


@contextmanager
def _second_api(stage: Stage, port: int) -> Iterator[Extra]:
    with stage.extra("taskflow_api", HTTP_PORT=str(port)) as api:
        until(lambda: _serves(f"http://127.0.0.1:{port}"), "the second api serves", 30)
        yield api


def _serves(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    return False


@contextmanager
def _slots(stage: Stage) -> Iterator[Extra | None]:
    """In the full form a worker with more slots, so that many streams have something to tell at once."""
    if stage.short:
        yield None
        return
    with stage.extra("taskflow_worker", WORKER_IMPORTS=IMPORTS, WORKER_CONCURRENCY="60") as worker:
        until(lambda: "service.started" in worker.log(), "the worker is up", 30)
        yield worker


def _mid_stream(readers: Readers) -> None:
    """Until readers have been told more, so that they are in the midst of it."""
    wanted = readers.events + len(readers.readers)
    until(lambda: readers.events >= wanted, "events come in", 30)


def _killed(stage: Stage, readers: Readers, pid: int, url: str) -> float:
    """Kill an api. The seconds until each of its readers had all that there was at that time."""
    theirs = [reader for reader in readers.readers if reader.reads_from == url]
    kill(pid)
    at = time.time()
    stage.damage()
    assert theirs, "nobody read from it: nothing was tried"
    seqs = {row["id"]: row["seq"] for row in stage.books.rows(_SEQS, [each.task_id for each in theirs])}
    until(lambda: all(each.is_whole(at, seqs[each.task_id]) for each in theirs), "all are whole again", 60)
    return max(each.whole_at(at, seqs[each.task_id]) for each in theirs) - at


def _without_nats(stage: Stage, readers: Readers, unheard: list[str], worker: Extra | None) -> float:
    """Kill NATS, a worker too, and cancel what nobody hears of. How long after it happened the latest event was told."""
    _mid_stream(readers)
    nats = stage.system.facts()["pids"]["nats"]
    since = time.time()
    kill(nats)
    stage.damage()
    if worker is not None:
        kill(worker.process.pid)
    for task_id in unheard:
        stage.system.post(f"/tasks/{task_id}/cancel")
    until_replaced(stage.system, "nats", nats)
    mine = [each for each in readers.readers if each.task_id in unheard]
    until(lambda: all(each.is_over for each in mine), "what nobody heard of is told", 30)
    told = [found for each in readers.readers for found in each.told() if found[0] > since]
    return max(at - _time(event.json["at"]) for at, event in told)


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _compared(url: str, readers: Readers) -> Wrong:
    """What readers were told against the histories, which have no gaps."""
    found = []
    with httpx.Client(base_url=url, timeout=30) as http:
        for reader in readers.readers:
            history = _history(http, reader.task_id)
            assert [item["seq"] for item in history] == list(range(1, len(history) + 1)), history
            found.append(reader.compare(history))
    return Wrong(*map(sum, zip(*found, strict=True)))


def _history(http: httpx.Client, task_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    while True:
        after = items[-1]["seq"] if items else 0
        answer = http.get(f"/api/v1/tasks/{task_id}/events", params={"limit": 200, "last_event_id": after})
        assert answer.status_code == 200, answer.text
        items += answer.json()["items"]
        if answer.json()["next_cursor"] is None:
            return items
