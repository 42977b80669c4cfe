"""One child process as its worker sees it: started in a session of its own, spoken to, signalled, reaped.

Used by `children`; the other end is `child`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import cast

from taskflow.domain.attempt import ErrorInfo, Outcome
from taskflow.domain.task import Claimed
from taskflow.handlers.frames import Broken, Call, Ended, Frame, Hello, Line, Ready, Unpacker, pack
from taskflow.handlers.given import all_given

REAP_SECONDS_MAX = 5.0
"""How long the kernel may take to end what was sent SIGKILL."""
LAST_WORDS_SECONDS_MAX = 1.0
"""How long what a dead child has said may still be under way."""

Result = asyncio.Future[Outcome]


class ChildProcess(asyncio.Protocol):
    """One child process, seen from the worker. `exited` is its return code as subprocess has it."""

    def __init__(self, imports: Sequence[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[ErrorInfo | None] = self._loop.create_future()
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.result: Result | None = None
        self.idle_since = 0.0  # by the loop's clock; kept by the pool
        self._on_line: Callable[[Line], None] | None = None
        self._imports = list(imports)
        self._unpacker = Unpacker()
        self._transport: asyncio.WriteTransport | None = None
        self._reaping = threading.Lock()

    def start(self) -> None:
        """Start the process. It dies with this one: when the lifeline closes, the kernel kills its group."""
        self._ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        passed = (theirs.fileno(), lifeline)
        command = [sys.executable, "-P", "-m", "taskflow.handlers.child", *map(str, passed), str(os.getpid())]
        try:
            self._process = subprocess.Popen(  # nosec B603  # a list, no shell; the words are ours
                command, pass_fds=passed, stdin=subprocess.DEVNULL, start_new_session=True
            )
        except BaseException:
            self._ours.close()
            os.close(self._lifeline)
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        threading.Thread(target=self._reap, name=f"child-{self.pid}", daemon=True).start()

    async def greet(self) -> None:
        """Tell the process what to import; `ready` tells when it has."""
        await self._loop.create_unix_connection(lambda: self, sock=self._ours)
        self.send(Hello(sys.path, self._imports, all_given()))

    @property
    def pid(self) -> int:
        """The process id, which is that of its group too."""
        return self._process.pid

    def call(self, claimed: Claimed, deadline: float, on_line: Callable[[Line], None]) -> Result:
        """Have the child run a handler."""
        self._on_line = on_line
        self.result = self._loop.create_future()
        self.send(Call(claimed, deadline))
        return self.result

    def send(self, frame: Frame) -> None:
        """Say something to the child; said to a dead one, it is lost."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(pack(frame))

    def signal(self, number: signal.Signals) -> None:
        """Signal the process group: the child and all it started."""
        with self._reaping:
            if self._process.returncode is None:
                _signal_group(self._process.pid, number)

    async def end(self, seconds: float) -> None:
        """Wait for the process to end, `seconds` at most; then kill it. Its last words are heard."""
        await asyncio.wait({self.exited}, timeout=seconds)
        if not self.exited.done():
            self.signal(signal.SIGKILL)
            await asyncio.wait({self.exited}, timeout=REAP_SECONDS_MAX)
        if self._transport is None:
            self._ours.close()
        elif not self.closed.done():
            await asyncio.wait({self.closed}, timeout=LAST_WORDS_SECONDS_MAX)
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours to use. (uvloop's transports do not derive from asyncio's.)"""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """The child said something. One that talks nonsense is killed."""
        try:
            for frame in self._unpacker.feed(data):
                self._hear(frame)
        except ValueError:  # also msgspec's errors
            self.signal(signal.SIGKILL)

    def connection_lost(self, error: Exception | None) -> None:
        """The child's end is closed: it has said all it had to say."""
        if not self.closed.done():
            self.closed.set_result(None)

    def _hear(self, frame: Frame) -> None:
        match frame:
            case Line():
                if self._on_line is not None:
                    self._on_line(frame)
            case Ended():
                self._on_line = None
                if self.result is not None and not self.result.done():
                    self.result.set_result(frame.outcome)
            case Ready() | Broken():
                if not self.ready.done():
                    self.ready.set_result(frame.error if isinstance(frame, Broken) else None)

    def _reap(self) -> None:
        """A thread: waits for the child's death, kills what it left in its group, and tells the loop.

        The group is killed while the child is a zombie: so long its id cannot be another's.
        """
        pid = self._process.pid
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            _signal_group(pid, signal.SIGKILL)
            with self._reaping:
                code = self._process.wait()
        else:
            code = self._process.wait()
        os.close(self._lifeline)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._exited, code)

    def _exited(self, code: int) -> None:
        if not self.exited.done():
            self.exited.set_result(code)


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone, or (macOS) only zombies are left
        os.killpg(group, number)
