"""API keys: made, listed, replaced, revoked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct
from msgspec.structs import asdict

from taskflow.domain.account import USER_SCOPES, Scope
from taskflow.domain.errors import Invalid, Problem
from taskflow.engine.api_keys import MadeKey
from taskflow.kit.clock import now
from taskflow_api.bodies import reason_of
from taskflow_api.cursors import PAGING, bind, decode_id, encode_cursor, page
from taskflow_api.fields import read_fields
from taskflow_api.operation import Answer, Body, Call, Operation
from taskflow_api.problems import refusal
from taskflow_api.queries import id_of
from taskflow_api.replies import Reply, answer

if TYPE_CHECKING:
    from litestar.types import ASGIApp

YEARS_AHEAD_MAX = 10
OVERLAP_SECONDS_MAX = 30 * 86_400
KeyName = Annotated[
    str,
    Meta(min_length=1, max_length=100, pattern=r"\A[^\x00]*\Z", description="text of 1 to 100 characters"),
]
Scopes = Annotated[
    list[Scope],
    Meta(min_length=1, max_length=5, description="a list of some of submit, read, operate, work, admin"),
]
Expiry = Annotated[
    datetime, Meta(tz=True, description="a time with offset, such as 2027-01-31T12:00:00Z, or null")
]
Overlap = Annotated[
    float,
    Meta(ge=0, le=OVERLAP_SECONDS_MAX, description=f"a number of seconds from 0 to {OVERLAP_SECONDS_MAX}"),
]


class NewKey(Struct, forbid_unknown_fields=True):
    """A key to be made. Without `scopes` it allows what its maker may do, but for `admin`."""

    name: KeyName = "unnamed"
    scopes: Scopes | None = None
    expires_at: Expiry | None = None


class KeyRotation(Struct, forbid_unknown_fields=True):
    """For how long the old key goes on beside the new one."""

    overlap_seconds: Overlap = 86_400.0


BODIES = (NewKey, KeyRotation)


async def make_key(call: Call) -> ASGIApp:
    """A new key."""
    said = await read_fields(call, NewKey)
    moment = now()
    if said.expires_at is not None and not (
        moment < said.expires_at < moment + timedelta(days=366 * YEARS_AHEAD_MAX)
    ):
        fault = Problem(
            f"expected a time in the future, at most {YEARS_AHEAD_MAX} years ahead", pointer="/expires_at"
        )
        raise refusal(Invalid, [fault])
    scopes = sorted(set(said.scopes) if said.scopes is not None else call.caller.scopes & USER_SCOPES)
    made = await call.services.api_keys.make(call.caller, said.name, scopes, said.expires_at, call.by())
    return answer(_shown(made), 201, [("location", f"/api/v1/api-keys/{made.api_key.id}")])


async def list_keys(call: Call) -> ASGIApp:
    """Newest first."""
    owner, user_id = call.caller.sees, call.query["user_id"]
    bound = bind(call.operation.id, owner, user_id)
    limit = call.query["limit"]
    before = decode_id(bound, call.query["cursor"])
    rows = await call.services.api_keys.keys(owner, limit + 1, before, user_id)
    following = encode_cursor(bound, rows[limit - 1].id) if len(rows) > limit else None
    return page(call.operation.path, call.scope["query_string"], rows[:limit], following)


async def read_key(call: Call) -> ASGIApp:
    """One key."""
    return answer(await call.services.api_keys.key(call.path["key_id"], call.caller.sees))


async def rotate_key(call: Call) -> ASGIApp:
    """A new key in place of one."""
    said = await read_fields(call, KeyRotation)
    made = await call.services.api_keys.replace(
        call.caller, call.path["key_id"], said.overlap_seconds, call.by()
    )
    return answer(_shown(made), 201, [("location", f"/api/v1/api-keys/{made.api_key.id}")])


async def revoke_key(call: Call) -> ASGIApp:
    """End a key."""
    reason = await reason_of(call)
    await call.services.api_keys.revoke(call.path["key_id"], call.by(reason))
    return Reply(204, b"", media_type="")


def _shown(made: MadeKey) -> dict[str, Any]:
    return {"key": made.key, **asdict(made.api_key)}


_KEY = "/api/v1/api-keys/{key_id}"
OPERATIONS = (
    Operation(
        id="listApiKeys",
        method="GET",
        path="/api/v1/api-keys",
        tag="Accounts",
        summary="List API keys, newest first",
        handle=list_keys,
        query=(id_of("user_id", "Only of this account; for admins"), *PAGING),
        answers=(Answer(200, "A page of keys", "ApiKeyList"),),
        scope="read",
    ),
    Operation(
        id="makeApiKey",
        method="POST",
        path="/api/v1/api-keys",
        tag="Accounts",
        summary="Make an API key; it is shown once",
        description="It allows no more than the credentials it is made with, and if these are a key, not for longer.",
        handle=make_key,
        body=Body("NewKey", {"name": "deploy", "scopes": ["submit", "read"]}, required=False),
        answers=(Answer(201, "The key", "MadeKey", ("Location",)),),
        problems=(413, 415),
        scope="operate",
    ),
    Operation(
        id="readApiKey",
        method="GET",
        path=_KEY,
        tag="Accounts",
        summary="Read what is known of an API key",
        handle=read_key,
        answers=(Answer(200, "The key, without itself", "ApiKey"),),
        problems=(404,),
        scope="read",
    ),
    Operation(
        id="rotateApiKey",
        method="POST",
        path=f"{_KEY}/rotate",
        tag="Accounts",
        summary="Replace one's own API key; the old one goes on for a while",
        handle=rotate_key,
        body=Body("KeyRotation", {"overlap_seconds": 3600}, required=False),
        answers=(Answer(201, "The new key", "MadeKey", ("Location",)),),
        problems=(404, 409, 413, 415),
        scope="operate",
    ),
    Operation(
        id="revokeApiKey",
        method="DELETE",
        path=_KEY,
        tag="Accounts",
        summary="Revoke an API key: refused everywhere within 5 seconds",
        handle=revoke_key,
        body=Body("WithReason", {"reason": "was in a log"}, required=False),
        answers=(Answer(204, "Revoked", None),),
        problems=(404, 413, 415),
        scope="operate",
    ),
)
