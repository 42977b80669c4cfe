"""The embedded PostgreSQL starts again, whenever it was killed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.support.waiting import wait_until_sync

from taskflow.cli.dev.child import stop
from taskflow.cli.dev.postgres import Postgres


class Home:
    """A PostgreSQL with its data in a folder that its account can reach."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o711)
        self.postgres = Postgres(folder)
        self.pid_file = folder / "postgres" / "data" / "postmaster.pid"
        self._log = folder / "log"

    def start(self) -> subprocess.Popen[bytes]:
        """What `dev` does at each start."""
        self.postgres.prepare()
        with self._log.open("ab") as log:
            return self.postgres.start(log.fileno())

    def answers(self, process: subprocess.Popen[bytes]) -> int:
        """Wait until it takes connections, and ask it something."""
        wait_until_sync(
            lambda: process.poll() is not None or self.postgres.is_ready(process.pid),
            "PostgreSQL is ready",
            30,
        )
        assert process.poll() is None, self._log.read_text()[-1000:]
        return asyncio.run(self._ask())

    async def _ask(self) -> int:
        connection = await asyncpg.connect(self.postgres.url)
        try:
            return int(await connection.fetchval("SELECT 40 + 2"))
        finally:
            await connection.close()


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    # Not pytest's tmp_path, which the account PostgreSQL runs under cannot reach when the tests run as root.
    with tempfile.TemporaryDirectory(prefix="tf-pg-", dir="/tmp") as name:
        yield Home(Path(name))


def test_killed_at_any_moment_of_its_start_it_starts_again(home: Home) -> None:
    began = time.monotonic()
    process = home.start()
    assert home.answers(process) == 42
    to_ready = time.monotonic() - began
    try:
        moments = 12
        for moment in range(moments):
            stop(process, [(signal.SIGKILL, 5.0)])
            process = home.start()
            time.sleep(min(to_ready, 0.3) * moment / moments)
        stop(process, [(signal.SIGKILL, 5.0)])
        process = home.start()
        assert home.answers(process) == 42
    finally:
        stop(process, home.postgres.stop_steps)


@pytest.mark.parametrize("left", ["", "\n", "123", "not a pid\nat all\n"], ids=repr)
def test_it_starts_whatever_a_kill_left_of_its_pid_file(home: Home, left: str) -> None:
    process = home.start()
    home.answers(process)
    stop(process, [(signal.SIGKILL, 5.0)])
    # Killed between making the file and writing its pid, PostgreSQL leaves it empty.
    home.pid_file.write_text(left)
    process = home.start()
    try:
        assert home.answers(process) == 42
    finally:
        stop(process, home.postgres.stop_steps)
