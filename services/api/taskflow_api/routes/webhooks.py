"""Webhooks: deliveries and endpoints read, deliveries sent again, and what they are signed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, get_args

from msgspec import Meta, Struct
from msgspec.structs import asdict

from taskflow.domain.callback import EVENTS
from taskflow.domain.errors import BadCursor, NotFound
from taskflow.domain.filters import DeliveryFilters
from taskflow.domain.webhook import DELIVERY_STATUSES, SENDABLE, Delivery, Sendable
from taskflow.engine.signing import SigningSecrets
from taskflow.kit.ids import is_id
from taskflow_api.bodies import refuse_body
from taskflow_api.cursors import PAGING, bind, decode_cursor, decode_id, encode_cursor, page
from taskflow_api.fields import read_fields
from taskflow_api.operation import Answer, Body, Call, Operation
from taskflow_api.queries import one_of, text_of
from taskflow_api.replies import Reply, answer

if TYPE_CHECKING:
    from litestar.types import ASGIApp

OVERLAP_SECONDS_MAX = 30 * 86_400
Overlap = Annotated[
    float,
    Meta(ge=0, le=OVERLAP_SECONDS_MAX, description=f"a number of seconds from 0 to {OVERLAP_SECONDS_MAX}"),
]
EventName = Annotated[Sendable, Meta(description=f"one of {', '.join(get_args(Sendable))}")]


class NewSecret(Struct, forbid_unknown_fields=True):
    """For how long the secrets before go on beside the new one."""

    overlap_seconds: Overlap = 86_400.0


class Trigger(Struct, forbid_unknown_fields=True):
    """What is told; without it, the event of the task's status."""

    event: EventName | None = None


BODIES = (NewSecret, Trigger)

STATUSES = one_of("status", DELIVERY_STATUSES, "Only in this status; repeated: or")
EVENT = one_of("event", SENDABLE, "Only of this event; repeated: or")
URL = text_of("url", 2_000, "Only to this URL")
STATE = one_of("state", ("slowed",), "Only those that have failed too often in a row", many=False)


async def list_of_task(call: Call) -> ASGIApp:
    """Newest first."""
    return await _deliveries(call, call.path["task_id"])


async def list_all(call: Call) -> ASGIApp:
    """Newest first."""
    return await _deliveries(call, None)


async def _deliveries(call: Call, task_id: str | None) -> ASGIApp:
    query = call.query
    filters = DeliveryFilters(
        query["status"], query["event"], query["url"], task_id=task_id, owner=call.caller.sees
    )
    bound = bind(call.operation.id, filters)
    limit = query["limit"]
    before = decode_id(bound, query["cursor"])
    rows = await call.services.deliveries.deliveries(filters, limit + 1, before)
    following = encode_cursor(bound, rows[limit - 1].id) if len(rows) > limit else None
    return page(call.scope["path"], call.scope["query_string"], rows[:limit], following)


async def trigger(call: Call) -> ASGIApp:
    """Send one now."""
    said = await read_fields(call, Trigger)
    made = await call.services.deliveries.send_now(call.path["task_id"], said.event, call.by())
    return answer(_sent(made), 202)


async def replay(call: Call) -> ASGIApp:
    """Send one again."""
    await refuse_body(call)
    task_id, delivery_id = call.path["task_id"], call.path["delivery_id"]
    return answer(_sent(await call.services.deliveries.replay(task_id, delivery_id, call.by())), 202)


def _sent(delivery: Delivery) -> dict[str, Any]:
    return {"delivery_id": delivery.id, **asdict(delivery)}


async def list_endpoints(call: Call) -> ASGIApp:
    """By owner and URL."""
    owner, slowed = call.caller.sees, call.query["state"] == "slowed"
    bound = bind(call.operation.id, owner, slowed)
    limit = call.query["limit"]
    last = decode_cursor(bound, call.query["cursor"])
    rows = await call.services.deliveries.endpoints(owner, limit=limit + 1, after=_after(last), slowed=slowed)
    ends = rows[limit - 1] if len(rows) > limit else None
    following = encode_cursor(bound, f"{ends.owner_id} {ends.url}") if ends else None
    return page(call.operation.path, call.scope["query_string"], rows[:limit], following)


def _after(last: str | None) -> tuple[str, str] | None:
    if last is None:
        return None
    owner_id, _, url = last.partition(" ")
    if not is_id(owner_id) or "\0" in url:
        raise BadCursor("the cursor names no endpoint; expected next_cursor of the page before")
    return owner_id, url


