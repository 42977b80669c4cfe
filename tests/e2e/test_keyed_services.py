"""Every service as a program with its own NATS key: each does all of its work, and is denied nothing on the way."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from tests.support.keyed_nats import KeyedNats, keyed_nats
from tests.support.servers import blocking
from tests.support.systems import ROOT, System, environment_of_programs
from tests.support.waiting import wait_until_sync

from taskflow.bus.rights import Role
from taskflow.cli.dev.places import free_port


class Services:
    """The programs, each with the settings of its role."""

    def __init__(self, nats: KeyedNats, database_url: str, folder: Path) -> None:
        self.nats = nats
        self.folder = folder
        self._database_url = database_url
        self.ports = {role: free_port() for role in Role}
        self.running: dict[Role, subprocess.Popen[bytes]] = {}

    def environ(self, role: Role, keyed_as: Role | None = None) -> dict[str, str]:
        """What a service is started with."""
        port = "HTTP_PORT" if role is Role.API else "PROBE_PORT"
        return {
            **environment_of_programs(),
            "DATABASE_URL": self._database_url,
            "WORKER_LEASE": "2s",
            port: str(self.ports[role]),
            **self.nats.environ(keyed_as or role),
        }

    def start(self, role: Role, keyed_as: Role | None = None) -> None:
        """Start a service, with another's key if one is named."""
        with (self.folder / f"{role}.log").open("ab") as log:
            self.running[role] = subprocess.Popen(
                [sys.executable, "-m", "taskflow.cli.main", role],
                cwd=ROOT, env=self.environ(role, keyed_as), stdout=log, stderr=log,
            )  # fmt: skip

    def end(self, role: Role) -> int:
        """Let a service end in order; its exit code."""
        process = self.running.pop(role)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def ready(self, role: Role) -> tuple[bool, dict[str, Any]]:
        """What its readiness says."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.ports[role]}/readyz", timeout=5)
        except httpx.TransportError:
            return False, {}
        return answer.status_code == 200, answer.json()

    def log(self, role: Role) -> str:
        """What it has logged."""
        return (self.folder / f"{role}.log").read_text()


@pytest.fixture
def services(database_url: str, tmp_path: Path) -> Iterator[Services]:
    with ExitStack() as stack:
        nats = stack.enter_context(keyed_nats(tmp_path / "keys", tls=True))
        services = Services(nats, database_url, tmp_path)
        for role in Role:
            services.start(role)
            stack.callback(lambda role=role: services.running.get(role) and services.end(role))
        for role in Role:
            wait_until_sync(lambda role=role: services.ready(role)[0], f"{role} is ready", 60)
        yield services


@pytest.fixture
def system(services: Services) -> Iterator[System]:
    """The api of these services, spoken to in short."""
    facts = {"api_url": f"http://127.0.0.1:{services.ports[Role.API]}"}
    (services.folder / "dev.json").write_text(json.dumps(facts))
    system = System(services.folder, services.running[Role.API])
    yield system
    system.http.close()


def test_each_service_does_its_work_and_is_denied_nothing(services: Services, system: System) -> None:
    done = [system.submit("demo", {"n": n}) for n in range(3)]
    tried_again = system.submit("demo", {"fail_times": 1}, retry={"strategy": "fixed", "base_seconds": 0.1})
    assert {system.wait(task["id"])["status"] for task in [*done, tried_again]} == {"completed"}
    bury(system)
    cancel_and_pause(system)
    heal(services, system)
    diagnose(services)
    worker_id = system.get("/workers")["items"][0]["id"]
    system.post(f"/workers/{worker_id}/drain", expect=202)
    system.until(lambda: services.ready(Role.WORKER)[1].get("draining"), "the worker drains")
    for role in Role:
        found = services.ready(role)[1]
        assert found.get("denied", []) == [], role
        assert "denies" not in services.log(role), role
        assert services.end(role) == 0, role
    assert "Violation" not in services.nats.log


def bury(system: System) -> None:
    """A dead letter is announced by the worker and stamped by the dlq-consumer."""
    failed = system.submit("demo", {"forceFail": True}, max_attempts=1)
    assert system.wait(failed["id"])["status"] == "failed"

    def stamped() -> bool:
        letters = system.get("/dead-letters", status="pending")["items"]
        return bool(letters and letters[0]["fingerprint"])

    system.until(stamped, "the dead letter is stamped")


def cancel_and_pause(system: System) -> None:
    """Commands reach the worker at once, over the bus."""
    long = system.submit("sleep", {"duration": 60})
    system.until(lambda: system.get(f"/tasks/{long['id']}")["status"] == "running", "it runs")
    system.post(f"/tasks/{long['id']}/cancel")
    system.until(lambda: system.executions(long["id"])[-1]["status"] == "cancelled", "it was stopped", 3)
    system.post("/queues/default/pause")
    waits = system.submit("demo")
    assert system.get(f"/tasks/{waits['id']}")["waiting_for"] == "queue_paused"
    system.post("/queues/default/resume")
    assert system.wait(waits["id"])["status"] == "completed"


def heal(services: Services, system: System) -> None:
    """NATS comes back with nothing: streams and consumers are made anew, doorbells rung again."""
    services.nats.stop()
    shutil.rmtree(services.nats.home / "store")
    lost = system.submit("demo")
    services.nats.start()
    assert system.wait(lost["id"], 60)["status"] == "completed"
    for role in Role:
        system.until(lambda role=role: services.ready(role)[0], f"{role} is ready again", 30)


def diagnose(services: Services) -> None:
    """The doctor comes with the scheduler's key."""
    done = subprocess.run(
        [sys.executable, "-m", "taskflow.cli.main", "doctor", "--repair"],
        cwd=ROOT, env=services.environ(Role.SCHEDULER), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_programs_go_on_while_the_schema_of_a_later_version_arrives(
    services: Services, system: System, database_url: str
) -> None:
    """As in a rolling upgrade: columns and indexes are added under load. No call fails, nothing is stuck."""
    with ThreadPoolExecutor(1) as pool:
        over = threading.Event()
        load = pool.submit(_load, system, over)
        try:
            blocking(lambda: _expand(database_url))
            bury(system)
            cancel_and_pause(system)
            retried = system.submit("demo", {"fail_times": 1}, max_attempts=1)
            assert system.wait(retried["id"])["status"] == "failed"
            system.post(f"/tasks/{retried['id']}/retry", expect=202)
            assert system.wait(retried["id"])["status"] == "completed"
        finally:
            over.set()
        ids = load.result()
    assert len(ids) > 20
    assert {task["status"] for task in system.wait_all(ids).values()} <= {"completed", "cancelled"}
    assert {role for role in Role if not services.ready(role)[0]} == set()
    assert "Traceback" not in "".join(services.log(role) for role in Role)
    diagnose(services)


def _load(system: System, over: threading.Event) -> list[str]:
    """Submit, list, read and cancel until told to stop; every answer is a success, or says that the task is over."""
    ids: list[str] = []
    with httpx.Client(base_url=system.http.base_url, timeout=30) as http:
        while not over.is_set():
            task = system.answered(http.post("/api/v1/tasks", json={"type": "demo", "payload": {}}), 202)
            ids.append(task["id"])
            system.answered(http.get("/api/v1/tasks", params={"limit": 20}), 200)
            system.answered(http.get(f"/api/v1/tasks/{ids[0]}/events"), 200)
            system.answered(http.get("/api/v1/queues"), 200)
            if len(ids) % 5 == 0:
                assert http.post(f"/api/v1/tasks/{task['id']}/cancel").status_code in (200, 409)
    return ids


async def _expand(database_url: str) -> None:
    """What a migration of a later version may do: every table gets a column, some an index."""
    conn = await asyncpg.connect(database_url)
    tables = await conn.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        " AND NOT relispartition AND relname <> 'schema_migrations' ORDER BY 1"
    )
    assert len(tables) > 8
    for (table,) in tables:
        await conn.execute(f'ALTER TABLE "{table}" ADD COLUMN later_text text')
        await conn.execute(f'ALTER TABLE "{table}" ADD COLUMN later_number integer NOT NULL DEFAULT 7')
        await asyncio.sleep(0.1)
    await conn.execute("CREATE INDEX later_tasks ON tasks (created_at)")
    await conn.close()


