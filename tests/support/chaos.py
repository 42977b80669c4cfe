"""What the tests that break things share: signals, more processes, steady load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from tests.support.systems import ROOT, System, environment_of_programs
from tests.support.waiting import wait_until_sync

PIDS_KEPT = ("api", "scheduler", "dlq_consumer", "notifier", "workers")
"""Whom the death of a server must not take along."""


def until_replaced(system: System, name: str, pid: int, seconds: float = 20) -> None:
    """Wait until `dev` runs another process in the place of `pid`."""

    def replaced() -> bool:
        now = system.facts()["pids"][name]
        return bool(now) and pid not in (now if isinstance(now, list) else [now])

    wait_until_sync(replaced, f"{name} is started again", seconds)


def until_workers(system: System, count: int, seconds: float = 30) -> None:
    """Wait until so many worker processes of `dev` are live."""

    def live() -> bool:
        pids = set(system.facts()["pids"]["workers"])
        with suppress(httpx.HTTPError, AssertionError):
            workers = system.get("/workers")["items"]
            return len({w["pid"] for w in workers if w["status"] == "live"} & pids) >= count
        return False

    wait_until_sync(live, f"{count} workers are live", seconds, interval=0.1)


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal."""
    os.kill(pid, number)


class Extra(NamedTuple):
    """One more process beside those of `dev`."""

    process: subprocess.Popen[bytes]
    log_file: Path

    def log(self) -> str:
        """What it has logged."""
        return self.log_file.read_text(errors="replace")


@contextmanager
def extra_service(
    system: System, module: str, *, codes: Set[int] = frozenset({0, -signal.SIGKILL}), **settings: str
) -> Iterator[Extra]:
    """Run one more service against the servers of a system; ended by SIGTERM unless it has ended, with one of `codes`."""
    facts = system.facts()
    path = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    environment = {
        **environment_of_programs(), "PYTHONPATH": path,
        "DATABASE_URL": facts["database_url"], "NATS_URL": facts["nats_url"], **settings,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="tf-extra-") as folder:
        log_file = Path(folder) / "log"
        with log_file.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", module], env=environment, stdout=out, stderr=out, cwd=ROOT
            )
        try:
            yield Extra(process, log_file)
        finally:
            process.terminate()
            try:
                code = process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
        assert code in codes, log_file.read_text(errors="replace")[-4000:]


class Answer(NamedTuple):
    """What a caller was told: status 0 if the connection broke."""

    key: str
    status: int
    body: Any
    retry_after: str | None


class Load:
    """Callers that submit tasks one after another, each with an idempotency key, and keep every answer."""

    def __init__(
        self, system: System, body: dict[str, Any], *, callers: int = 2, pause: float = 0.01
    ) -> None:
        self._url = system.facts()["api_url"]
        self._body = body
        self._pause = pause
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]
        self.answers: list[Answer] = []
        self.ids: dict[str, str] = {}
        """Key to id of every task that is known to be accepted, asked again included; whole after `settle`."""

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.ids.update(self.accepted)

    def settle(self, seconds: float = 60) -> None:
        """Ask again, by the same key, whatever was not answered or refused for now, until all is accepted.

        Some of what was accepted is asked again too: it must be the same task.
        """
        accepted = self.accepted
        doubtful = [a.key for a in self.answers if a.status in {0, 503}]
        with httpx.Client(base_url=self._url, timeout=60) as http:
            for key in [*doubtful, *list(accepted)[-20:]]:
                answer = wait_until_sync(
                    lambda key=key: self._accepted(http, key), f"{key} is accepted", seconds
                )
                self.ids[key] = answer.body["id"]
        assert {key: self.ids[key] for key in accepted} == accepted, "a key led to another task"

    def _accepted(self, http: httpx.Client, key: str) -> Answer | None:
        answer = self.submit(http, key)
        assert answer.status in {0, 200, 202, 503}, answer
        return answer if answer.status in {200, 202} else None

    @property
    def accepted(self) -> dict[str, str]:
        """Key to id of what was answered 202."""
        return {a.key: a.body["id"] for a in list(self.answers) if a.status == 202}

    def until_accepted(self, more: int, seconds: float = 30) -> None:
        """Wait until so many more were answered 202."""
        wanted = len(self.accepted) + more
        wait_until_sync(lambda: len(self.accepted) >= wanted, f"{more} more are accepted", seconds)

    def submit(self, http: httpx.Client, key: str) -> Answer:
        """Submit one task under this key."""
        try:
            answer = http.post("/api/v1/tasks", json=self._body, headers={"Idempotency-Key": key})
        except httpx.HTTPError as error:
            return Answer(key, 0, repr(error), None)
        return Answer(key, answer.status_code, answer.json(), answer.headers.get("retry-after"))

    def _call(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as http:
            pause = self._pause
            while not self._stop.wait(pause):
                self.answers.append(answer := self.submit(http, uuid.uuid4().hex))
                pause = self._pause if answer.status == 202 else max(self._pause, 0.1)


def rung_again(log: str) -> list[int]:
    """The counts of the healer's lines in a log."""
    lines = [line for line in log.splitlines() if "doorbells.rung_again" in line]
    return [int(line.rpartition("count=")[2].split()[0]) for line in lines]


def since(text: Callable[[], str]) -> Callable[[], str]:
    """What is added to a text from now on."""
    begin = len(text())
    return lambda: text()[begin:]
