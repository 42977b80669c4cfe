"""`taskflow dev` as its users meet it: real processes, real signals, real servers."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.leaks import running
from tests.support.waiting import wait_until_sync

pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).parents[2]
_READY_SECONDS = 60
_GIVEN = {
    "DATABASE_URL",
    "NATS_URL",
    "HTTP_HOST",
    "HTTP_PORT",
    "LOG_FORMAT",
    "PROBE_PORT",
    "AUTH_MODE",
    "SECRET_KEY",
}


class Dev:
    """A `taskflow dev` on a data folder."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.folder = folder
        environ = {name: value for name, value in os.environ.items() if name not in _GIVEN}
        command = [sys.executable, "-m", "taskflow.cli.main", "dev", "--port", "0", "--workers", "1"]
        with (folder / "out").open("wb") as out, (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--data-dir", str(folder / "data"), *arguments], stdout=out, stderr=log,
                env={**environ, **settings}, cwd=ROOT,
            )  # fmt: skip

    def until_ready(self) -> Dev:
        """Wait for the `ready` line."""
        wait_until_sync(
            lambda: self.process.poll() is not None or self.said(), "dev is ready", _READY_SECONDS
        )
        assert self.process.poll() is None, self.log()
        assert self.said() == f"ready {self.state()['api_url']}\n"
        return self

    def said(self) -> str:
        return (self.folder / "out").read_text()

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.folder / "data" / "dev.json").read_text())
        return state

    def pids(self) -> list[int]:
        """All processes of this dev that run, itself aside."""
        pids = self.state()["pids"]
        known = [pids[name] for name in ("postgres", "nats", "api", "scheduler", "dlq_consumer", "notifier")]
        return [pid for pid in [*known, *pids["workers"]] if pid is not None]

    def submit(self, type_: str = "demo") -> str:
        answer = httpx.post(f"{self.state()['api_url']}/api/v1/tasks", json={"type": type_}, timeout=20)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def task(self, task_id: str, wait: float = 0) -> dict[str, Any]:
        url = f"{self.state()['api_url']}/api/v1/tasks/{task_id}"
        answer = httpx.get(url, params={"wait": wait}, timeout=wait + 20)
        assert answer.status_code == 200, answer.text
        task: dict[str, Any] = answer.json()
        return task

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def folder() -> Iterator[Path]:
    # Not pytest's tmp_path, which no other account can reach: PostgreSQL runs as one when the tests run as root.
    with tempfile.TemporaryDirectory(prefix="tf-dev-", dir="/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@contextmanager
def running_dev(*arguments: str, **settings: str) -> Iterator[Dev]:
    with folder() as place:
        dev = Dev(place, *arguments, **settings)
        try:
            yield dev.until_ready()
        finally:
            if dev.process.poll() is None:
                dev.end()


@pytest.fixture(scope="module")
def dev() -> Iterator[Dev]:
    with running_dev() as found:
        yield found


def replaced(dev: Dev, old: int, *path: str | int) -> int:
    """The pid that takes the place of a killed one."""

    def found() -> int | None:
        pid: Any = dev.state()["pids"]
        for step in path:
            pid = pid[step] if isinstance(step, str) or len(pid) > step else None
        return pid if pid not in (None, old) else None

    pid = wait_until_sync(found, f"{path} is started again", 20)
    assert pid is not None
    return pid


def test_a_task_completes_within_a_second_of_its_submission(dev: Dev) -> None:
    began = time.monotonic()
    task = dev.task(dev.submit(), wait=10)
    assert task["status"] == "completed"
    assert time.monotonic() - began < 1


def test_what_is_told_to_other_programs_is_private_and_true(dev: Dev) -> None:
    path = dev.folder / "data" / "dev.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    state = dev.state()
    assert state["database_url"].startswith("postgresql:///taskflow?host=/")
    assert state["nats_url"].startswith("nats://")
    assert set(dev.pids()) <= set(running())
    assert state["nats_url"].partition("@")[0].removeprefix("nats://") not in dev.log()


def test_a_second_dev_on_the_same_folder_is_refused(dev: Dev) -> None:
    with folder() as place:
        (place / "data").symlink_to(dev.folder / "data")
        second = Dev(place)
        assert second.process.wait(20) == 1
        assert second.log().startswith(f"another `taskflow dev` (pid {dev.process.pid}) uses ")
        assert len(second.log().splitlines()) == 1


def test_killed_services_are_started_again(dev: Dev) -> None:
    pids = dev.state()["pids"]
    os.kill(pids["workers"][0], signal.SIGKILL)
    os.kill(pids["api"], signal.SIGKILL)
    replaced(dev, pids["workers"][0], "workers", 0)
    replaced(dev, pids["api"], "api")
    answers(dev)
    assert dev.task(dev.submit(), wait=30)["status"] == "completed"


def test_killed_servers_are_started_again_and_the_services_find_them(dev: Dev) -> None:
    before = dev.submit()
    pids = dev.state()["pids"]
    os.kill(pids["postgres"], signal.SIGKILL)
    os.kill(pids["nats"], signal.SIGKILL)
    replaced(dev, pids["postgres"], "postgres")
    replaced(dev, pids["nats"], "nats")
    answers(dev)
    assert dev.task(before, wait=40)["status"] == "completed"
    assert dev.task(dev.submit(), wait=40)["status"] == "completed"


def answers(dev: Dev) -> None:
    """Wait until the api is ready again."""

    def ready() -> bool:
        try:
            return httpx.get(f"{dev.state()['api_url']}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    wait_until_sync(ready, "the api answers again", 40, interval=0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_leaves_nothing_and_finds_its_data_again(number: signal.Signals) -> None:
    with folder() as place:
        first = Dev(place).until_ready()
        task_id = first.submit()
        assert first.task(task_id, wait=10)["status"] == "completed"
        pids = first.pids()
        assert len(pids) == 7
        assert first.end(number) == 0
        assert not set(pids) & set(running())
        assert not (place / "data" / "dev.json").exists()
        second = Dev(place).until_ready()
        try:
            assert second.task(task_id)["status"] == "completed"
        finally:
            assert second.end() == 0


def test_it_recovers_from_its_own_sudden_death() -> None:
    with folder() as place:
        first = Dev(place).until_ready()
        task_id = first.submit()
        pids = first.pids()
        first.process.kill()
        first.process.wait(10)
        if sys.platform == "linux":
            wait_until_sync(lambda: not set(pids) & set(running()), "its children died with it", 30)
        second = Dev(place).until_ready()
        try:
            assert second.task(task_id, wait=40)["status"] == "completed"
        finally:
            assert second.end() == 0


def environment(pid: int) -> dict[str, str]:
    """What a process was started with."""
    found = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(line.partition("=")[::2] for line in found if line)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_only_those_who_sign_are_given_a_key_and_it_is_kept(dev: Dev) -> None:
    path, sealing = (dev.folder.resolve() / "data" / name for name in ("secret-key", "sealing-key"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text()) >= 64
    assert path.read_text() not in dev.log()
    pids = dev.state()["pids"]
    assert environment(pids["api"])["SECRET_KEY_FILE"] == str(path)
    for pid in (pids["api"], pids["notifier"], *pids["workers"]):
        assert environment(pid)["SEALING_KEY_FILE"] == str(sealing)
    for pid in (pids["scheduler"], pids["dlq_consumer"]):
        assert "SEALING_KEY_FILE" not in environment(pid)
    for pid in (pids["scheduler"], pids["dlq_consumer"], pids["notifier"], *pids["workers"]):
        assert "SECRET_KEY_FILE" not in environment(pid)
    assert "callers must sign in" not in dev.log(), "not on loopback"


def test_on_every_address_callers_sign_in_and_it_says_how() -> None:
    with running_dev("--host", "0.0.0.0") as dev:
        assert dev.state()["api_url"].startswith("http://127.0.0.1:")
        wait_until_sync(lambda: "callers must sign in" in dev.log(), "it says so", 5)
        [told] = [line for line in dev.log().splitlines() if "callers must sign in" in line]
        assert "`taskflow admin create`" in told
        assert str(dev.folder.resolve() / "data" / "dev.json") in told
        assert httpx.get(f"{dev.state()['api_url']}/readyz", timeout=20).status_code == 200


def test_servers_that_are_given_are_used_and_none_of_their_kind_is_started(
    database_url: str, nats_url: str, stream_name: str
) -> None:
    given = {"DATABASE_URL": database_url, "NATS_URL": nats_url, "NATS_STREAM_NAME": stream_name}
    with running_dev(**given) as dev:
        state = dev.state()
        assert (state["database_url"], state["nats_url"]) == (database_url, nats_url)
        assert (state["pids"]["postgres"], state["pids"]["nats"]) == (None, None)
        assert dev.task(dev.submit(), wait=10)["status"] == "completed"
        assert sorted(path.name for path in (dev.folder / "data").iterdir()) == [
            "dev.json",
            "lock",
            "sealing-key",
            "secret-key",
        ]
