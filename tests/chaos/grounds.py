"""Servers that a cell stops and starts by itself. `taskflow dev` would start its own again at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.cell import Scale
from tests.support.waiting import wait_until_sync

from taskflow.cli.dev.child import stop
from taskflow.cli.dev.nats import Nats
from taskflow.cli.dev.postgres import Postgres


class OwnServer:
    """PostgreSQL or NATS with its data in a folder. Started and stopped by one thread: it dies with that."""

    def __init__(self, kind: type[Postgres] | type[Nats], home: Path) -> None:
        self._server = kind(home)
        self._log = home / f"{self._server.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """How clients reach it; always the same."""
        return self._server.url

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._server.prepare()
        with self._log.open("ab") as log:
            process = self._process = self._server.start(log.fileno())
        wait_until_sync(
            lambda: process.poll() is not None or self._server.is_ready(process.pid),
            "the server is ready",
            60,
        )
        assert process.poll() is None, self._log.read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """Stop it in order; nothing listens any more."""
        if self._process is not None:
            stop(self._process, self._server.stop_steps)
            self._process = None


class OwnServers:
    """A PostgreSQL and a NATS of the cell's own."""

    def __init__(self, home: Path) -> None:
        self.postgres = OwnServer(Postgres, home)
        self.nats = OwnServer(Nats, home)

    @property
    def settings(self) -> Mapping[str, str]:
        """What leads a system to them."""
        return {"DATABASE_URL": self.postgres.url, "NATS_URL": self.nats.url}


@contextmanager
def own_servers(_scale: Scale) -> Iterator[OwnServers]:
    """Both, running."""
    home = Path(tempfile.mkdtemp(prefix="tf-own-", dir="/tmp"))
    home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    servers = OwnServers(home)
    try:
        servers.postgres.start()
        servers.nats.start()
        yield servers
    finally:
        servers.nats.stop()
        servers.postgres.stop()
        shutil.rmtree(home, ignore_errors=True)
