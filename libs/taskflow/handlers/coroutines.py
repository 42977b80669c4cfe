"""Runs `async def` handlers on the worker's loop: the hot path of small tasks. Used by the runner.

A handler costs one task of the loop and nothing else: its end is told by a plain call, its deadline is watched for all
handlers together.
"""

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
from taskflow.handlers.deadlines import Deadlines
from taskflow.handlers.held import Held
from taskflow.handlers.outcomes import raised, refused, returned
from taskflow.handlers.registry import HandlerSpec
from taskflow.kit import tracing

History = Callable[[Claimed, Kind, str, str, float | None], None]
"""`on_history(claimed, kind, level, text, fraction)`: a plain function, called on the loop."""


class Coroutines:
    """`stuck`: handlers that were given up and still run, since when: they swallow the cancel.

    Keys are (task id, version), times those of `time.monotonic`. `on_end(held, outcome)` is called once for each.
    """

    def __init__(
        self,
        grace_seconds: float,
        deadlines: Deadlines,
        on_history: History,
        on_end: Callable[[Held, Outcome | BaseException], None],
    ) -> None:
        self._grace_seconds = grace_seconds
        self._deadlines = deadlines
        self._on_history = on_history
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.stuck: dict[tuple[str, int], float] = {}
        self.refusing = False

    def start(self, spec: HandlerSpec, held: Held) -> None:
        """Run one handler until it ends or is given up."""
        claimed = held.claimed
        held.context = context = Context(
            claimed, time.time() + claimed.timeout_seconds, partial(self._emit, claimed)
        )
        variables = copy_context()
        variables.run(CURRENT.set, context)
        if claimed.trace is not None and (tracer := tracing.tracer()) is not None:
            tracer.enter(variables, claimed.trace)
        held.on_stop = self._stop
        self._deadlines.watch(held)
        held.coroutine = self._loop.create_task(self._invoke(spec, context, held), context=variables)

    def give_up(self, held: Held) -> None:
        """Wait for this handler no longer: it is told to end, and stuck until it does."""
        task = held.coroutine
        if task is not None and not task.done():
            task.cancel()
            key = (held.claimed.id, held.claimed.version)
            self.stuck[key] = time.monotonic()
            task.add_done_callback(lambda _: self.stuck.pop(key, None))
        self._tell(held, None)

    async def _invoke(self, spec: HandlerSpec, context: Context, held: Held) -> None:
        """The loop's task of one handler."""
        held.begun = True
        if self.refusing:  # asked after `begun` is set: who refuses looks at them in the other order
            held.begun = False
            self._tell(held, None)
            return
        try:
            outcome = await _outcome(spec, context, held.claimed)
            context._close()
        except BaseException as error:  # not the handler's: the history has failed, or the loop closes
            self._tell(held, error)
            return
        held.ended = True
        self._tell(held, outcome)

    def _tell(self, held: Held, outcome: Outcome | BaseException | None) -> None:
        """None: the handler said nothing. It was cancelled before its first step, or is given up."""
        if held.told:
            return
        held.told = True
        if held.context is not None and not held.context._closed:
            held.context._close()
        held.coroutine = held.context = None  # they refer to `held`: cycles would keep the collector busy
        if isinstance(outcome, BaseException):
            self._on_end(held, outcome)
        else:
            end = held.end() or outcome or Released("the worker's loop is closing", begun=False)
            self._on_end(held, end)

    def _stop(self, held: Held) -> None:
        task = held.coroutine
        if held.context is None or task is None:
            return
        held.context._cancelled = True
        task.cancel()
        task.add_done_callback(lambda _: self._tell(held, None))
        grace = self._loop.call_later(self._grace_seconds, self.give_up, held)
        task.add_done_callback(lambda _: grace.cancel())

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
        if spec.run is not None:
            return await spec.run(claimed)
        return returned(await spec.function(*arguments), arguments, claimed)
    except GeneratorExit:
        raise
    except BaseException as error:
        return raised(error)
