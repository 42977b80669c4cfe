"""Folders, the lock on them, the account servers run under, free ports. Used by `dev` and by the test
servers.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import random
import secrets
import shutil
import socket
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from taskflow.kit.lifecycle import ProgramError

SOCKET_PATH_BYTES_MAX = 103
"""The longest path of a Unix socket on every system: macOS has 104 bytes with the zero, Linux 108."""

PORTS = range(12_000, 30_000)
"""Below those the kernel gives to connections, which could take the port of a server while it is restarted."""


class Account(NamedTuple):
    """Whom a server runs as."""

    uid: int
    gid: int


def server_account() -> Account | None:
    """Whom PostgreSQL runs as: us (None), or, as it refuses root, an account without rights."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise ProgramError(
        "PostgreSQL does not run as root; expected an account `postgres` or `nobody` to run it as"
    )


def may_reach(folder: Path, account: Account | None) -> bool:
    """Whether `account` may go through every folder on the way to `folder` (which need not exist)."""
    if account is None:
        return True
    return all(_may_enter(parent, account) for parent in folder.resolve().parents if parent.exists())


def _may_enter(folder: Path, account: Account) -> bool:
    found = folder.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def stand_in(folder: Path, parent: Path = Path("/var/tmp")) -> Path:  # nosec B108  # a parent alone
    """The name of a folder for what cannot be in `folder`: always the same for it. Nothing is made yet."""
    name = "taskflow-" + hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]
    return (parent if parent.is_dir() else Path(tempfile.gettempdir())) / name


def make_stand_in(place: Path) -> None:
    """Make a stand-in folder that is ours alone to write, in a folder where anyone may have been before us."""
    place.mkdir(mode=0o711, exist_ok=True)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ProgramError(f"{place} belongs to someone else; expected a folder of our own")


def own_folder(folder: Path, account: Account | None, mode: int = 0o700) -> Path:
    """Make `folder`, if need be, and give it to `account`."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(mode)
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    return folder


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it; one that is not there is well."""
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


class DataFolder:
    """The folder a `dev` keeps its data in. One `dev` at a time: `lock` refuses a second one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._lock: int | None = None

    def lock(self) -> None:
        """Take the folder for this process, until it ends."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # PostgreSQL, which does not run as root, must get through to its own folder.
            self.folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ProgramError(f"cannot keep data in {self.folder}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProgramError(
                f"another `taskflow dev`{self._holder()} uses {self.folder}; "
                "stop it, or choose another --data-dir"
            ) from None
        os.ftruncate(self._lock, 0)
        os.write(self._lock, f"{os.getpid()}\n".encode())

    def _holder(self) -> str:
        with suppress(OSError, ValueError):
            return f" (pid {int((self.folder / 'lock').read_text())})"
        return ""

    def write_state(self, state: dict[str, Any]) -> None:
        """Write `dev.json`, whole or not at all; it holds passwords."""
        draft = self.folder / "dev.json.new"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")
        draft.replace(self.folder / "dev.json")

    def key(self, name: str) -> Path:
        """The file of a key, made once: who has signed in stays so, what was sealed can be opened."""
        path, draft = self.folder / name, self.folder / f"{name}.new"
        try:
            if path.exists() and path.read_text().strip():
                return path
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(48))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            raise ProgramError(f"cannot keep a key in {path}: {error.strerror}") from error
        return path

    def remove_state(self) -> None:
        """There is no system running here any more."""
        (self.folder / "dev.json").unlink(missing_ok=True)


def free_port(host: str = "127.0.0.1", count: int = 1, among: range = PORTS) -> int:
    """The first of `count` ports in a row that nothing listens on just now."""
    for _ in range(100):
        first = random.randrange(among.start, among.stop - count)  # nosec B311  # dice, not a secret
        with suppress(ProgramError):
            for port in range(first, first + count):
                check_port(host, port)
            return first
    raise ProgramError(f"cannot listen on {host}: no free port found between {among.start} and {among.stop}")


def check_port(host: str, port: int) -> None:
    """Raises ProgramError if `port` cannot be listened on."""
    try:
        _bound(host, port).close()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ProgramError(f"cannot listen on {host} port {port}: {why}; choose another --port") from None


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)
    except OSError:
        listener.close()
        raise
    return listener
