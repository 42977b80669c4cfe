"""The whole system as processes: servers, schema, services, in order; and back in the opposite order.

`System` is what `taskflow dev` runs. PostgreSQL and NATS that are given by URL are used and left alone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from taskflow.cli.dev.child import spawn
from taskflow.cli.dev.console import Console
from taskflow.cli.dev.nats import Nats
from taskflow.cli.dev.places import DataFolder
from taskflow.cli.dev.postgres import Postgres
from taskflow.cli.dev.ready import until_ready
from taskflow.cli.dev.unit import Steps, Unit
from taskflow.cli.programs import module_of
from taskflow.kit.lifecycle import ProgramError
from taskflow.kit.logging import get_logger
from taskflow.kit.settings import redact

log = get_logger(__name__)

SERVICES = ("api", "scheduler", "dlq-consumer", "notifier", "worker")
_KILL_MARGIN_SECONDS = 5.0


class Plan(Struct, frozen=True, kw_only=True):
    """What to run, with everything decided."""

    api_url: str
    database_url: str | None
    nats_url: str | None
    workers: int
    drain_seconds: float
    environ: dict[str, str]
    secrets: dict[str, dict[str, str]]
    """By service."""
    probe_port: int | None

    def environ_of(self, service: str) -> dict[str, str]:
        """The environment of a service, but for the servers."""
        return {**self.environ, **self.secrets.get(service, {})}


class System:
    """All processes of one `dev`. `run(stop)` returns once all of them have ended.

    `must_sign_in`: callers of the api must, so it is told how they can.
    """

    def __init__(self, plan: Plan, data: DataFolder, console: Console) -> None:
        self._plan, self._data, self._console = plan, data, console
        self._postgres = None if plan.database_url else Postgres(data.folder)
        self._nats = None if plan.nats_url else Nats(data.folder)
        self.database_url = plan.database_url or (self._postgres.url if self._postgres else "")
        self.nats_url = plan.nats_url or (self._nats.url if self._nats else "")
        self._servers = [self._server_unit(s) for s in (self._postgres, self._nats) if s is not None]
        self._api = self._service_unit("api", "api", 0)
        tenders = ("scheduler", "dlq-consumer", "notifier")
        self._tenders = [self._service_unit(name, name, place) for place, name in enumerate(tenders)]
        self._workers = [
            self._service_unit(f"worker-{number}", "worker", number + 2)
            for number in range(1, plan.workers + 1)
        ]
        self._keepers: list[asyncio.Task[None]] = []
        self.must_sign_in = False

    async def run(self, stop: asyncio.Event) -> int:
        """Start all, say when it is ready, keep it running until `stop`, end all."""
        told = asyncio.create_task(stop.wait())
        work = asyncio.create_task(self._work())
        try:
            await asyncio.wait({told, work}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
        finally:
            told.cancel()
            await self._close(work)
        return 0

    async def _work(self) -> None:
        await _all(unit.start_ready() for unit in self._servers)
        self._keep(self._servers)
        log.info("servers.started", postgres=redact(self.database_url), nats=redact(self.nats_url))
        await self._migrate()
        for unit in (self._api, *self._tenders, *self._workers):
            await unit.start()
        self._keep([self._api, *self._tenders, *self._workers])
        announce = asyncio.create_task(self._announce())
        try:
            done, _ = await asyncio.wait({*self._keepers}, return_when=asyncio.FIRST_EXCEPTION)
            for keeper in done:
                await keeper
        finally:
            announce.cancel()

    async def _migrate(self) -> None:
        from taskflow.store.migrate import MigrationFailed, migrate

        try:
            await migrate(self.database_url)
        except MigrationFailed as error:
            raise ProgramError(f"the schema could not be brought up to date: {error}") from error

    async def _announce(self) -> None:
        def worker_pids() -> list[int]:
            return [unit.pid for unit in self._workers if unit.pid is not None]

        await until_ready(self._plan.api_url, worker_pids)
        print(f"ready {self._plan.api_url}", flush=True)
        if self.must_sign_in:
            self._console.show(
                "dev",
                "callers must sign in; `taskflow admin create` makes the first admin, with DATABASE_URL set to the "
                f"database_url in {self._data.folder / 'dev.json'}",
            )

    def _keep(self, units: list[Unit]) -> None:
        self._keepers += [asyncio.create_task(unit.keep(), name=f"keep-{unit.name}") for unit in units]

    async def _close(self, work: asyncio.Task[None]) -> None:
        """Workers first, so that what they finish is still recorded; the servers last."""
        if self._api.pid is not None:
            log.info("drain.begun", seconds_at_most=self._plan.drain_seconds)
        work.cancel()
        await asyncio.wait({work})
        await _all(unit.stop() for unit in self._workers)
        await _all(unit.stop() for unit in self._tenders)
        await self._api.stop()
        await _all(unit.stop() for unit in self._servers)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._data.remove_state()

    def _server_unit(self, server: Postgres | Nats) -> Unit:
        return Unit(
            server.name, server.start, self._console, stop_steps=server.stop_steps, quiet=server.quiet,
            prepare=server.prepare, is_ready=server.is_ready, fault=server.fault, changed=self._write_state,
        )  # fmt: skip

    def _service_unit(self, name: str, service: str, probe: int) -> Unit:
        steps: Steps = ((signal.SIGTERM, self._plan.drain_seconds + _KILL_MARGIN_SECONDS),)
        launch = self._launcher(service, probe)
        return Unit(name, launch, self._console, stop_steps=steps, changed=self._write_state)

    def _launcher(self, service: str, probe: int) -> Callable[[int], subprocess.Popen[bytes]]:
        def launch(output: int) -> subprocess.Popen[bytes]:
            environ = {
                **self._plan.environ_of(service),
                "DATABASE_URL": self.database_url,
                "NATS_URL": self.nats_url,
                "PYTHONUNBUFFERED": "1",
            }
            if self._plan.probe_port is not None and service != "api":
                environ["PROBE_PORT"] = str(self._plan.probe_port + probe)
            command = [sys.executable, "-P", "-m", module_of(service)]
            return spawn(command, env=environ, output=output, death_signal=signal.SIGKILL, cwd=Path.cwd())

        return launch

    def _write_state(self) -> None:
        """Keep `dev.json` true: whoever reads it finds the processes that run now."""
        by_name = {unit.name: unit.pid for unit in (*self._servers, self._api, *self._tenders)}
        pids: dict[str, Any] = {
            "dev": os.getpid(),
            "postgres": by_name.get("postgres"),
            "nats": by_name.get("nats"),
            "api": by_name["api"],
            "workers": [unit.pid for unit in self._workers if unit.pid is not None],
            "scheduler": by_name["scheduler"],
            "dlq_consumer": by_name["dlq-consumer"],
            "notifier": by_name["notifier"],
        }
        self._data.write_state({
            "api_url": self._plan.api_url,
            "database_url": self.database_url,
            "nats_url": self.nats_url,
            "pids": pids,
        })  # fmt: skip


async def _all(things: Any) -> None:
    """Do all at once; when one fails, the others are waited for and the first fault is raised."""
    faults = [
        f for f in await asyncio.gather(*things, return_exceptions=True) if isinstance(f, BaseException)
    ]
    if faults:
        raise faults[0]
