"""Accounts: who may call, with which credentials, and what a caller may do and see."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from taskflow.domain.task import LOCAL_OWNER, Time

Role = Literal["user", "admin"]
Scope = Literal["submit", "read", "operate", "work", "admin"]
KeyStatus = Literal["live", "expired", "revoked"]

ROLES: tuple[Role, ...] = ("user", "admin")
SCOPES: tuple[Scope, ...] = ("submit", "read", "operate", "work", "admin")
USER_SCOPES: frozenset[Scope] = frozenset({"submit", "read", "operate", "work"})
ADMIN_SCOPES: frozenset[Scope] = frozenset(SCOPES)


def scopes_of(role: Role) -> frozenset[Scope]:
    """All that an account of this role may do."""
    return ADMIN_SCOPES if role == "admin" else USER_SCOPES


class Caller(Struct, frozen=True):
    """Who calls, and what these credentials allow: never more than the account's role does.

    `name` is what the audit log calls the account. `key_id` or `session_id` tell by which credentials it came.
    """

    name: str
    user_id: str
    scopes: frozenset[Scope]
    key_id: str | None = None
    session_id: str | None = None

    @property
    def is_admin(self) -> bool:
        """Whether it sees and acts on what is anybody's."""
        return "admin" in self.scopes

    @property
    def sees(self) -> str | None:
        """The owner whose things alone it sees and acts on; None: anybody's."""
        return None if self.is_admin else self.user_id

    def may(self, scope: Scope) -> bool:
        """Whether it may call what asks for `scope`; `admin` holds all the others."""
        return scope in self.scopes or "admin" in self.scopes


LOCAL = Caller("local", LOCAL_OWNER, ADMIN_SCOPES)
"""Who calls without credentials while nobody need sign in."""


class By(Struct, frozen=True):
    """Who commands, and why: what the history and the audit log tell of it.

    `owner`: the owner whose things alone it may touch; None: anybody's. `operation_id`: an operation does it, to many.
    """

    actor: str
    reason: str | None = None
    operation_id: str | None = None
    owner: str | None = None
    user_id: str | None = None
    key_id: str | None = None
    address: str | None = None
    request_id: str | None = None


class User(Struct, frozen=True, kw_only=True):
    """An account as callers read it. One without `username` is called by its e-mail address."""

    id: str
    username: str | None
    email: str | None
    role: Role
    has_password: bool
    created_at: Time
    signed_in_at: Time | None
    disabled_at: Time | None
    deleted_at: Time | None


class Profile(User, frozen=True, kw_only=True):
    """The account that calls, and what the credentials it shows allow. Without credentials both ids are null."""

    scopes: list[Scope]
    key_id: str | None
    session_id: str | None


class ApiKey(Struct, frozen=True, kw_only=True):
    """An API key as callers read it: never the key itself, only `hint`, its beginning and end."""

    id: str
    user_id: str
    name: str
    hint: str
    scopes: list[Scope]
    status: KeyStatus
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    revoked_at: Time | None
    revoked_reason: str | None
    replaced_by: str | None
