"""turn: what time alone brings. Tasks come due and are queued; tasks nobody started in time expire."""

from __future__ import annotations

from taskflow.bus.publisher import Doorbell
from taskflow.engine.dispatch import Dispatcher
from taskflow.store import tending
from taskflow.store.connect import Line

PAGE = 5_000


class Turner:
    """Moves a page of tasks whose time has come."""

    def __init__(self, line: Line, dispatcher: Dispatcher) -> None:
        self._line = line
        self._dispatcher = dispatcher

    async def run_once(self) -> bool:
        """Returns whether there is more to do."""
        turned = await self._line.run(lambda conn: tending.turn_tasks(conn, PAGE))
        self._dispatcher.tell([item.moved for item in turned])
        self._dispatcher.ring(
            [
                Doorbell(item.moved.id, item.moved.lane, item.moved.queue, item.rung_at, item.moved.version)
                for item in turned
                if item.rung_at is not None
            ]
        )
        return len(turned) >= PAGE
