"""The stack of docker-compose.yml on a real engine: up, work, scale, a worker killed, a rolling restart, down.

Skipped where no container engine answers that has the images.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import httpx
import pytest
from tests.support.compose import (
    BASE,
    IMAGES,
    SERVICES,
    Callers,
    Stack,
    docker,
    image_bytes,
    missing,
    remove_images,
)
from tests.support.systems import ROOT
from tests.support.waiting import wait_until_sync

from taskflow.bus.connect import Bus
from taskflow.bus.topology import Topology

pytestmark = pytest.mark.timeout(900)

MEGABYTE = 1_000_000
ADDED_MEGABYTES_MAX = {
    "api": 145,
    "worker": 60,
    "scheduler": 60,
    "dlq-consumer": 60,
    "notifier": 60,
    "migrate": 60,
}
GRACE_SECONDS = 45


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    if why := missing():
        pytest.skip(why)
    stack = Stack(WORKER_LEASE="4s", WORKER_IMPORTS="hello", WORKER_CONCURRENCY="4")
    stack.compose("build")
    try:
        stack.up()
        yield stack
        stack.down()
        assert stack.left() == []
    finally:
        if stack.left():
            stack.down()
        remove_images([*SERVICES, "secrets"])


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """An API key of the first admin."""
    return stack.key()


@pytest.fixture
def api(stack: Stack, key: str) -> Iterator[Callers]:
    callers = Callers(stack, key)
    yield callers
    callers.http.close()


@pytest.fixture
def three_workers(stack: Stack) -> list[str]:
    """Containers of three workers that are well."""
    stack.up("--scale", "worker=3")
    return stack.containers("worker")


def naps(api: Callers, count: int, seconds: float) -> list[str]:
    """Submit tasks that sleep."""
    return api.submit_many([{"type": "sleep", "payload": {"duration": seconds}} for _ in range(count)])


def tries(api: Callers, ids: list[str]) -> list[dict[str, Any]]:
    """Every execution of these tasks."""
    return [execution for task_id in ids for execution in api.executions(task_id)]


def profile_status(stack: Stack, credential: str) -> int:
    """What one is answered who calls with this token or key."""
    headers = {"Authorization": f"Bearer {credential}"}
    return httpx.get(f"{stack.url}/api/v1/auth/profile", headers=headers, timeout=60).status_code


def test_a_submitted_task_completes(api: Callers) -> None:
    assert api.wait(api.submit("demo", {"a": 1})["id"])["result"] == {"ok": True, "echo": {"a": 1}}
    greeting = api.wait(
        api.submit("hello", {"name": "Ann"})["id"]
    )  # in a child process, from the mounted folder
    assert greeting["result"] == {"greeting": "Hello, Ann"}


@pytest.mark.parametrize("service", SERVICES)
def test_images_add_little_to_their_base(stack: Stack, service: str) -> None:
    added = (image_bytes(f"{IMAGES}-{service}:latest") - image_bytes(BASE)) / MEGABYTE
    assert added <= ADDED_MEGABYTES_MAX[service]


def test_nobody_calls_the_api_without_a_key_but_to_see_how_it_is(stack: Stack, api: Callers) -> None:
    assert httpx.post(f"{stack.url}/api/v1/tasks", json={"type": "demo"}).status_code == 401
    assert httpx.get(f"{stack.url}/api/v1/tasks").status_code == 401
    for path in ("/livez", "/readyz", "/metrics"):
        assert httpx.get(f"{stack.url}{path}").status_code == 200, path
    env = {**os.environ, "TASKFLOW_API_KEY": api.http.headers["authorization"].removeprefix("Bearer ")}
    smoke = [str(ROOT / "scripts/smoke.sh"), stack.url]
    done = subprocess.run(smoke, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    env.pop("TASKFLOW_API_KEY")
    done = subprocess.run(smoke, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4, done.stdout + done.stderr


def test_containers_have_no_rights(stack: Stack) -> None:
    for service in ("api", "worker", "scheduler", "dlq-consumer", "notifier", "nats"):
        found = stack.inspect(stack.containers(service)[0])
        assert found["Config"]["User"] == "10001:10001", service
        assert found["HostConfig"]["ReadonlyRootfs"], service
        assert found["HostConfig"]["CapDrop"] == ["ALL"], service
        assert not found["HostConfig"]["Privileged"], service
    labels = stack.inspect(stack.containers("api")[0])["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "taskflow-api"
    assert labels["org.opencontainers.image.licenses"] == "MIT"


def test_each_service_sees_its_own_secrets_alone(stack: Stack) -> None:
    assert stack.run("worker", "ls", "/run/taskflow").split() == ["database-url", "nats.nk"]
    mine = ["admin-password", "database-url", "nats.nk", "secret-key"]
    assert stack.run("api", "ls", "/run/taskflow").split() == mine
    assert stack.run("worker", "cat", "/run/taskflow/nats.nk") != stack.run(
        "api", "cat", "/run/taskflow/nats.nk"
    )


async def test_servers_answer_this_machine_and_nats_only_with_a_key(stack: Stack) -> None:
    dsn = f"postgres://taskflow:taskflow@localhost:{stack.ports['POSTGRES_PORT']}/taskflow"
    conn = await asyncpg.connect(dsn)
    assert await conn.fetchval("SELECT current_setting('is_superuser')") == "off"
    assert await conn.fetchval("SELECT count(*) FROM tasks") >= 2
    await conn.close()
    nats_url = f"nats://127.0.0.1:{stack.ports['NATS_PORT']}"
    async with Bus(nats_url, Topology(), name="stranger") as bus:
        assert not bus.connected
        assert "Authorization Violation" in str(bus.trouble)
    for service in ("api", "postgres", "nats"):
        ports = stack.inspect(stack.containers(service)[0])["NetworkSettings"]["Ports"]
        assert {bound["HostIp"] for hosts in ports.values() for bound in hosts or []} == {"127.0.0.1"}


def test_workers_share_the_load(api: Callers, three_workers: list[str]) -> None:
    ids = naps(api, 60, 0.3)
    assert {task["status"] for task in api.wait_all(ids).values()} == {"completed"}
    shares = Counter(execution["worker_id"] for execution in tries(api, ids))
    assert len(shares) == 3
    assert min(shares.values()) >= 10, shares


def test_tasks_of_a_killed_worker_finish_elsewhere(
    stack: Stack, api: Callers, three_workers: list[str]
) -> None:
    ids = naps(api, 12, 3)
    api.until(lambda: all(api.get(f"/tasks/{one}")["status"] == "running" for one in ids), "all of them run")
    docker("kill", "--signal", "KILL", three_workers[0])
    ended = api.wait_all(ids)
    assert {task["status"] for task in ended.values()} == {"completed"}
    outcomes = Counter(execution["status"] for execution in tries(api, ids))
    assert outcomes == {"succeeded": 12, "lost": 4}
    docker("start", three_workers[0])
    stack.until_healthy()


def test_a_worker_that_is_told_to_stop_finishes_what_it_runs(
    stack: Stack, api: Callers, three_workers: list[str]
) -> None:
    ids = naps(api, 12, 3)
    api.until(lambda: all(api.get(f"/tasks/{one}")["status"] == "running" for one in ids), "all of them run")
    began = time.monotonic()
    docker("stop", "--time", str(GRACE_SECONDS), three_workers[1])
    assert time.monotonic() - began < GRACE_SECONDS
    assert stack.inspect(three_workers[1])["State"]["ExitCode"] == 0
    api.wait_all(ids)
    assert Counter(execution["status"] for execution in tries(api, ids)) == {"succeeded": 12}
    docker("start", three_workers[1])
    stack.until_healthy()


def test_a_rolling_restart_under_load_loses_nothing_and_spends_no_attempt(
    stack: Stack, api: Callers, three_workers: list[str]
) -> None:
    restarted = [
        *three_workers,
        *(stack.containers(name)[0] for name in ("scheduler", "dlq-consumer", "notifier", "nats")),
    ]
    ids: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(lambda: [_restart(stack, container) for container in restarted])
        while not done.done():
            ids += naps(api, 4, 0.2)
            time.sleep(0.3)
        done.result()
    assert {task["status"] for task in api.wait_all(ids).values()} == {"completed"}
    outcomes = Counter(execution["status"] for execution in tries(api, ids))
    assert set(outcomes) <= {"succeeded", "released"}
    assert outcomes["succeeded"] == len(ids)


def _restart(stack: Stack, container: str) -> None:
    docker("restart", "--time", str(GRACE_SECONDS), container)
    stack.until_healthy()


def test_the_api_comes_back_with_all_it_took(stack: Stack, api: Callers) -> None:
    ids = naps(api, 8, 1)
    _restart(stack, stack.containers("api")[0])
    assert {task["status"] for task in api.wait_all(ids).values()} == {"completed"}


def test_another_up_changes_nothing(stack: Stack, api: Callers) -> None:
    keys = stack.run("worker", "cat", "/run/taskflow/nats.nk")
    before = {
        name: stack.containers(name)
        for name in ("api", "scheduler", "dlq-consumer", "notifier", "postgres", "nats")
    }
    stack.up("--scale", "worker=1")
    assert {name: stack.containers(name) for name in before} == before
    assert stack.run("worker", "cat", "/run/taskflow/nats.nk") == keys
    wait_until_sync(lambda: len(stack.containers("worker")) == 1, "one worker is left", 60)
    assert api.wait(api.submit("echo", 1)["id"])["status"] == "completed"


def test_admins_are_made_in_the_apis_container_alone(stack: Stack) -> None:
    made = json.loads(
        stack.run("api", "taskflow", "admin", "create", "--username", "boss", "--key", "--json")
    )
    assert profile_status(stack, made["api_key"]) == 200
    command = ["taskflow", "admin", "create", "--username", "other"]
    refused = subprocess.run(
        ["docker", "exec", stack.containers("worker")[0], *command],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "is not installed" in refused.stderr


def test_the_janitor_runs_in_the_schedulers_container(stack: Stack) -> None:
    assert "nothing was changed" in stack.run("scheduler", "taskflow", "janitor", "--dry-run")


def test_the_secret_key_is_changed_twice_and_then_stolen(stack: Stack, key: str) -> None:
    """As docs/guides/containers.md tells to."""
    current, previous = "/secrets/api/secret-key", "/secrets/api/secret-key-previous"
    stack.set(SECRET_KEY_PREVIOUS_FILE="/run/taskflow/secret-key-previous")
    tokens = [stack.token()]
    for _ in range(2):
        _change_secret_key(stack, "mv", current, previous)
        tokens.append(stack.token())
    assert [profile_status(stack, token) for token in tokens] == [401, 200, 200]
    stack.set(SECRET_KEY_PREVIOUS_FILE="")
    _change_secret_key(stack, "rm", "-f", current, previous)
    assert [profile_status(stack, token) for token in (*tokens, stack.token())] == [401, 401, 401, 200]
    assert profile_status(stack, key) == 200


def _change_secret_key(stack: Stack, command: str, *arguments: str) -> None:
    stack.compose("run", "--rm", "--no-deps", "--entrypoint", command, "secrets", *arguments)
    stack.compose("run", "--rm", "--no-deps", "secrets")
    stack.up("--no-deps", "--force-recreate", "api")


def test_nothing_was_lost(stack: Stack) -> None:
    assert "clean" in stack.run("scheduler", "taskflow", "doctor")
