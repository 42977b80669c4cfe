"""A whole running system: `taskflow dev` as its own process, and a caller that speaks to it over HTTP."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from tests.support.waiting import wait_until_sync

ROOT = Path(__file__).parents[2]
TERMINAL = {"completed", "failed", "cancelled", "expired"}


class System:
    """A running system and shorthands for its API."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.process = process
        self.http = httpx.Client(base_url=self.facts()["api_url"], timeout=60)
        self.accepted: set[str] = set()
        """The ids of all tasks that were answered 202."""

    def facts(self) -> dict[str, Any]:
        """What `dev.json` says now."""
        facts: dict[str, Any] = json.loads((self.folder / "dev.json").read_text())
        return facts

    def log(self) -> str:
        """All that the processes have logged."""
        return (self.folder / "log").read_text(errors="replace")

    def submit(self, type_: str, payload: Any = None, **fields: Any) -> dict[str, Any]:
        """Submit one task; the answer."""
        body = {"type": type_, "payload": {} if payload is None else payload, **fields}
        task = self.answered(self.http.post("/api/v1/tasks", json=body), 202)
        self.accepted.add(task["id"])
        return task

    def submit_many(self, items: list[dict[str, Any]]) -> list[str]:
        """Submit a batch; the ids in order."""
        answer = self.answered(self.http.post("/api/v1/tasks/batch", json={"items": items}), 202)
        ids = [item["id"] for item in answer["items"]]
        self.accepted.update(ids)
        return ids

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """GET under /api/v1; the answer."""
        return self.answered(self.http.get(f"/api/v1{path}", params=params), 200)

    def post(self, path: str, body: Any = None, expect: int = 200) -> dict[str, Any]:
        """POST under /api/v1; the answer."""
        return self.answered(self.http.post(f"/api/v1{path}", json=body), expect)

    def wait(self, task_id: str, seconds: float = 30) -> dict[str, Any]:
        """The task once it is terminal."""
        task = self.get(f"/tasks/{task_id}", wait=seconds)
        assert task["status"] in TERMINAL, task
        return task

    def wait_all(self, ids: list[str], seconds: float = 60) -> dict[str, dict[str, Any]]:
        """These tasks once all of them are terminal."""
        wanted = set(ids)
        wait_until_sync(
            lambda: not wanted & self._live(), f"{len(ids)} tasks are terminal", seconds, interval=0.1
        )
        return {task["id"]: task for task in self.list_all() if task["id"] in wanted}

    def executions(self, task_id: str) -> list[dict[str, Any]]:
        """The tries of a task."""
        items: list[dict[str, Any]] = self.get(f"/tasks/{task_id}/executions")["items"]
        return items

    def list_all(self, path: str = "/tasks", **params: Any) -> list[dict[str, Any]]:
        """Every item of a list, page by page."""
        items: list[dict[str, Any]] = []
        cursor = None
        while True:
            more = {"cursor": cursor} if cursor else {}
            page = self.get(path, limit=200, **params, **more)
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return items

    def until(self, test: Callable[[], Any], description: str, seconds: float = 15) -> Any:
        """Wait for something, and give it."""
        return wait_until_sync(test, description, seconds, interval=0.05)

    @staticmethod
    def answered(response: httpx.Response, status: int) -> dict[str, Any]:
        """The body of a response of this status."""
        assert response.status_code == status, response.text
        body: dict[str, Any] = response.json()
        return body

    def _live(self) -> set[str]:
        live = ["scheduled", "queued", "running", "retrying"]
        return {task["id"] for task in self.list_all(status=live)}


def environment_of_programs() -> dict[str, str]:
    """The environment of programs that tests start: no servers named, and compiled modules kept for the session.

    Where Python may not keep them beside the sources (PYTHONDONTWRITEBYTECODE), eight processes that compile
    everything anew spend most of the time that a system needs to start.
    """
    kept = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "NATS_URL"}}
    if kept.pop("PYTHONDONTWRITEBYTECODE", "") and "PYTHONPYCACHEPREFIX" not in kept:
        kept["PYTHONPYCACHEPREFIX"] = _compiled()
    return kept


@cache
def _compiled() -> str:
    folder = tempfile.mkdtemp(prefix="tf-compiled-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def running_system(*arguments: str, **settings: str) -> Iterator[System]:
    """Start `taskflow dev` with the tests' handlers, wait until it is ready, and end it with SIGTERM.

    In the folder stands what it logs (`log`) and says (`out`).
    """
    with tempfile.TemporaryDirectory(prefix="tf-sys-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        command = [sys.executable, "-m", "taskflow.cli.main", "dev", "--port", "0", "--data-dir", name]
        environment = environment_of_programs()
        with (folder / "log").open("wb") as log, (folder / "out").open("wb") as out:
            process = subprocess.Popen(
                [*command, "--import", "tests.support.handlers", *arguments],
                cwd=ROOT, stdout=out, stderr=log, env={**environment, **settings},
            )  # fmt: skip
        try:
            _until_ready(folder, process)
            system = System(folder, process)
            try:
                yield system
            finally:
                system.http.close()
        finally:
            _end(process)


def _until_ready(folder: Path, process: subprocess.Popen[bytes]) -> None:
    try:
        wait_until_sync(lambda: _ready(folder, process), "the system is ready", 90)
    except AssertionError as error:
        error.add_note((folder / "log").read_text(errors="replace")[-4000:])
        raise


def _ready(folder: Path, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, (folder / "log").read_text(errors="replace")[-4000:]
    return b"ready http" in (folder / "out").read_bytes()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
