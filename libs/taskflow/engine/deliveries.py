"""deliveries: what was sent to whom, and sent again on demand."""

from __future__ import annotations

import msgspec

from taskflow.bus.announce import publish_control
from taskflow.bus.connect import Bus
from taskflow.domain.account import By
from taskflow.domain.callback import EVENT_OF_STATUS, Callback
from taskflow.domain.errors import Invalid, NotFound, Unavailable
from taskflow.domain.filters import DeliveryFilters
from taskflow.domain.webhook import TEST_EVENT, Delivery, Endpoint
from taskflow.kit.logging import get_logger
from taskflow.store import audit_log, history, webhook_reads, webhooks
from taskflow.store.connect import Database

log = get_logger(__name__)

_callback = msgspec.json.Decoder(Callback)


class Deliveries:
    """Webhook deliveries, as callers read and command them."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus

    async def deliveries(self, filters: DeliveryFilters, limit: int, before: str | None) -> list[Delivery]:
        """Newest first, older than `before`. Raises NotFound for those of a task that is not there."""
        async with self._database.connection() as conn:
            if filters.task_id and not await history.task_exists(conn, filters.task_id, filters.owner):
                raise NotFound(f"there is no task {filters.task_id}")
            return await webhook_reads.list_deliveries(conn, filters, limit=limit, before=before)

    async def endpoints(
        self, owner: str | None, *, limit: int, after: tuple[str, str] | None, slowed: bool
    ) -> list[Endpoint]:
        """The URLs that were sent to, by owner and URL."""
        async with self._database.connection() as conn:
            return await webhook_reads.list_endpoints(conn, owner, after=after, limit=limit, slowed=slowed)

    async def send_now(self, task_id: str, event: str | None, by: By) -> Delivery:
        """Tell a task's callback how the task is now, whatever events it asks for."""
        async with self._database.transaction() as conn:
            found = await webhook_reads.read_callback(conn, task_id, by.owner)
            if found is None:
                raise NotFound(f"there is no task {task_id}")
            if found.callback is None:
                raise Invalid("the task has no callback: there is nowhere to send to")
            callback = _callback.decode(found.callback)
            made = await webhooks.send_now(
                conn,
                task_id,
                by.owner,
                event=event or str(EVENT_OF_STATUS.get(found.status, TEST_EVENT)),
                url=callback.url,
                host=callback.host,
                sealed=callback.sealed,
                max_attempts=callback.max_attempts,
            )
            delivery = await webhook_reads.read_delivery(conn, made or "", task_id) if made else None
            if delivery is None:
                raise NotFound(f"there is no task {task_id}")
            await webhooks.allow_try(conn, delivery.id)
            await audit_log.write_audit(conn, by, "webhook.triggered", task_id, {"delivery_id": delivery.id})
        await self._tell()
        return delivery

    async def replay(self, task_id: str, delivery_id: str, by: By) -> Delivery:
        """Send a delivery again, as it was, with a fresh budget of attempts."""
        async with self._database.transaction() as conn:
            if not await webhooks.replay(conn, delivery_id, task_id, by.owner):
                raise NotFound(f"there is no webhook delivery {delivery_id} of task {task_id}")
            delivery = await webhook_reads.read_delivery(conn, delivery_id, task_id, by.owner)
            await webhooks.allow_try(conn, delivery_id)
            await audit_log.write_audit(conn, by, "webhook.replayed", delivery_id, {"task_id": task_id})
        if delivery is None:
            raise NotFound()
        await self._tell()
        return delivery

    async def _tell(self) -> None:
        """The notifier looks at once; without NATS, within seconds."""
        try:
            await publish_control(self._bus, "webhook", {})
        except Unavailable as error:
            log.warning("command.deferred", command="webhook", error=str(error))