async def list_secrets(call: Call) -> ASGIApp:
    """Newest first; the secrets themselves are not shown."""
    secrets = call.services.signing_secrets
    bound = bind(call.operation.id, call.caller.user_id)
    limit, before = call.query["limit"], decode_id(bound, call.query["cursor"])
    found = [] if secrets is None else await secrets.secrets(call.caller.user_id)
    rows = [row for row in found if before is None or row.id < before]
    following = encode_cursor(bound, rows[limit - 1].id) if len(rows) > limit else None
    return page(call.operation.path, call.scope["query_string"], rows[:limit], following)


async def make_secret(call: Call) -> ASGIApp:
    """A new secret, shown this once."""
    said = await read_fields(call, NewSecret)
    secret, made = await _secrets(call).make(call.caller.user_id, said.overlap_seconds, call.by())
    return answer({"secret": secret, **asdict(made)}, 201)


async def end_secret(call: Call) -> ASGIApp:
    """End one that was replaced."""
    await refuse_body(call)
    await _secrets(call).end(call.caller.user_id, call.path["secret_id"], call.by())
    return Reply(204, b"", media_type="")


def _secrets(call: Call) -> SigningSecrets:
    if call.services.signing_secrets is None:
        raise NotFound("nothing is signed here: neither SEALING_KEY nor SECRET_KEY is set")
    return call.services.signing_secrets


_TASK = "/api/v1/tasks/{task_id}"
_SENT = Answer(202, "The delivery, which goes now", "SentDelivery")


def _trigger(path: str, operation_id: str, summary: str) -> Operation:
    return Operation(
        id=operation_id,
        method="POST",
        path=path,
        tag="Webhooks",
        summary=summary,
        handle=trigger,
        body=Body("Trigger", {"event": EVENTS[0]}, required=False),
        answers=(_SENT,),
        problems=(404, 413, 415),
        scope="operate",
    )


OPERATIONS = (
    Operation(
        id="listTaskWebhookDeliveries",
        method="GET",
        path=f"{_TASK}/webhook-deliveries",
        tag="Webhooks",
        summary="The webhook deliveries of a task, newest first, with their attempts",
        handle=list_of_task,
        query=(STATUSES, EVENT, URL, *PAGING),
        answers=(Answer(200, "A page of deliveries", "DeliveryList"),),
        problems=(404,),
        scope="read",
    ),
    _trigger(f"{_TASK}/webhook-deliveries", "sendWebhook", "Tell a task's callback how the task is now"),
    _trigger(f"{_TASK}/trigger_webhook", "triggerWebhook", "The same"),
    Operation(
        id="replayWebhookDelivery",
        method="POST",
        path=f"{_TASK}/webhook-deliveries/{{delivery_id}}/replay",
        tag="Webhooks",
        summary="Send a delivery again, as it was, with a fresh budget of attempts",
        handle=replay,
        answers=(_SENT,),
        problems=(404, 413, 415),
        scope="operate",
    ),
    Operation(
        id="listWebhookDeliveries",
        method="GET",
        path="/api/v1/webhook-deliveries",
        tag="Webhooks",
        summary="List webhook deliveries, newest first, with their attempts",
        handle=list_all,
        query=(STATUSES, EVENT, URL, *PAGING),
        answers=(Answer(200, "A page of deliveries", "DeliveryList"),),
        scope="read",
    ),
    Operation(
        id="listWebhookEndpoints",
        method="GET",
        path="/api/v1/webhook-endpoints",
        tag="Webhooks",
        summary="The URLs that webhooks went to, and how it goes",
        handle=list_endpoints,
        query=(STATE, *PAGING),
        answers=(Answer(200, "A page of endpoints", "EndpointList"),),
        scope="read",
    ),
    Operation(
        id="listSigningSecrets",
        method="GET",
        path="/api/v1/signing-secrets",
        tag="Webhooks",
        summary="What one's own webhooks and pushes are signed with, newest first",
        handle=list_secrets,
        query=PAGING,
        answers=(Answer(200, "A page of them, without the secrets themselves", "SigningSecretList"),),
        scope="read",
    ),
    Operation(
        id="makeSigningSecret",
        method="POST",
        path="/api/v1/signing-secrets",
        tag="Webhooks",
        summary="Make a signing secret; it is shown once, and those before it sign beside it for a while",
        handle=make_secret,
        body=Body("NewSecret", {"overlap_seconds": 86_400}, required=False),
        answers=(Answer(201, "The secret", "MadeSecret"),),
        problems=(404, 413, 415),
        scope="operate",
    ),
    Operation(
        id="endSigningSecret",
        method="DELETE",
        path="/api/v1/signing-secrets/{secret_id}",
        tag="Webhooks",
        summary="End a signing secret that was replaced before its time",
        handle=end_secret,
        answers=(Answer(204, "Ended", None),),
        problems=(404, 413, 415),
        scope="operate",
    ),
)
