"""How a program starts and ends: one event loop, two signals, no loop that dies unheard.

`program` is all that a `__main__` needs. SIGTERM or SIGINT sets the `stop` event that `main` waits for;
`main` then leaves its components (async context managers), which drain, and returns. A second signal ends
the process at once.

Exit codes: 0 done, 1 a second signal or a `ProgramError`, 2 settings, 70 a loop died or `main` raised.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, Self, TypeVar

from taskflow.kit.logging import configure, get_logger
from taskflow.kit.metrics import tell_build
from taskflow.kit.pulse import Pulse
from taskflow.kit.settings import ProgramSettings, SettingsError, describe, environment, load

log = get_logger(__name__)
P = TypeVar("P", bound=ProgramSettings)

EXIT_SETTINGS = 2
EXIT_BROKEN = 70
COLLECT_AFTER_OBJECTS = 50_000
_CLOSE_SECONDS_MAX = 10.0
_HANG_SECONDS_MAX = 2.0
"""How long what is left on the loop at the very end may take to be cancelled."""


class ProgramError(Exception):
    """The program cannot go on, for a reason that one line explains: no traceback, `exit_code`."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class LoopDied(Exception):
    """A loop under a `Guard` ended with an error."""


class Guard:
    """Keeps the loops of a program. One that dies is logged and ends the block, so that all goes down loudly.

    async with Guard() as guard:
        guard.spawn(healer.run(), "healer")
        await stop.wait()

    At the end of the block the loops are cancelled, the last started first, each waited for.
    """

    def __init__(self) -> None:
        self.failed = asyncio.Event()
        self._loops: list[asyncio.Task[Any]] = []
        self._owner: asyncio.Task[Any] | None = None
        self._fault: BaseException | None = None
        self._fault_name = ""
        self._interrupted = False
        self._closing = False

    async def __aenter__(self) -> Self:
        self._owner = asyncio.current_task()
        return self

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `coro` until it returns or the block ends."""
        loop = asyncio.get_running_loop().create_task(coro, name=name)
        self._loops.append(loop)
        loop.add_done_callback(self._ended)
        return loop

    def _ended(self, loop: asyncio.Task[Any]) -> None:
        # A loop that returned, or whose end is waited for in __aexit__, needs no place here any more.
        if not self._closing:
            self._loops.remove(loop)
        if loop.cancelled() or (error := loop.exception()) is None:
            return
        log.error("loop.died", loop=loop.get_name(), exc_info=error)
        if self._fault is None:
            self._fault, self._fault_name = error, loop.get_name()
            self.failed.set()
            if not self._closing and self._owner is not None:
                self._interrupted = True
                self._owner.cancel()

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._closing = True
        for loop in reversed(self._loops):
            loop.cancel()
            _, late = await asyncio.wait([loop], timeout=_CLOSE_SECONDS_MAX)
            if late:
                log.error("loop.overran", loop=loop.get_name(), seconds=_CLOSE_SECONDS_MAX)
        if self._fault is None:
            return
        if self._interrupted and self._owner is not None:
            self._owner.uncancel()
        if error is None or isinstance(error, asyncio.CancelledError):
            raise LoopDied(f"{self._fault_name}: {self._fault!r}") from self._fault


def run(main: Callable[[asyncio.Event], Awaitable[int | None]]) -> int:
    """Run `main(stop)` on a fresh event loop and give its exit code.

    What `main` has left on the loop is cancelled; if that does not help, the process ends here.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = _code(runner, main)
        if runner.run(_hangers()):
            end_now(code, "a coroutine does not end although it was cancelled")
    return code


def end_now(code: int, reason: str) -> NoReturn:
    """End this process at once, from any thread, with nothing left open being closed."""
    log.error("process.aborted", reason=reason, exit_code=code)
    with contextlib.suppress(Exception):
        sys.stderr.flush()
    os._exit(code)


def _code(runner: asyncio.Runner, main: Callable[[asyncio.Event], Awaitable[int | None]]) -> int:
    try:
        return runner.run(_under_signals(main)) or 0
    except SettingsError as error:
        return _refused(str(error), EXIT_SETTINGS)
    except ProgramError as error:
        return _refused(str(error), error.exit_code)
    except LoopDied as died:
        log.error("program.ended_by_loop", loop=str(died))  # noqa: TRY400 - Guard has logged the trace
        return EXIT_BROKEN
    except Exception:
        log.exception("program.failed")
        return EXIT_BROKEN


def program(
    settings_cls: type[P], main: Callable[[P, asyncio.Event], Awaitable[int | None]], service: str
) -> NoReturn:
    """The whole of a `__main__`: read the settings, set up logging, run `main(settings, stop)`, exit."""
    try:
        settings = load(settings_cls, environment())
    except SettingsError as error:
        sys.exit(_refused(str(error), EXIT_SETTINGS))
    configure(settings.log_level, settings.log_format, service)
    tell_build(service)
    log.info(
        "service.started", name=service, pid=os.getpid(), **{f"{k}": v for k, v in describe(settings).items()}
    )
    code = run(lambda stop: main(settings, stop))
    log.info("service.stopped", name=service, exit_code=code)
    sys.exit(code)


async def _under_signals(main: Callable[[asyncio.Event], Awaitable[int | None]]) -> int | None:
    _calm_the_collector()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told(number: signal.Signals) -> None:
        if stop.is_set():
            log.warning("stop.forced", signal=number.name)
            os._exit(1)
        log.info("stop.requested", signal=number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told, number)
    async with Pulse():
        return await main(stop)


def _calm_the_collector() -> None:
    """Leave modules out of garbage collection, and look for cycles a hundredth as often: hot paths make none."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS, 10, 10)


async def _hangers() -> set[asyncio.Task[Any]]:
    """Cancel all that is left on the loop; what has not ended soon never will."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    return (await asyncio.wait(left, timeout=_HANG_SECONDS_MAX))[1] if left else set()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _refused(line: str, code: int) -> int:
    print(" ".join(line.split()), file=sys.stderr, flush=True)
    return code
