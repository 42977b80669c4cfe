"""The main program of a handler child process: runs `def` handlers, one at a time, where they can be killed.

Started by `process` as `python -m taskflow.handlers.child SOCKET LIFELINE PARENT` in a session of its own.
The main thread runs the handlers; a reader thread hears the worker. Nobody here outlives the worker: the
kernel kills the whole process group when the lifeline's other end closes, however busy this process is.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import inspect
import io
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from types import FrameType
from typing import Any, NoReturn

from taskflow.domain.attempt import Failed, Snoozed, Succeeded
from taskflow.handlers.capture import Capture
from taskflow.handlers.context import CURRENT, Context, Kind, current
from taskflow.handlers.frames import Broken, Bye, Call, Ended, Frame, Hello, Line, Ready, Stop, Unpacker, pack
from taskflow.handlers.given import give
from taskflow.handlers.outcomes import error_info, raised, refused, returned
from taskflow.handlers.registry import Registry, load_registry
from taskflow.handlers.texts import text_of

_F_SETSIG = 10  # Linux; the fcntl module does not name it
_PR_SET_PDEATHSIG = 1
_STOP_SECONDS = 1.0
"""How long a SIGTERM waits for the worker's word: without it, it came from elsewhere and is not for us."""


class Stopped(SystemExit):
    """Raised in a handler by SIGTERM, so that its `finally` blocks run. (A loop lets a SystemExit pass.)"""


