"""What the tests that break things share: signals, SQL truth, more processes, steady load, the laws of the books."""

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

import asyncpg
import httpx
from tests.support.servers import blocking
from tests.support.systems import ROOT, System, environment_of_programs
from tests.support.waiting import wait_until_sync

PIDS_KEPT = ("api", "scheduler", "dlq_consumer", "workers")
"""Whom the death of a server must not take along."""

# Each counts what may never be; all are zero once nothing is under way.
_LAWS = {
    "completed without exactly one success": """
        SELECT count(*) FROM tasks t WHERE t.status = 'completed' AND 1 <> (
            SELECT count(*) FROM executions e WHERE e.task_id = t.id AND e.life = t.life AND e.status = 'succeeded')""",
    "two successes in one life": """
        SELECT count(*) FROM (SELECT FROM executions WHERE status = 'succeeded' GROUP BY task_id, life
                              HAVING count(*) > 1) twice""",
    "failed without a dead letter": """
        SELECT count(*) FROM tasks t WHERE t.status = 'failed' AND NOT EXISTS (
            SELECT FROM dead_letters d WHERE d.task_id = t.id AND d.life = t.life)""",
    "tries without a row of their own": """
        SELECT count(*) FROM tasks t WHERE t.status IN ('completed', 'failed', 'cancelled', 'expired')
            AND t.number <> (SELECT count(*) FROM executions e WHERE e.task_id = t.id)""",
    "more attempts than allowed": """
        SELECT count(*) FROM executions e JOIN tasks t ON t.id = e.task_id WHERE e.attempt > t.max_attempts""",
    "tries left open": "SELECT count(*) FROM executions WHERE status = 'started'",
    "figures that differ from the rows": """
        SELECT count(*) FROM (
            SELECT status, sum(n) AS n FROM (
                SELECT status, n FROM stat_totals
                UNION ALL SELECT target, n FROM stat_deltas WHERE target IS NOT NULL
                UNION ALL SELECT origin, -n FROM stat_deltas WHERE origin IS NOT NULL
                UNION ALL SELECT 'accepted', n FROM stat_deltas WHERE origin IS NULL) parts
            GROUP BY status HAVING sum(n) <> 0
        ) told FULL JOIN (
            SELECT status, count(*) AS n FROM tasks GROUP BY status UNION ALL SELECT 'accepted', count(*) FROM tasks
        ) found USING (status) WHERE told.n IS DISTINCT FROM nullif(found.n, 0)""",
}


class Books(NamedTuple):
    """PostgreSQL asked directly: the truth beside what the API says."""

    url: str

    def rows(self, statement: str, *arguments: Any) -> list[dict[str, Any]]:
        """The rows of a statement."""

        async def work() -> list[dict[str, Any]]:
            conn = await asyncpg.connect(self.url, timeout=10)
            try:
                return [dict(row) for row in await conn.fetch(statement, *arguments)]
            finally:
                await conn.close()

        return blocking(work)

    def value(self, statement: str, *arguments: Any) -> Any:
        """The only value of a statement."""
        (row,) = self.rows(statement, *arguments)
        (value,) = row.values()
        return value

    def patient_value(self, statement: str, *arguments: Any, default: Any) -> Any:
        """The same, or `default` while PostgreSQL does not answer."""
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return self.value(statement, *arguments)
        return default

    def broken_laws(self) -> dict[str, int]:
        """Which laws do not hold, and how often."""
        names = list(_LAWS)
        columns = ", ".join(f"({law}) AS law{place}" for place, law in enumerate(_LAWS.values()))
        (row,) = self.rows(f"SELECT {columns}")
        return {names[place]: n for place, n in enumerate(row.values()) if n}

    def balance(self, seconds: float = 12) -> None:
        """Wait until all laws hold."""
        last: dict[str, int] = {}

        def held() -> bool:
            last.clear()
            last.update(self.broken_laws())
            return not last

        with suppress(AssertionError):
            wait_until_sync(held, "the books balance", seconds, interval=0.2)
        assert not last, last

    def tries(self, ids: list[str]) -> dict[str, list[str]]:
        """The statuses of each task's tries, in order."""
        found = self.rows(
            "SELECT task_id::text AS id, array_agg(status ORDER BY number) AS tries FROM executions "
            "WHERE task_id = ANY($1::uuid[]) GROUP BY 1", ids,
        )  # fmt: skip
        return {row["id"]: row["tries"] for row in found}

    def statuses(self, ids: list[str]) -> dict[str, int]:
        """How many of these tasks are in which status."""
        found = self.rows(
            "SELECT status, count(*) AS n FROM tasks WHERE id = ANY($1::uuid[]) GROUP BY 1", ids
        )
        return {row["status"]: row["n"] for row in found}

    def until_all(self, status: str, ids: list[str], seconds: float) -> None:
        """Wait until all of these are in that status."""
        last: dict[str, int] = {}

        def there() -> bool:
            last.clear()
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                last.update(self.statuses(ids))
            return last == {status: len(ids)}

        with suppress(AssertionError):
            wait_until_sync(there, f"{len(ids)} are {status}", seconds, interval=0.2)
        assert last == {status: len(ids)}, last

    def running_on(self, pid: int) -> list[str]:
        """The tasks that run on the worker process of that pid."""
        found = self.rows(
            "SELECT t.id::text AS id FROM tasks t JOIN workers w ON w.id = t.worker_id "
            "WHERE t.status = 'running' AND w.pid = $1", pid,
        )  # fmt: skip
        return [row["id"] for row in found]


def books(system: System) -> Books:
    """The books of a system."""
    return Books(system.facts()["database_url"])


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
    lines = [line for line in log.splitlines() if "lost doorbells rung again" in line]
    return [int(line.rpartition("count=")[2].split()[0]) for line in lines]


def since(text: Callable[[], str]) -> Callable[[], str]:
    """What is added to a text from now on."""
    begin = len(text())
    return lambda: text()[begin:]
