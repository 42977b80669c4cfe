"""bulk: the dlq-consumer works operations off, a step at a time, at the rate of each.

A step is one transaction: it holds the operation's row, takes items of its set, acts on them and counts them. Killed
anywhere, it has happened as a whole or not at all; and an item is acted on only if it is still such that it can be, so
that nothing happens twice, whoever else acts on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from taskflow.bus.announce import publish_control
from taskflow.bus.connect import Bus
from taskflow.domain.account import By
from taskflow.domain.errors import Unavailable
from taskflow.domain.operation import Operation, OperationStatus, verdict
from taskflow.domain.transitions import LIVE
from taskflow.engine.commands import follow
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.meters import OPERATION_ITEMS
from taskflow.kit.logging import get_logger
from taskflow.store import audit_log, commands, operations, steps
from taskflow.store.commands import Commanded
from taskflow.store.connect import Conn, Line
from taskflow.store.errors import Contention, Unstorable
from taskflow.store.steps import Held, Items, Judged

log = get_logger(__name__)

STEP_ITEMS_MAX = 500
STEP_SECONDS = 0.1
"""Between two steps of an operation whose rate would allow more."""
PAUSE_SECONDS_MAX = 1.0
CANARY_SECONDS = 0.5
"""Between two looks at a canary."""
ACTOR, CANARY = "dlq-consumer", "canary"


class Step(NamedTuple):
    """What a step did. `more`: the next one need not wait."""

    pause_seconds: float
    made: Sequence[Commanded] = ()
    done: int = 0
    more: bool = False
    action: str = ""


class Bulk:
    """Works off whatever operations run."""

    def __init__(self, line: Line, bus: Bus, dispatcher: Dispatcher) -> None:
        self._line = line
        self._bus = bus
        self._dispatcher = dispatcher
        self._one_by_one: set[str] = set()

    async def run_once(self) -> float | bool | None:
        """One step of each operation that runs. Returns when to come again: in so many seconds, at once, or None."""
        found = await self._line.run(steps.running)
        self._one_by_one &= set(found)
        if not found:
            return None
        try:
            made = [await self._step(operation_id) for operation_id in found]
        except Unavailable as error:
            log.warning("operations.deferred", error=str(error))
            return PAUSE_SECONDS_MAX
        return True if any(step.more for step in made) else min(step.pause_seconds for step in made)

    async def _step(self, operation_id: str) -> Step:
        most = 1 if operation_id in self._one_by_one else STEP_ITEMS_MAX
        try:
            step = await self._line.run(lambda conn: _stepped(conn, operation_id, most))
        except Contention as error:  # the others go on
            log.warning("operation.deferred", operation_id=operation_id, error=str(error))
            return Step(STEP_SECONDS)
        except Unstorable as error:
            await self._narrow(operation_id, most, error)
            return Step(0, more=True)
        if step.done:
            OPERATION_ITEMS.labels(step.action).inc(step.done)
        await self._follow(step.made)
        return step

    async def _narrow(self, operation_id: str, most: int, error: Unstorable) -> None:
        """PostgreSQL refuses something of a step: its items go one by one until the culprit is found."""
        if most > 1:
            self._one_by_one.add(operation_id)
            return
        log.error("operation.item_failed", operation_id=operation_id, error=str(error))
        await self._line.run(lambda conn: _failed_one(conn, operation_id))
        self._one_by_one.discard(operation_id)

    async def _follow(self, made: Sequence[Commanded]) -> None:
        follow(self._dispatcher, made)
        try:
            for move in made:
                if move.origin == "running":
                    body = {"id": move.moved.id, "version": move.moved.version - 1}
                    await publish_control(self._bus, "cancel", body)
        except Unavailable as error:
            log.warning("command.deferred", command="cancel", error=str(error))  # the next beats tell it


async def _stepped(conn: Conn, operation_id: str, most: int) -> Step:
    async with conn.transaction():
        held = await steps.hold(conn, operation_id)
        if held is None:
            return Step(PAUSE_SECONDS_MAX)
        operation, canary = held.operation, held.operation.canary
        gathered = held.taken >= operation.matched or (canary and canary.replayed >= canary.first)
        if canary and canary.state in {"replaying", "waiting"} and gathered:
            return await _look_at_canary(conn, held)
        if held.taken >= operation.matched:
            await operations.turn(conn, operation_id, ("running",), "done", None)
            await audit_log.write_audit(conn, By(ACTOR), "operation.done", operation_id, _sums(operation))
            log.info("operation.done", operation_id=operation_id, action=operation.action, **_sums(operation))
            return Step(STEP_SECONDS)
        count = min(int(held.tokens + 1e-6), most)
        if canary and canary.state == "replaying":
            count = min(count, canary.first - canary.replayed)
        if count < 1:
            return Step(_until(1 - held.tokens, operation))
        items = await steps.read_items(conn, operation_id, held.taken, count)
        made, done = await _act(conn, operation, items)
        lives = (
            [(move.moved.id, move.life) for move in made] if canary and canary.state == "replaying" else []
        )
        await steps.advance(conn, operation_id, taken=len(items.ids), done=done, lives=lives)
    behind = held.tokens - done > max(operation.rate_per_second * STEP_SECONDS, 1)
    return Step(_until(1, operation), made, done, done < len(items.ids) or behind, operation.action)


def _until(tokens: float, operation: Operation) -> float:
    """Seconds until so many tokens more; not less than a step is worth, nor so long that a pause would be late."""
    return min(max(tokens / operation.rate_per_second, STEP_SECONDS), PAUSE_SECONDS_MAX)


async def _act(conn: Conn, operation: Operation, items: Items) -> tuple[Sequence[Commanded], int]:
    """Do it to those that are still such as they were chosen; the moves that were made, and how many were acted on."""
    by = By(operation.created_by, operation.reason, operation.id)
    match operation.action:
        case "replay":
            made = await commands.replay_letters(conn, items.ids, by)
        case "retry":
            made = await commands.retry_tasks(conn, items.ids, by, versions=items.guards)
        case "cancel":
            statuses = _statuses(operation) or LIVE
            made = await commands.cancel_tasks(conn, items.ids, by, statuses=statuses, lives=items.guards)
        case "discard":
            return (), len(await commands.discard_letters(conn, items.ids, by))
    return made, len(made)


def _statuses(operation: Operation) -> list[str]:
    """The statuses that its filter names."""
    said = msgspec.json.decode(operation.filter).get("status", [])
    return [said] if isinstance(said, str) else said


async def _look_at_canary(conn: Conn, held: Held) -> Step:
    """Wait for the canary's tasks to end, then let the others follow, or stop."""
    operation, canary = held.operation, held.operation.canary
    assert canary is not None
    judged = await steps.judge_canary(conn, held)
    found = verdict(
        steps.canary_plan(canary),
        replayed=canary.replayed,
        over=judged.over,
        succeeded=judged.succeeded,
        failed=judged.failed,
        waited_seconds=held.waited_seconds if canary.state == "waiting" else 0,
    )
    await steps.set_canary(conn, operation.id, found if found in {"passed", "failed"} else "waiting", judged)
    if found is None:
        return Step(CANARY_SECONDS)
    said = _said(canary.replayed, canary.stop_if_failed, judged)
    word = "paused" if found == "unsure" else f"canary_{found}"
    await audit_log.write_audit(conn, By(CANARY, said), f"operation.{word}", operation.id, judged._asdict())
    if found != "passed":
        status: OperationStatus = "paused" if found == "unsure" else "stopped"
        await operations.turn(conn, operation.id, ("running",), status, said)
        log.error("operation.halted", operation_id=operation.id, by=CANARY, status=status, reason=said)
    return Step(0, more=True)


def _said(replayed: int, allowed: int, judged: Judged) -> str:
    return (
        f"canary: {judged.failed} of {replayed} failed for good in their new life, at most {allowed} may; "
        f"{judged.succeeded} completed, {replayed - judged.over} have not ended"
    )


async def _failed_one(conn: Conn, operation_id: str) -> None:
    """Pass over an item that PostgreSQL refuses."""
    async with conn.transaction():
        if await steps.hold(conn, operation_id) is not None:
            await steps.advance(conn, operation_id, taken=1, done=0, failed=1)


def _sums(operation: Operation) -> dict[str, int]:
    return {name: getattr(operation, name) for name in ("matched", "done", "skipped", "failed")}