class Child:
    """One child process."""

    def __init__(self, wire: socket.socket, parent: int) -> None:
        self._wire = wire
        self._parent = parent
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._context: Context | None = None
        self._cancel: Callable[[], object] | None = None  # set while a coroutine handler runs
        self._running = False  # the main thread is in the handler
        self._sending = False  # the main thread writes a frame, which must not be torn
        self._deferred = False  # SIGTERM came meanwhile
        self._forked = False  # this is a copy that a handler forked

    def run(self) -> None:
        """Import the handlers, then run what is called until the worker says Bye."""
        signal.signal(signal.SIGTERM, self._on_term)
        unpacker = Unpacker()
        registry = self._greeted(unpacker)
        if registry is None:
            return
        os.register_at_fork(after_in_child=self._on_fork)
        threading.Thread(target=self._listen, args=(unpacker,), daemon=True).start()
        with Capture(self._find):
            self._send(Ready())
            while (call := self._calls.get()) is not None:
                self._serve(registry, call)

    def _greeted(self, unpacker: Unpacker) -> Registry | None:
        hello = next(self._frames(unpacker), None)
        if not isinstance(hello, Hello):
            return None
        sys.path[:] = hello.sys_path
        give(hello.given)
        try:
            return load_registry(hello.imports)
        except BaseException as error:  # a module may raise anything while it is imported
            cause = error.__cause__ or error
            failure = raised(cause)
            trace = failure.error.traceback if isinstance(failure, Failed) else None
            message = f"the child process could not import its handlers: {text_of(error)}"
            self._send(Broken(error_info("HandlerImportError", message, trace)))
            return None

    def _frames(self, unpacker: Unpacker) -> Iterator[Frame]:
        while data := self._wire.recv(65_536):
            yield from unpacker.feed(data)

    def _listen(self, unpacker: Unpacker) -> None:
        """The reader thread: hands calls to the main thread, and ends the group when the worker is gone."""
        try:
            for frame in self._frames(unpacker):
                match frame:
                    case Call():
                        self._calls.put(frame)
                    case Bye():
                        self._calls.put(None)
                    case Stop():
                        if self._context is not None:
                            self._context._cancelled = True
                        self._stop.set()  # last: SIGTERM waits for it
        finally:
            _kill_group()

    def _find(self) -> Context | None:
        """Whose prints these are: one handler runs at a time, so those of its own threads are its too."""
        context = self._context
        return current() or (None if context is None or context._closed else context)

    def _serve(self, registry: Registry, call: Call) -> None:
        signal.signal(signal.SIGTERM, self._on_term)  # the handler before may have set its own
        context = Context(call.claimed, call.deadline, self._emit)
        self._context = context
        token = CURRENT.set(context)
        try:
            outcome = self._outcome(registry, call, context)
            context._close()
        finally:
            CURRENT.reset(token)
            self._context = None
        if self._stop.is_set() or self._forked:
            _leave()
        self._send(Ended.of(outcome))

    def _outcome(self, registry: Registry, call: Call, context: Context) -> Succeeded | Failed | Snoozed:
        claimed = call.claimed
        spec = registry.types.get(claimed.type)
        if spec is None:
            message = f"the child process found no handler for {claimed.type!r} in the modules it imported"
            return Failed(error_info("HandlerImportError", message))
        try:
            arguments = spec.arguments(claimed.payload, context)
        except Exception as error:
            return refused(error)
        try:
            value = self._call(spec.function, arguments)
        except BaseException as error:
            return raised(error)
        return returned(value, arguments, claimed)

    def _call(self, function: Any, arguments: tuple[Any, ...]) -> object:
        """Run the handler where SIGTERM can reach it."""
        self._running = True
        try:
            if self._stop.is_set():  # it came before the handler began
                raise Stopped
            value = function(*arguments)
            return asyncio.run(self._watched(value)) if inspect.iscoroutine(value) else value
        finally:
            self._running = False

    async def _watched(self, handler: Coroutine[Any, Any, object]) -> object:
        """Run a coroutine handler so that SIGTERM cancels it, as it would on the worker's loop."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        self._cancel = partial(loop.call_soon_threadsafe, task.cancel) if task else None
        try:
            return await handler
        finally:
            self._cancel = None

    def _on_term(self, _number: int, _frame: FrameType | None) -> None:
        if os.getppid() != self._parent:
            _kill_group()
        if not self._stop.wait(_STOP_SECONDS):
            return  # a supervisor signals every process at once: the worker drains, and we finish for it
        if self._sending:
            self._deferred = True
        else:
            self._interrupt()

    def _interrupt(self) -> None:
        if self._cancel is not None:
            self._cancel()
        elif self._running:
            self._running = False
            raise Stopped
        else:
            _leave()

    def _on_fork(self) -> None:
        """A handler forked: the copy must not speak for us, and dies of SIGTERM as any process does."""
        self._forked = True
        self._context = None
        CURRENT.set(None)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._wire.close()

    def _emit(self, kind: Kind, level: str, text: str, fraction: float | None) -> None:
        if not self._forked:
            self._send(Line(kind, level, text, fraction))

    def _send(self, frame: Frame) -> None:
        if threading.current_thread() is not threading.main_thread():
            with self._lock:
                self._wire.sendall(pack(frame))
            return
        self._sending = True
        try:
            with self._lock:
                self._wire.sendall(pack(frame))
        finally:
            self._sending = False
        if self._deferred:
            self._deferred = False
            self._interrupt()


def _leave() -> NoReturn:
    """End now, without the interpreter's tidying: the handler's own `finally` blocks have run."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _kill_group() -> None:
    os.killpg(os.getpid(), signal.SIGKILL)


def _hold_lifeline(lifeline: int) -> None:
    """Have the kernel SIGKILL the group when the worker's end closes, and SIGTERM us when the worker dies.

    PDEATHSIG reaches no grandchild, and hearing an end of file waits for the interpreter's lock; the lifeline
    waits for nobody. PDEATHSIG covers one kept open by a copy that the worker forked.
    """
    if sys.platform != "linux":
        return
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpid())
    fcntl.fcntl(lifeline, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def main(arguments: list[str]) -> None:
    """Take up the file descriptors the worker passed on, and serve."""
    wire, lifeline, parent = (int(argument) for argument in arguments)
    for descriptor in (wire, lifeline):
        os.set_inheritable(descriptor, False)
    _hold_lifeline(lifeline)
    if os.getppid() != parent:  # it died before we looked
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    Child(socket.socket(fileno=wire), parent).run()


if __name__ == "__main__":
    main(sys.argv[1:])
