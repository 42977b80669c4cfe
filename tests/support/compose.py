"""docker-compose.yml as it stands, under a name and on ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from functools import cache
from typing import Any

import httpx
from tests.support.servers import engine_answers
from tests.support.systems import ROOT, System
from tests.support.waiting import wait_until_sync

from taskflow.cli.dev.places import free_port

IMAGES = "taskflow-test"
SERVICES = ("api", "worker", "scheduler", "dlq-consumer", "notifier", "migrate")
BASE = "python:3.13-slim-trixie"


@cache
def missing() -> str:
    """Why the stack cannot be run here; empty if it can."""
    if not _compose():
        return "neither `docker compose` nor docker-compose is installed"
    if not engine_answers(BASE):
        return f"no container engine answers that has or can get {BASE} and the servers' images"
    return ""


@cache
def _compose() -> tuple[str, ...]:
    """The command, whichever is here."""
    plugin = ("docker", "compose")
    if (
        shutil.which("docker")
        and not subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode
    ):
        return plugin
    return ("docker-compose",) if shutil.which("docker") and shutil.which("docker-compose") else ()


def docker(*arguments: str) -> str:
    """What the command says; raises if it fails."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


class Stack:
    """A project of compose."""

    def __init__(self, **settings: str) -> None:
        self.name = f"taskflow-test-{uuid.uuid4().hex[:8]}"
        self.ports = {name: free_port() for name in ("HTTP_PORT", "POSTGRES_PORT", "NATS_PORT")}
        self._settings = {**settings, **{name: str(port) for name, port in self.ports.items()}}

    @property
    def url(self) -> str:
        """Where the api is."""
        return f"http://127.0.0.1:{self.ports['HTTP_PORT']}"

    def compose(self, *arguments: str, seconds: float = 600) -> str:
        """Run a command of compose; what it says."""
        done = subprocess.run(
            [*_compose(), "--project-name", self.name, *arguments],
            cwd=ROOT, env={**os.environ, "TASKFLOW_IMAGES": IMAGES, **self._settings},
            capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout

    def up(self, *arguments: str) -> None:
        """Start what does not run, and wait until all of it is healthy."""
        self.compose("up", "--detach", *arguments)
        self.until_healthy()

    def until_healthy(self) -> None:
        """Every container that is to run is healthy."""
        wait_until_sync(lambda: not self.unwell(), "every container is healthy", 90, interval=0.5)

    def unwell(self) -> list[str]:
        """Containers that are neither healthy nor a one-shot that ended well."""
        states = [self.inspect(name)["State"] for name in self.containers()]
        return [
            str(state)
            for state in states
            if state.get("Health", {}).get("Status") != "healthy"
            and (state["Status"], state["ExitCode"]) != ("exited", 0)
        ]

    def containers(self, service: str = "") -> list[str]:
        """Ids of the project's containers, those that ended too."""
        return self._list("container", service, "--all", "--no-trunc")

    def left(self) -> list[str]:
        """All that stands of the project: containers, networks, volumes."""
        return [*self.containers(), *self._list("network"), *self._list("volume")]

    def _list(self, kind: str, service: str = "", *more: str) -> list[str]:
        labels = [f"label=com.docker.compose.project={self.name}"]
        labels += [f"label=com.docker.compose.service={service}"] if service else []
        filters = [part for label in labels for part in ("--filter", label)]
        return docker(kind, "ls", "--quiet", *more, *filters).split()

    @staticmethod
    def inspect(container: str) -> dict[str, Any]:
        """All that the engine knows of a container."""
        found: list[dict[str, Any]] = json.loads(docker("inspect", container))
        return found[0]

    def run(self, service: str, *command: str) -> str:
        """Run a command in a service's container."""
        return self.compose("exec", "-T", service, *command)

    def set(self, **settings: str) -> None:
        """What the commands that follow find in their environment, beside what they found before."""
        self._settings |= settings

    def key(self) -> str:
        """A new API key of the admin that the api has made; it may do everything."""
        bearer = {"Authorization": f"Bearer {self.token()}"}
        body = {"name": "test", "scopes": ["submit", "read", "operate", "admin"]}
        made = httpx.post(f"{self.url}/api/v1/api-keys", json=body, headers=bearer, timeout=60)
        assert made.status_code == 201, made.text
        return str(made.json()["key"])

    def token(self) -> str:
        """A new access token of the same admin."""
        password = self.run("api", "cat", "/run/taskflow/admin-password").strip()
        body = {"username": "admin", "password": password}
        signed_in = httpx.post(f"{self.url}/api/v1/auth/token", json=body, timeout=60)
        assert signed_in.status_code == 200, signed_in.text
        return str(signed_in.json()["access_token"])

    def down(self) -> None:
        """Remove it with its data."""
        self.compose("--profile", "cluster", "down", "--volumes", "--timeout", "45")


class Callers(System):
    """The API of a stack, in short, called with an admin's key."""

    def __init__(self, stack: Stack, key: str) -> None:
        bearer = {"Authorization": f"Bearer {key}"}
        self.http = httpx.Client(base_url=stack.url, timeout=60, headers=bearer)
        self.accepted = set()


def image_bytes(image: str) -> int:
    """The size of an image."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", image))


def remove_images(services: Sequence[str]) -> None:
    """The test's names; layers stay in the engine's cache."""
    docker("rmi", "--no-prune", *(f"{IMAGES}-{service}:latest" for service in services))
