"""One supervised process: started, its lines shown, started again when it dies, stopped when told to."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from taskflow.cli.dev.child import Lines, ending, tell
from taskflow.cli.dev.console import Console
from taskflow.kit.lifecycle import EXIT_SETTINGS, ProgramError
from taskflow.kit.logging import get_logger

log = get_logger(__name__)

_BACKOFF_SECONDS_MIN = 0.2
_BACKOFF_SECONDS_MAX = 5.0
_HEALTHY_SECONDS = 10.0
_WATCH_SECONDS = 1.0
_LAST_WORDS_SECONDS_MAX = 1.0
_READY_POLL_SECONDS = 0.05
_READY_SECONDS_MAX = 60.0

Steps = Sequence[tuple[signal.Signals, float]]


class Unit:
    """Keeps one process running. `launch(output)` starts it; `changed()` hears of each new pid."""

    def __init__(
        self,
        name: str,
        launch: Callable[[int], subprocess.Popen[bytes]],
        console: Console,
        *,
        stop_steps: Steps,
        changed: Callable[[], None],
        prepare: Callable[[], None] | None = None,
        is_ready: Callable[[int], bool] | None = None,
        fault: Callable[[], str | None] | None = None,
        quiet: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self._launch, self._console, self._changed = launch, console, changed
        self._prepare, self._is_ready, self._fault = prepare, is_ready, fault
        self._stop_steps, self._quiet = stop_steps, quiet
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = asyncio.Event()
        self._lines: Lines | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The pid of the process, if it runs."""
        return self._process.pid if self._process is not None and not self._ended.is_set() else None

    async def start(self) -> None:
        """Start the process."""
        if self._prepare is not None:
            await asyncio.to_thread(self._prepare)
        if self._stopping:
            return
        read_end, write_end = os.pipe()
        try:
            # Here and not in a thread: a child gets its death signal when the thread that made it ends.
            process = self._launch(write_end)
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self._process, self._ended = process, asyncio.Event()
        self._await_end(process, self._ended)
        self._lines = await Lines.from_pipe(read_end, self._show)
        self._changed()

    async def start_ready(self) -> None:
        """Start the process and wait until it says it is ready; ProgramError if it does not get there."""
        await self.start()
        until = time.monotonic() + _READY_SECONDS_MAX
        while (pid := self.pid) is not None and time.monotonic() < until:
            if self._is_ready is None or await asyncio.to_thread(self._is_ready, pid):
                return
            await asyncio.sleep(_READY_POLL_SECONDS)
        if not self._stopping:
            raise ProgramError(f"{self.name} did not start ({self._how()}); what it said stands above")

    async def keep(self) -> None:
        """Start the process again whenever it ends, until `stop`."""
        backoff = _BACKOFF_SECONDS_MIN
        while True:
            began = time.monotonic()
            await self._until_end()
            if self._stopping:
                return
            if self._process is not None and self._process.returncode == EXIT_SETTINGS:
                raise ProgramError(f"{self.name} refused its settings, as it said above", EXIT_SETTINGS)
            if time.monotonic() - began > _HEALTHY_SECONDS:
                backoff = _BACKOFF_SECONDS_MIN
            log.warning(
                "process.ended", name=self.name, how=self._how(), starts_again_in_seconds=round(backoff, 1)
            )
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _BACKOFF_SECONDS_MAX)
            try:
                await self.start()
            except (OSError, ProgramError) as error:
                log.error("process.start_failed", name=self.name, error=str(error))  # noqa: TRY400 - one line says all

    async def stop(self) -> None:
        """End the process for good: the signals in turn, SIGKILL at last, then what it left in its group."""
        self._stopping = True
        process = self._process
        if process is None:
            return
        for number, seconds in (*self._stop_steps, (signal.SIGKILL, 10.0)):
            if self._ended.is_set():
                break
            if number is signal.SIGKILL:
                log.warning("process.killed", name=self.name, why="it did not end in time")
            tell(process, number)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), seconds)
        await self._last_words()

    async def _until_end(self) -> None:
        while not self._ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _WATCH_SECONDS if self._fault else None)
            if self._fault is not None and not self._ended.is_set() and (why := self._fault()):
                log.warning("process.killed", name=self.name, why=why)
                if self._process is not None:
                    self._process.kill()
                await self._ended.wait()
        await self._last_words()

    async def _last_words(self) -> None:
        """Show what a process that ended had still to say, and end what it left in its process group."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._lines is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._lines.ended.wait(), _LAST_WORDS_SECONDS_MAX)
            self._lines.close()

    def _await_end(self, process: subprocess.Popen[bytes], ended: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()

        def wait() -> None:
            process.wait()
            with suppress(RuntimeError):  # the loop is closed: no one waits any more
                loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=wait, name=f"wait-{self.name}", daemon=True).start()

    def _how(self) -> str:
        if self._process is None or self._process.returncode is None:
            return "not ready in time"
        return ending(self._process.returncode)

    def _show(self, line: str) -> None:
        if not any(word in line[:40] for word in self._quiet):
            self._console.show(self.name, line)
