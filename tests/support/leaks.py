"""Which processes of this test session run. A test must leave none behind, orphans included.

Every process the session starts inherits a mark in its environment, by which it is found in /proc whoever
its parent is by now. Without /proc (macOS) nothing is checked.
"""

from __future__ import annotations

import os
import signal
import uuid
from contextlib import suppress
from pathlib import Path

from tests.support.waiting import wait_until_sync

_MARK = "TASKFLOW_TEST_SESSION"
_PROC = Path("/proc")


def mark_session() -> None:
    """Mark this process's environment; called once, before anything is started."""
    os.environ[_MARK] = uuid.uuid4().hex


def running() -> dict[int, str]:
    """The processes of this session other than this one: pid to command line. Zombies do not run."""
    if not (_PROC / "self" / "environ").exists():
        return {}
    mark = f"{_MARK}={os.environ[_MARK]}".encode()
    found: dict[int, str] = {}
    for folder in _PROC.iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = _command(folder)
    return {pid: command for pid, command in found.items() if command}


def check_none_left(before: dict[int, str], seconds: float = 5.0) -> None:
    """Fail, and end them, if processes run that did not before, nor descend from such as did."""

    def left() -> dict[int, str]:
        return {
            pid: command for pid, command in running().items()
            if not _descends(pid, before)
        }  # fmt: skip

    try:
        wait_until_sync(lambda: not left(), "no process of the test is left", seconds)
    except AssertionError:
        found = left()
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if found:
            raise AssertionError(f"left running by the test: {found}") from None


def _descends(pid: int, known: dict[int, str]) -> bool:
    """Whether `pid` is one of `known`, or one of those started it, or started what started it, ..."""
    while pid > 1:
        if pid in known:
            return True
        pid = _parent(pid)
    return False


def _command(folder: Path) -> str:
    return (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()


def _parent(pid: int) -> int:
    with suppress(OSError, IndexError, ValueError):
        return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    return 0
