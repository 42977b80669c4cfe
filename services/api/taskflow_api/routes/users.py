"""Accounts as admins see and change them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from taskflow.domain.account import ROLES
from taskflow.domain.errors import Invalid, Problem
from taskflow.engine.accounts import NewAccount
from taskflow_api.account_bodies import NewUser, Registration, UserChange
from taskflow_api.bodies import reason_of, refuse_body
from taskflow_api.cursors import PAGING, bind, decode_id, encode_cursor, page
from taskflow_api.fields import read_fields
from taskflow_api.operation import Answer, Body, Call, Operation
from taskflow_api.problems import refusal
from taskflow_api.queries import one_of, text_of
from taskflow_api.replies import Reply, answer
from taskflow_api.routes.auth import keyed, new_account

if TYPE_CHECKING:
    from litestar.types import ASGIApp

BODIES = (NewUser, UserChange)


async def list_users(call: Call) -> ASGIApp:
    """Newest first."""
    role, name = call.query["role"], call.query["name"]
    bound = bind(call.operation.id, role, name)
    limit = call.query["limit"]
    before = decode_id(bound, call.query["cursor"])
    rows = await call.services.users.users(limit + 1, before, role, name)
    following = encode_cursor(bound, rows[limit - 1].id) if len(rows) > limit else None
    return page(call.operation.path, call.scope["query_string"], rows[:limit], following)


async def make_user(call: Call) -> ASGIApp:
    """A new account."""
    accounts = keyed(call.services.accounts)
    said = await read_fields(call, NewUser)
    new = new_account(Registration(said.username, said.email, said.password, said.password))
    new = NewAccount(new.username, new.email, new.password, said.role)
    made = await accounts.register(new, call.by(), by_admin=True)
    return answer(made, 201, [("location", f"/api/v1/users/{made.user.id}")])


async def read_user(call: Call) -> ASGIApp:
    """One account."""
    return answer(await call.services.users.user(call.path["user_id"]))


async def change_user(call: Call) -> ASGIApp:
    """Other rights."""
    said = await read_fields(call, UserChange)
    if said.role is UNSET and said.disabled is UNSET:
        raise refusal(Invalid, [Problem("expected role, disabled or both", pointer="")])
    role, disabled = said.role or None, None if said.disabled is UNSET else said.disabled
    user = await call.services.users.set_rights(call.path["user_id"], role, disabled, call.by())
    return answer(user)


async def delete_user(call: Call) -> ASGIApp:
    """Delete an account."""
    reason = await reason_of(call)
    await call.services.users.delete(call.path["user_id"], call.by(reason))
    return Reply(204, b"", media_type="")


async def restore_user(call: Call) -> ASGIApp:
    """Take a deletion back."""
    await refuse_body(call)
    return answer(await call.services.users.restore(call.path["user_id"], call.by()))


_USER = "/api/v1/users/{user_id}"
OPERATIONS = (
    Operation(
        id="listUsers",
        method="GET",
        path="/api/v1/users",
        tag="Accounts",
        summary="List accounts, newest first",
        handle=list_users,
        query=(
            one_of("role", ROLES, "Only of this role", many=False),
            text_of("name", 254, "Only if username or e-mail address hold this text"),
            *PAGING,
        ),
        answers=(Answer(200, "A page of accounts", "UserList"),),
        scope="admin",
    ),
    Operation(
        id="makeUser",
        method="POST",
        path="/api/v1/users",
        tag="Accounts",
        summary="Make an account for somebody",
        handle=make_user,
        body=Body("NewUser", {"email": "ann@example.org", "role": "user"}),
        answers=(
            Answer(201, "The account, its first API key and its signing secret", "Registered", ("Location",)),
        ),
        problems=(409, 413, 415),
        scope="admin",
    ),
    Operation(
        id="readUser",
        method="GET",
        path=_USER,
        tag="Accounts",
        summary="Read an account",
        handle=read_user,
        answers=(Answer(200, "The account", "User"),),
        problems=(404,),
        scope="admin",
    ),
    Operation(
        id="changeUser",
        method="PATCH",
        path=_USER,
        tag="Accounts",
        summary="Give an account another role, disable or enable it",
        handle=change_user,
        body=Body("UserChange", {"disabled": True}),
        answers=(Answer(200, "The account", "User"),),
        problems=(404, 413, 415),
        scope="admin",
    ),
    Operation(
        id="deleteUser",
        method="DELETE",
        path=_USER,
        tag="Accounts",
        summary="Delete an account; its tasks stay until their own end",
        handle=delete_user,
        body=Body("WithReason", {"reason": "has left"}, required=False),
        answers=(Answer(204, "Deleted; it can be restored for a while", None),),
        problems=(404, 413, 415),
        scope="admin",
    ),
    Operation(
        id="restoreUser",
        method="POST",
        path=f"{_USER}/restore",
        tag="Accounts",
        summary="Restore a deleted account",
        handle=restore_user,
        answers=(Answer(200, "The account", "User"),),
        problems=(404, 413, 415),
        scope="admin",
    ),
)
