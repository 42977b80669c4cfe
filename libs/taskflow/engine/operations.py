"""What operators command of many: accept an operation, look at what it would do, pause, resume and stop it.

The dlq-consumer works operations off (`bulk`). It is told at once, or finds them when it next looks.
"""

from __future__ import annotations

from taskflow.bus.announce import publish_control
from taskflow.bus.connect import Bus
from taskflow.domain.account import By
from taskflow.domain.dead_letter import DeadLetterDetail
from taskflow.domain.errors import Invalid, NotFound, OperationFinished, Overloaded, Problem, Unavailable
from taskflow.domain.filters import AuditFilters, LetterFilters, OperationFilters
from taskflow.domain.operation import (
    OPEN,
    AuditEvent,
    Operation,
    OperationDetail,
    OperationStatus,
    Plan,
    Preview,
)
from taskflow.domain.task import Task
from taskflow.kit.ids import new_id
from taskflow.kit.logging import get_logger
from taskflow.store import audit_log, dead_letters, operations, tasks
from taskflow.store.connect import Conn, Database
from taskflow.store.tasks import Wanted

log = get_logger(__name__)

ITEMS_MAX = 1_000_000
"""Items one operation may act on."""
OPEN_MAX = 100
"""Operations that may run or be paused at once."""
SAMPLE = 10
EVENTS_SHOWN = 200
_ORIGINS: dict[str, tuple[OperationStatus, ...]] = {
    "paused": ("running",), "running": ("paused",), "stopped": OPEN,
}  # fmt: skip
_WORDS = {"paused": "paused", "running": "resumed", "stopped": "stopped"}


class Operations:
    """Operations as the api sees them."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus

    async def accept(self, plan: Plan, filters: OperationFilters) -> Operation:
        """Write the operation and its set: what matches now, the oldest first."""
        operation_id = new_id()
        async with self._database.transaction() as conn:
            if await operations.count_open(conn) >= OPEN_MAX:
                raise Overloaded(f"{OPEN_MAX} operations are open; stop one or wait", retry_after_seconds=5)
            matched = await operations.take(
                conn, operation_id, filters, most=_most(plan.limit), retries=plan.action == "retry"
            )
            _refuse_too_many(matched)
            await operations.add(conn, operation_id, plan, matched)
            told = {"action": plan.action, "matched": matched}
            await audit_log.write_audit(conn, plan.by, "operation.accepted", operation_id, told)
            accepted = await _read(conn, operation_id, plan.by)
        log.info("operation.accepted", operation_id=operation_id, action=plan.action, matched=matched)
        await self._tell()
        return accepted

    async def preview(self, filters: OperationFilters, limit: int | None) -> Preview:
        """What an operation with this filter would act on, and the first of it."""
        async with self._database.connection() as conn:
            by_type, first = await operations.preview(conn, filters, most=_most(limit), examples=SAMPLE)
            sample: dict[str, DeadLetterDetail] | dict[str, Task]
            if isinstance(filters, LetterFilters):
                sample = await dead_letters.read_letters(conn, first, payload=False)
            else:
                wanted = [Wanted(one) for one in first]
                sample = {found.id: found for found in (await tasks.read_tasks(conn, wanted)).values()}
        matched = sum(by_type.values())
        _refuse_too_many(matched)
        return Preview(matched, by_type, [sample[one] for one in first if one in sample])

    async def operation(self, operation_id: str, owner: str | None = None) -> OperationDetail | None:
        """One operation with what happened to it, or None; of an owner: only his."""
        async with self._database.connection() as conn:
            found = await operations.read(conn, operation_id, owner)
            if found is None:
                return None
            told = await audit_log.list_audit(
                conn, AuditFilters(targets=(operation_id,)), limit=EVENTS_SHOWN, before=None
            )
        plain = {name: getattr(found, name) for name in found.__struct_fields__}
        return OperationDetail(**plain, events=told[::-1])

    async def operations(
        self, statuses: tuple[OperationStatus, ...], limit: int, before: str | None, owner: str | None = None
    ) -> list[Operation]:
        """Newest first, older than `before`; of an owner: only his."""
        async with self._database.connection() as conn:
            return await operations.list_operations(conn, statuses, limit=limit, before=before, owner=owner)

    async def audit(self, filters: AuditFilters, limit: int, before: str | None) -> list[AuditEvent]:
        """The audit log, newest first, older than `before`."""
        async with self._database.connection() as conn:
            return await audit_log.list_audit(conn, filters, limit=limit, before=before)

    async def turn(self, operation_id: str, status: OperationStatus, by: By) -> Operation:
        """Pause (`paused`), resume (`running`) or stop an operation. One that is so already is answered as it is."""
        async with self._database.transaction() as conn:
            turned = await operations.turn(conn, operation_id, _ORIGINS[status], status, by.reason, by.owner)
            if turned is not None:
                await audit_log.write_audit(conn, by, f"operation.{_WORDS[status]}", operation_id)
            else:
                turned = await _read(conn, operation_id, by)
                if turned.status not in OPEN and turned.status != status:
                    raise OperationFinished(current_status=turned.status)
        await self._tell()
        return turned

    async def _tell(self) -> None:
        try:
            await publish_control(self._bus, "operation", {})
        except Unavailable as error:
            log.warning("command.deferred", command="operation", error=str(error))


async def _read(conn: Conn, operation_id: str, by: By) -> Operation:
    found = await operations.read(conn, operation_id, by.owner)
    if found is None:
        raise NotFound(f"there is no operation {operation_id}")
    return found


def _most(limit: int | None) -> int:
    """One more than may be, so that it is seen that there are too many."""
    return ITEMS_MAX + 1 if limit is None else limit


def _refuse_too_many(matched: int) -> None:
    if matched > ITEMS_MAX:
        fault = f"matches over {ITEMS_MAX} items; expected a narrower filter, or a limit"
        raise Invalid(f"the filter {fault}", problems=[Problem(fault, pointer="/filter")])
