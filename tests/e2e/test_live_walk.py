"""Live streams as anybody reads them who has nothing but curl: one task, all events, a ticket, the end of the system."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.support.sse import Event, Parser
from tests.support.systems import System, running_system
from tests.support.waiting import wait_until_sync

FOLLOW = """curl -sN -H 'Accept: text/event-stream' "$URL/api/v1/tasks/$ID/events" """
GO_ON = (
    """curl -sN -H 'Accept: text/event-stream' -H "Last-Event-ID: $LAST" "$URL/api/v1/tasks/$ID/events" """
)
ANY_MORE = f"{GO_ON} -o /dev/null -w '%{{http_code}}'"
FEED = """curl -sN "$URL/api/v1/events" """
FAILURES = """curl -sN "$URL/api/v1/events?type=gives_up&status=failed" """
GO_ON_FEED = """curl -sN -H "Last-Event-ID: $LAST" "$URL/api/v1/events?status=failed" """
TICKET = """curl -s -X POST "$URL/api/v1/stream-tickets" """
WITH_TICKET = """curl -sN -w '%{http_code}' "$URL/api/v1/events?ticket=$TICKET" """

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")


class Curl:
    """One command on its own: what it has printed, and how it ends."""

    def __init__(self, command: str, out: Path, variables: dict[str, str]) -> None:
        self._out = out
        with out.open("wb") as file:
            self.process = subprocess.Popen(
                ["sh", "-c", f"exec {command}"], stdout=file, env={**os.environ, **variables}
            )

    def text(self) -> str:
        """What it has printed."""
        return self._out.read_text()

    def events(self) -> list[Event]:
        """The events in it."""
        return Parser().feed(self._out.read_bytes())

    def until(self, event: str, **data: str) -> Event:
        """Wait for an event with these data."""

        def found() -> Event | None:
            fits = (
                each for each in self.events() if each.event == event and data.items() <= each.json.items()
            )
            return next(fits, None)

        there = wait_until_sync(found, f"{event} {data} is told", 20, interval=0.05)
        assert there is not None
        return there

    def ended(self) -> int:
        """Its exit code, once it has one."""
        return self.process.wait(30)


class Shell:
    """Runs commands against one system."""

    def __init__(self, url: str, folder: Path, stack: ExitStack) -> None:
        self._variables = {"URL": url}
        self._folder = folder
        self._stack = stack
        self._count = 0

    def start(self, command: str, **variables: str) -> Curl:
        """Start one that goes on."""
        self._count += 1
        curl = Curl(command, self._folder / f"out-{self._count}", self._variables | variables)
        self._stack.callback(curl.process.kill)
        return curl

    def run(self, command: str, **variables: str) -> Curl:
        """Run one that ends by itself, well."""
        curl = self.start(command, **variables)
        assert curl.ended() == 0, curl.text()
        return curl


@contextmanager
def shell(system: System, folder: Path) -> Iterator[Shell]:
    """What is still running at the end is killed."""
    with ExitStack() as stack:
        yield Shell(system.facts()["api_url"], folder, stack)


def test_streams_are_read_with_curl(tmp_path: Path) -> None:
    with ExitStack() as stack:
        with running_system("--workers", "1") as system:
            runs = stack.enter_context(shell(system, tmp_path))
            feed, failures = runs.start(FEED), runs.start(FAILURES)
            for each in (feed, failures):
                wait_until_sync(lambda each=each: "\nid: " in each.text(), "the feed stands", 20)
            task = system.submit("talks", delay_seconds=0.5)["id"]
            dead = system.submit("gives_up")["id"]
            _one_task(runs, task)
            first = _the_feed(feed, failures, task, dead)
            _coming_back(runs, first, dead)
            _with_a_ticket(runs, system)
            waiting = system.submit("talks", delay_seconds=600)["id"]
            open_ones = [feed, failures, runs.start(FOLLOW, ID=waiting)]
            open_ones[-1].until("task", status="scheduled")
        for each in open_ones:
            assert each.ended() == 0, each.text()
            assert each.events()[-1].event == "bye"


def _one_task(runs: Shell, task: str) -> None:
    """Its stream ends with it, and is read on from where it was left."""
    told = runs.run(FOLLOW, ID=task).events()
    assert told[-1].event == "end"
    assert [int(each.id) for each in told[:-1]] == list(range(1, len(told)))
    assert {each.event for each in told[:-1]} == {"task", "log", "progress"}
    moves = [each.json["status"] for each in told if each.event == "task"]
    assert moves == ["scheduled", "queued", "running", "completed"]
    rest = runs.run(GO_ON, ID=task, LAST="3").events()
    assert [each.id for each in rest[:-1]] == [each.id for each in told[3:-1]]
    assert runs.run(ANY_MORE, ID=task, LAST=told[-2].id).text() == "204"


def _the_feed(feed: Curl, failures: Curl, task: str, dead: str) -> Event:
    """All is told to who wants all; else what is wanted. The first event."""
    feed.until("task", task_id=task, status="completed")
    feed.until("log", task_id=task, message="said through the context")
    failures.until("task", task_id=dead, status="failed")
    assert {each.json["task_id"] for each in failures.events()} == {dead}
    return feed.until("task", task_id=task, status="scheduled")


def _coming_back(runs: Shell, first: Event, dead: str) -> None:
    """What was missed is told first; with an id that is none of this feed, to look again."""
    back = runs.start(GO_ON_FEED, LAST=first.id)
    back.until("task", task_id=dead, status="failed")
    assert back.events()[0].event == "task"
    lost = runs.start(GO_ON_FEED, LAST="999999999-1")
    lost.until("resync")


def _with_a_ticket(runs: Shell, system: System) -> None:
    """It opens one stream, once."""
    ticket = json.loads(runs.run(TICKET).text())["ticket"]
    opened = runs.start(WITH_TICKET, TICKET=ticket)
    wait_until_sync(lambda: "\nid: " in opened.text(), "the feed stands", 20)
    task = system.submit("echo")["id"]
    opened.until("task", task_id=task, status="completed")
    assert runs.run(WITH_TICKET, TICKET=ticket).text().endswith("401")
