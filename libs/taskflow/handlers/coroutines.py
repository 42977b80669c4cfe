"""Runs `async def` handlers on the worker's loop: the hot path of small tasks. Used by the runner."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import partial

from taskflow.domain.attempt import Outcome, Released
from taskflow.domain.task import Claimed
from taskflow.handlers.context import CURRENT, Context, Kind
from taskflow.handlers.held import Held
from taskflow.handlers.outcomes import raised, refused, returned, timed_out
from taskflow.handlers.registry import HandlerSpec

History = Callable[[Claimed, Kind, str, str, float | None], None]
"""`on_history(claimed, kind, level, text, fraction)`: a plain function, called on the loop."""

Ending = asyncio.Future[Outcome | None]
"""How a handler ended; None if it did not say."""


class Coroutines:
    """`stuck`: handlers that were given up and still run, since when: they swallow the cancel.

    Keys are (task id, version), times those of `time.monotonic`.
    """

    def __init__(self, grace_seconds: float, on_history: History) -> None:
        self._grace_seconds = grace_seconds
        self._on_history = on_history
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.stuck: dict[tuple[str, int], float] = {}
        self.refusing = False

    async def run(self, spec: HandlerSpec, held: Held) -> Outcome:
        """Run one handler until it ends or is given up."""
        claimed, loop = held.claimed, self._loop
        context = Context(claimed, time.time() + claimed.timeout_seconds, partial(self._emit, claimed))
        variables = copy_context()
        variables.run(CURRENT.set, context)
        ended: Ending = loop.create_future()
        held.begin()
        held.coroutine = task = loop.create_task(self._invoke(spec, context, held, ended), context=variables)
        held.on_stop = partial(self._stop, held, context, task, ended)
        timer = loop.call_later(claimed.timeout_seconds, self._expire, held)
        try:
            outcome = await ended
        finally:
            timer.cancel()
            context._close()
            held.coroutine = None
            if held.stopping is not None or ended.cancelled():
                self._abandon(task, claimed)
        return held.end() or outcome or Released("the worker's loop is closing", begun=False)

    async def _invoke(self, spec: HandlerSpec, context: Context, held: Held, ended: Ending) -> None:
        """The loop's task of one handler. It tells `ended` itself: a callback would cost a turn of the loop."""
        held.begun = True
        if self.refusing:  # asked after `begun` is set: who refuses looks at them in the other order
            held.begun = False
            _silent(ended)
            return
        try:
            outcome = await _outcome(spec, context, held.claimed)
            context._close()
        except BaseException as error:  # not the handler's: the history has failed, or the loop closes
            if not ended.done():
                ended.set_exception(error)
            return
        held.ended = True
        if not ended.done():
            ended.set_result(outcome)

    def _expire(self, held: Held) -> None:
        held.stop(timed_out(held.claimed))

    def _stop(self, held: Held, context: Context, task: asyncio.Task[None], ended: Ending) -> None:
        context._cancelled = True
        task.cancel()
        task.add_done_callback(partial(_silent, ended))
        grace = self._loop.call_later(self._grace_seconds, _silent, ended, task)
        ended.add_done_callback(lambda _: grace.cancel())

    def _abandon(self, task: asyncio.Task[None], claimed: Claimed) -> None:
        """Nobody waits for the handler any more: it was given up, or the caller itself is cancelled."""
        if task.done():
            return
        task.cancel()
        key = (claimed.id, claimed.version)
        self.stuck[key] = time.monotonic()
        task.add_done_callback(lambda _: self.stuck.pop(key, None))

    def _emit(self, claimed: Claimed, kind: Kind, level: str, text: str, fraction: float | None) -> None:
        if threading.get_ident() == self._thread:
            self._on_history(claimed, kind, level, text, fraction)
        else:  # from asyncio.to_thread
            self._loop.call_soon_threadsafe(self._on_history, claimed, kind, level, text, fraction)


async def _outcome(spec: HandlerSpec, context: Context, claimed: Claimed) -> Outcome:
    """Call the handler; whatever it raises becomes a value here, for a SystemExit would end the loop."""
    try:
        arguments = spec.arguments(claimed.payload, context)
    except Exception as error:
        return refused(error)
    try:
        return returned(await spec.function(*arguments), arguments, claimed)
    except GeneratorExit:
        raise
    except BaseException as error:
        return raised(error)


def _silent(ended: Ending, _task: asyncio.Task[None] | None = None) -> None:
    """The handler said nothing: it was cancelled before its first step, or is given up."""
    if not ended.done():
        ended.set_result(None)
