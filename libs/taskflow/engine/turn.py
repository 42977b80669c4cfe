"""turn: what time alone brings. Tasks come due and are queued; tasks nobody started in time expire."""

from __future__ import annotations

from taskflow.bus.publisher import Doorbell
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.lookout import Lookout
from taskflow.store import tending
from taskflow.store.connect import Line

PAGE = 5_000
PAUSE_SECONDS_MIN = 0.1
"""Tasks that come due one soon after the other are turned together."""


class Turner:
    """Moves a page of tasks whose time has come."""

    def __init__(self, line: Line, dispatcher: Dispatcher, lookout: Lookout) -> None:
        self._line = line
        self._dispatcher = dispatcher
        self._lookout = lookout

    async def run_once(self) -> bool | float:
        """Returns whether there is more to do; or, if it is known, in how many seconds the next task comes due."""
        signs = await self._lookout.look()
        if signs.ripe and await self._turn() >= PAGE:
            return True
        return False if signs.due_in_seconds is None else max(signs.due_in_seconds, PAUSE_SECONDS_MIN)

    async def _turn(self) -> int:
        turned = await self._line.run(lambda conn: tending.turn_tasks(conn, PAGE))
        self._dispatcher.tell([item.moved for item in turned])
        if any(item.is_told for item in turned):
            self._dispatcher.deliver()
        self._dispatcher.ring(
            [
                Doorbell(item.moved.id, item.moved.lane, item.moved.queue, item.rung_at, item.moved.version)
                for item in turned
                if item.rung_at is not None
            ]
        )
        return len(turned)