def test_a_worker_with_anothers_key_says_so_and_is_not_ready(services: Services) -> None:
    assert services.end(Role.WORKER) == 0
    services.start(Role.WORKER, keyed_as=Role.DLQ_CONSUMER)
    wait_until_sync(lambda: services.ready(Role.WORKER)[1].get("denied"), "it says what it is denied", 30)
    ready, found = services.ready(Role.WORKER)
    assert not ready
    assert any("subscription" in denied for denied in found["denied"]), found
    assert "nats.action_denied" in services.log(Role.WORKER)


def test_an_api_with_anothers_key_takes_tasks_and_says_what_it_is_denied(
    services: Services, system: System
) -> None:
    """It needs no NATS to take tasks, so it stays ready; the healer rings what it may not ring."""
    assert services.end(Role.API) == 0
    services.start(Role.API, keyed_as=Role.DLQ_CONSUMER)
    wait_until_sync(lambda: services.ready(Role.API)[0], "the api is ready", 30)
    task = system.submit("demo")

    def said() -> bool:
        return str(services.ready(Role.API)[1]["nats"]).startswith("NATS denies: ")

    wait_until_sync(said, "it says what it is denied", 15)
    assert services.ready(Role.API)[0]
    assert "nats.action_denied" in services.log(Role.API)
    assert system.wait(task["id"], 60)["status"] == "completed"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"NATS_NKEY_SEED": "SUNOSEED"}, 'NATS_NKEY_SEED="***" is not valid; expected the seed of an nkey'),
        ({"NATS_CA_FILE": "/nowhere"}, 'NATS_CA_FILE="/nowhere" is not valid; expected a file of certificates'),
        ({"NATS_NKEY_SEED_FILE": "/nowhere"}, 'NATS_NKEY_SEED_FILE="/nowhere" is not valid; expected a readable'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("role", Role)
def test_a_wrong_key_ends_the_program_in_one_line(role: Role, settings: dict[str, str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "taskflow.cli.main", role],
        env={**environment_of_programs(), "DATABASE_URL": "postgres://127.0.0.1:1/none", **settings},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1
    assert "SUNOSEED" not in done.stderr
