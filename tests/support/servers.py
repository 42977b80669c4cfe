"""Real PostgreSQL and NATS for tests: those the environment names, else containers, else the embedded wheels.

`TASKFLOW_TEST_DATABASE_URL` and `TASKFLOW_TEST_NATS_URL` name servers whose account may create databases
and streams.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
import threading
import uuid
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import asyncpg
import nats
from tests.support.waiting import wait_until_sync

from taskflow.cli.dev.child import stop
from taskflow.cli.dev.nats import Nats
from taskflow.cli.dev.postgres import Postgres
from taskflow.store.migrate import migrate

T = TypeVar("T")

# Tests kill processes, not machines: what is written need not reach the disk.
_QUICK = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "4GB"}
STREAM_PREFIX = "TEST"
POSTGRES_IMAGE = "postgres:18"
NATS_IMAGE = "nats:2.15-alpine"


class Servers(NamedTuple):
    """Where the servers of the session are; `database_admin_url` may create databases."""

    database_admin_url: str
    nats_url: str


@contextmanager
def open_servers() -> Iterator[Servers]:
    """The servers of a test session."""
    with ExitStack() as stack:
        database_url = os.environ.get("TASKFLOW_TEST_DATABASE_URL")
        nats_url = os.environ.get("TASKFLOW_TEST_NATS_URL")
        docker = not (database_url and nats_url) and engine_answers()
        if not database_url:
            database_url = stack.enter_context(_postgres_container() if docker else _embedded(Postgres))
        if not nats_url:
            nats_url = stack.enter_context(_nats_container() if docker else _embedded(Nats))
        yield Servers(database_url, nats_url)


@contextmanager
def _embedded(kind: type[Postgres] | type[Nats]) -> Iterator[str]:
    # Short, and reachable for the account PostgreSQL runs under when the tests run as root.
    home = Path(tempfile.mkdtemp(prefix="tf-test-", dir="/tmp"))
    home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    server = kind(home, _QUICK) if kind is Postgres else kind(home)
    try:
        server.prepare()
        with (home / f"{server.name}.log").open("wb") as log:
            process = server.start(log.fileno())
        try:
            wait_until_sync(
                lambda: process.poll() is not None or server.is_ready(process.pid),
                f"{server.name} is ready",
                60,
            )
            assert process.poll() is None, (home / f"{server.name}.log").read_text()
            yield server.url
        finally:
            stop(process, server.stop_steps)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def engine_answers(*more: str) -> bool:
    """Whether a container engine answers that has the servers' images and `more`, or can get them."""
    if not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        return False
    import docker
    from docker.errors import DockerException, ImageNotFound

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            engine = docker.from_env(timeout=30)
            for image in (POSTGRES_IMAGE, NATS_IMAGE, *more):
                try:
                    engine.images.get(image)
                except ImageNotFound:
                    engine.images.pull(image)
        except (DockerException, OSError):  # also those of requests
            return False
    return True


@contextmanager
def _container(image: str, command: str, port: int, **environ: str) -> Iterator[tuple[str, int]]:
    """A container that listens on a port of this machine: (host, port). Removed at the end, by us and not by a helper
    container, whose image is one more to fetch.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        testcontainers_config.ryuk_disabled = True
        container = DockerContainer(image).with_command(command).with_exposed_ports(port)
        for name, value in environ.items():
            container.with_env(name, value)
        with container:
            yield container.get_container_host_ip(), int(container.get_exposed_port(port))


@contextmanager
def _postgres_container() -> Iterator[str]:
    account = {"POSTGRES_USER": "taskflow", "POSTGRES_PASSWORD": "taskflow", "POSTGRES_DB": "taskflow"}
    command = "postgres -c fsync=off -c max_connections=200"
    with _container(POSTGRES_IMAGE, command, 5432, **account) as (host, port):
        url = f"postgres://taskflow:taskflow@{host}:{port}/taskflow"
        wait_until_sync(lambda: blocking(lambda: _accepts(url)), "PostgreSQL answers", 60)
        yield url


async def _accepts(url: str) -> bool:
    try:
        await (await asyncpg.connect(url, timeout=5)).close()
    except (OSError, asyncpg.PostgresError, TimeoutError):
        return False
    return True


@contextmanager
def _nats_container() -> Iterator[str]:
    with _container(NATS_IMAGE, "-js", 4222) as (host, port):
        wait_until_sync(lambda: greets(host, port), "nats-server greets", 60)
        yield f"nats://{host}:{port}"


def greets(host: str, port: int) -> bool:
    """Whether a nats-server with JetStream greets there."""
    try:
        with socket.create_connection((host, port), timeout=1) as line:
            line.settimeout(1)
            return b'"jetstream":true' in line.recv(4096)
    except OSError:
        return False


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    head, mark, query = url.partition("?")
    return head.rpartition("/")[0] + f"/{name}" + mark + query


def blocking(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end on a loop and a thread of its own, whatever the test does with its loop."""
    answer: list[T] = []
    fault: list[BaseException] = []

    def run() -> None:
        try:
            answer.append(asyncio.run(work()))
        except BaseException as error:
            fault.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if fault:
        raise fault[0]
    return answer[0]


class Databases:
    """Makes migrated databases, each a copy of one that was migrated once."""

    def __init__(self, admin_url: str) -> None:
        self._admin_url = admin_url
        self._template = ""

    def create(self) -> str:
        """The URL of a fresh, migrated database."""
        if not self._template:
            template = self._make("template0")
            blocking(lambda: migrate(with_database(self._admin_url, template)))
            self._template = template
        return with_database(self._admin_url, self._make(self._template))

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected."""
        self._execute(f'DROP DATABASE IF EXISTS "{url.partition("?")[0].rpartition("/")[2]}" WITH (FORCE)')

    def close(self) -> None:
        """Drop the template."""
        if self._template:
            self.drop(with_database(self._admin_url, self._template))

    def _make(self, template: str) -> str:
        name = f"taskflow_test_{uuid.uuid4().hex[:12]}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def _execute(self, sql: str) -> None:
        async def work() -> None:
            conn = await asyncpg.connect(self._admin_url)
            try:
                await conn.execute(sql)
            finally:
                await conn.close()

        blocking(work)


def delete_streams(nats_url: str) -> None:
    """Delete every stream that tests made: all have the same subjects, so they would collide."""

    async def work() -> None:
        client = await nats.connect(nats_url)
        try:
            stream = client.jetstream()
            for found in await stream.streams_info():
                if (found.config.name or "").startswith(STREAM_PREFIX):
                    await stream.delete_stream(found.config.name or "")
        finally:
            await client.close()

    blocking(work)
