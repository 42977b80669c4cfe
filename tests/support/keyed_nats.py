"""A nats-server with the configuration that `taskflow secrets` writes: a key and rights for each service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import greets
from tests.support.waiting import wait_until_sync

from taskflow.bus.connect import Bus
from taskflow.bus.login import Login
from taskflow.bus.rights import Role
from taskflow.cli.cabinet import SecretsSettings, write_secrets
from taskflow.cli.dev.child import spawn, stop
from taskflow.cli.dev.places import free_port


class KeyedNats:
    """The server, and what each role needs to be let in. `home` holds the secrets."""

    def __init__(self, home: Path, *, tls: bool = False, host: str = "127.0.0.1") -> None:
        self.home = home
        self.host = host
        self.port = free_port()
        self.settings = SecretsSettings(
            nats_hosts=("127.0.0.1",),
            nats_store=str(home / "store"),
            nats_ca_file="asked for" if tls else None,
        )
        self.tls = tls
        self._process: subprocess.Popen[bytes] | None = None
        write_secrets(self.settings, home, str(home / "nats"))

    @property
    def url(self) -> str:
        """How clients reach it."""
        return f"nats://{self.host}:{self.port}"

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.home / "log").read_text()

    def start(self) -> None:
        """Start it, and wait until it greets."""
        program = Path(sys.executable).with_name("nats-server")
        config = str(self.home / "nats" / "nats.conf")
        monitor = str(free_port())
        with (self.home / "log").open("ab") as log:
            self._process = spawn(
                [str(program), "-c", config, "-a", self.host, "-p", str(self.port), "-m", monitor],
                env=os.environ, output=log.fileno(), death_signal=signal.SIGTERM, cwd=self.home,
            )  # fmt: skip
        wait_until_sync(self._greets, "nats-server greets", 20)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            stop(self._process, ((signal.SIGTERM, 5.0),))

    def environ(self, role: Role) -> dict[str, str]:
        """The settings by which a service of this role is let in."""
        authorities = {"NATS_CA_FILE": str(self.home / role / "nats-ca.pem")} if self.tls else {}
        return {
            "NATS_URL": self.url,
            "NATS_NKEY_SEED_FILE": str(self.home / role / "nats.nk"),
            **authorities,
        }

    def login(self, role: Role) -> Login:
        """What a bus of this role says."""
        authorities = str(self.home / role / "nats-ca.pem") if self.tls else None
        return Login(role, (self.home / role / "nats.nk").read_text(), authorities)

    def bus(self, role: Role) -> Bus:
        """A bus of this role; not entered."""
        return Bus(self.url, self.settings.topology(), name=f"taskflow-{role}", login=self.login(role))

    def _greets(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        return greets(self.host, self.port)


@contextmanager
def keyed_nats(home: Path, *, tls: bool = False, host: str = "127.0.0.1") -> Iterator[KeyedNats]:
    """The server, running. Its certificate names 127.0.0.1, whichever address of this machine it listens on."""
    server = KeyedNats(home, tls=tls, host=host)
    server.start()
    try:
        yield server
    finally:
        server.stop()
