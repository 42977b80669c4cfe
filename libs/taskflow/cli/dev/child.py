"""One process under `dev`: in a session of its own, so that Ctrl-C reaches `dev` alone, and dying when
`dev` dies.

`spawn` and `stop` are plain blocking calls, also used for the test servers. `Lines` carries a child's
output, line by line, into the event loop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from taskflow.cli.dev.places import Account

_LINE_BYTES_MAX = 64 * 1024
_LAST_WILL = Path(__file__).with_name("last_will.py")


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    output: int,
    death_signal: signal.Signals,
    account: Account | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process that writes to `output`. On Linux it gets `death_signal` if the calling thread dies."""
    who = account or Account(-1, -1)
    wish = [str(word) for word in (int(death_signal), os.getpid(), who.uid, who.gid)]
    on_linux = sys.platform == "linux"
    return subprocess.Popen(  # nosec B603  # a list, no shell; the words are ours
        [sys.executable, "-IS", str(_LAST_WILL), *wish, *command] if on_linux else list(command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(env),
        cwd=cwd,
        start_new_session=True,
        **({} if on_linux else run_as(account)),
    )


def run_as(account: Account | None) -> dict[str, Any]:
    """The arguments of subprocess that make a process run as `account`."""
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}


def tell(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    with suppress(ProcessLookupError):
        process.send_signal(number)


def stop(process: subprocess.Popen[bytes], steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """End a process: each signal in turn, waiting its seconds for the end; SIGKILL at last."""
    for number, seconds in steps:
        if process.poll() is not None:
            return
        tell(process, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    if process.poll() is None:
        process.kill()
        process.wait()


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def arguments_of(pid: int) -> bytes:
    """The command line of a process, or nothing. (Slim machines have no `ps`, macOS has no /proc.)"""
    if Path("/proc/self/cmdline").exists():
        with suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        return b""
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, check=False).stdout  # nosec B603 B607  # a list, no shell; `ps` is where PATH says


class Lines(asyncio.Protocol):
    """Calls `show` for each line that arrives; of an endless line only the beginning is shown."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._rest = b""
        self._transport: asyncio.BaseTransport | None = None
        self._cut = False
        self.ended = asyncio.Event()

    @classmethod
    async def from_pipe(cls, read_end: int, show: Callable[[str], None]) -> Lines:
        """Follow a pipe until the last process that holds its other end is gone."""
        loop = asyncio.get_running_loop()
        _, lines = await loop.connect_read_pipe(lambda: cls(show), os.fdopen(read_end, "rb", 0))
        return lines

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def close(self) -> None:
        """Listen no longer, though someone may still hold the other end."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            if not self._cut:
                self._show(line.decode(errors="replace").rstrip("\r"))
            self._cut = False
        if len(self._rest) > _LINE_BYTES_MAX:
            if not self._cut:
                self._show(self._rest.decode(errors="replace") + " ...")
            self._rest, self._cut = b"", True

    def connection_lost(self, _error: Exception | None) -> None:
        if self._rest and not self._cut:
            self._show(self._rest.decode(errors="replace"))
        self.ended.set()
