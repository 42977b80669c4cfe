"""Accounts and sign-ins of their owners: register, sign in and out, profile, password."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import asdict

from taskflow.domain.account import Profile, User
from taskflow.domain.errors import Invalid, Problem, Unauthenticated, Unavailable
from taskflow.engine.accounts import NewAccount
from taskflow_api.account_bodies import (
    PasswordChange,
    ProfileChange,
    RefreshBody,
    Registration,
    SignInBody,
    SignOutBody,
    VerifyBody,
)
from taskflow_api.addresses import network_of
from taskflow_api.bodies import refuse_body
from taskflow_api.fields import read_fields
from taskflow_api.operation import Answer, Body, Call, Operation
from taskflow_api.problems import refusal
from taskflow_api.replies import Reply, answer

if TYPE_CHECKING:
    from litestar.types import ASGIApp

T = TypeVar("T")


BODIES = (Registration, SignInBody, RefreshBody, SignOutBody, VerifyBody, ProfileChange, PasswordChange)


def keyed(service: T | None) -> T:
    """What works with SECRET_KEY alone."""
    if service is None:
        raise Unavailable("SECRET_KEY is not set for this api: it makes no accounts and signs nobody in")
    return service


def new_account(said: Registration) -> NewAccount:
    """The account a body asks for. Raises Invalid for what its fields alone cannot tell."""
    problems = []
    if not (said.email or said.username):
        problems.append(Problem("is required, or username; expected an e-mail address", pointer="/email"))
    if said.username and not (said.email or said.password):
        problems.append(Problem("is required beside username", pointer="/password"))
    if said.password_confirm != said.password:
        problems.append(Problem("expected the password once more", pointer="/password_confirm"))
    if problems:
        raise refusal(Invalid, problems)
    return NewAccount(said.username or None, said.email or None, said.password or None)


async def register(call: Call) -> ASGIApp:
    """Make an account."""
    call.services.admission.refuse_strangers(call.scope)
    accounts = keyed(call.services.accounts)
    new = new_account(await read_fields(call, Registration))
    return answer(await accounts.register(new, call.by(), by_admin=False), 201)


async def sign_in(call: Call) -> ASGIApp:
    """Password for tokens."""
    service = keyed(call.services.sign_in)
    said = await read_fields(call, SignInBody)
    name = said.username or said.email
    if not name:
        raise refusal(
            Invalid, [Problem("is required; expected a username or e-mail address", pointer="/username")]
        )
    return answer(await service.sign_in(name, said.password, call.by(), network_of(call.address)))


async def refresh(call: Call) -> ASGIApp:
    """Refresh token for the next tokens."""
    said = await read_fields(call, RefreshBody)
    return answer(await keyed(call.services.sign_in).refresh(said.refresh_token, call.by()))


async def verify(call: Call) -> ASGIApp:
    """Whose a token or key is, and what it allows."""
    said = await read_fields(call, VerifyBody)
    caller = await call.services.credentials.caller(said.token)
    scopes = sorted(caller.scopes)
    return answer({"active": True, "user_id": caller.user_id, "name": caller.name, "scopes": scopes})


async def sign_out(call: Call) -> ASGIApp:
    """End a session."""
    service = keyed(call.services.sign_in)
    said = await read_fields(call, SignOutBody)
    if said.refresh_token:
        await service.sign_out_by(said.refresh_token, call.by())
        return Reply(204, b"", media_type="")
    call.caller = await call.services.admission.caller(call.scope)
    if call.caller.session_id is None:
        raise Unauthenticated(
            "these credentials are of no session; expected an access token, or refresh_token"
        )
    await service.sign_out(call.caller.session_id, call.by())
    return Reply(204, b"", media_type="")


async def read_profile(call: Call) -> ASGIApp:
    """Who calls."""
    return answer(_profile(call, await call.services.users.user(call.caller.user_id)))


async def change_profile(call: Call) -> ASGIApp:
    """Other names for who calls."""
    said = await read_fields(call, ProfileChange)
    user = await call.services.users.rename(
        call.caller.user_id, said.username or None, said.email or None, call.by()
    )
    return answer(_profile(call, user))


async def delete_profile(call: Call) -> ASGIApp:
    """Delete the account of who calls."""
    await refuse_body(call)
    await call.services.users.delete(call.caller.user_id, call.by())
    return Reply(204, b"", media_type="")


async def change_password(call: Call) -> ASGIApp:
    """Another password."""
    service = keyed(call.services.sign_in)
    said = await read_fields(call, PasswordChange)
    if said.new_password_confirm and said.new_password_confirm != said.new_password:
        fault = Problem("expected the new password once more", pointer="/new_password_confirm")
        raise refusal(Invalid, [fault])
    ended = await service.change_password(
        call.caller, said.old_password, said.new_password, call.by(), network_of(call.address)
    )
    return answer({"sessions_ended": ended})


def _profile(call: Call, user: User) -> Profile:
    caller = call.caller
    return Profile(
        **asdict(user), scopes=sorted(caller.scopes), key_id=caller.key_id, session_id=caller.session_id
    )


_GRANTED = Answer(200, "Tokens", "Granted")
_SIGN_IN = {"username": "ann", "password": "correct horse battery staple"}
OPERATIONS = (
    Operation(
        id="register",
        method="POST",
        path="/api/v1/auth/register",
        tag="Accounts",
        summary="Make an account",
        description="Key and signing secret are shown once. Where registration is closed, admins make accounts.",
        handle=register,
        body=Body("Registration", {"email": "ann@example.org"}),
        answers=(Answer(201, "The account, its first API key and its signing secret", "Registered"),),
        problems=(403, 409, 413, 415, 429),
        scope=None,
        signs_in=True,
    ),
    Operation(
        id="signIn",
        method="POST",
        path="/api/v1/auth/token",
        tag="Accounts",
        summary="Sign in: tokens for a password",
        handle=sign_in,
        body=Body("SignInBody", _SIGN_IN, form=True),
        answers=(_GRANTED,),
        problems=(401, 413, 415, 429),
        scope=None,
        signs_in=True,
    ),
    Operation(
        id="refreshToken",
        method="POST",
        path="/api/v1/auth/token/refresh",
        tag="Accounts",
        summary="The next tokens for a refresh token, which is good once",
        description="A refresh token that is shown twice ends its session.",
        handle=refresh,
        body=Body("RefreshBody", {"refresh_token": "tfr_..."}, form=True),
        answers=(_GRANTED,),
        problems=(401, 413, 415, 429),
        scope=None,
        signs_in=True,
    ),
    Operation(
        id="verifyToken",
        method="POST",
        path="/api/v1/auth/token/verify",
        tag="Accounts",
        summary="Whose an access token or API key is, and what it allows",
        handle=verify,
        body=Body("VerifyBody", {"token": "tfq_..."}),
        answers=(Answer(200, "It is good", "Verified"),),
        problems=(401, 413, 415, 429),
        scope=None,
        signs_in=True,
    ),
    Operation(
        id="signOut",
        method="POST",
        path="/api/v1/auth/logout",
        tag="Accounts",
        summary="Sign out: end the session of these credentials, or of a refresh token",
        handle=sign_out,
        body=Body("SignOutBody", {}, required=False),
        answers=(Answer(204, "Signed out", None),),
        problems=(401, 413, 415, 429),
        scope=None,
        signs_in=True,
    ),
    Operation(
        id="readProfile",
        method="GET",
        path="/api/v1/auth/profile",
        tag="Accounts",
        summary="Who calls, and what these credentials allow",
        handle=read_profile,
        answers=(Answer(200, "The account", "Profile"),),
        scope="read",
    ),
    Operation(
        id="changeProfile",
        method="PATCH",
        path="/api/v1/auth/profile",
        tag="Accounts",
        summary="Change the names of the account",
        handle=change_profile,
        body=Body("ProfileChange", {"username": "ann"}),
        answers=(Answer(200, "The account", "Profile"),),
        problems=(409, 413, 415),
        scope="operate",
    ),
    Operation(
        id="deleteProfile",
        method="DELETE",
        path="/api/v1/auth/profile",
        tag="Accounts",
        summary="Delete the account; its tasks stay until their own end",
        handle=delete_profile,
        answers=(Answer(204, "Deleted; an admin can restore it for a while", None),),
        problems=(413, 415),
        scope="operate",
    ),
    Operation(
        id="changePassword",
        method="POST",
        path="/api/v1/auth/change-password",
        tag="Accounts",
        summary="Change the password; all other sessions end",
        handle=change_password,
        body=Body("PasswordChange", {"old_password": "...", "new_password": "correct horse battery staple"}),
        answers=(Answer(200, "Changed", "PasswordChanged"),),
        problems=(413, 415),
        scope="operate",
    ),
)
