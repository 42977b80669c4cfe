"""What calls about accounts may bear. Read by `fields`, which tells what is expected by the descriptions here."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from taskflow.domain.account import Role

Name = Annotated[
    str,
    Meta(min_length=1, max_length=254, pattern=r"\A[^\x00]*\Z", description="a username or e-mail address"),
]
Username = Annotated[
    str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z", description="1 to 64 of A-Z a-z 0-9 . _ -")
]
Email = Annotated[
    str,
    Meta(
        pattern=r"\A[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,189}\Z",
        description="an e-mail address, such as ann@example.org",
    ),
]
Password = Annotated[
    str, Meta(min_length=1, max_length=1_024, description="a password of 8 characters or more")
]
Shown = Annotated[str, Meta(min_length=1, max_length=4_096, description="a token")]
RoleName = Annotated[Role, Meta(description="user or admin")]
Switch = Annotated[bool, Meta(description="true or false")]


class Registration(Struct, forbid_unknown_fields=True):
    """A new account: an e-mail address alone, or names and a password."""

    username: Username | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    password_confirm: Password | UnsetType = UNSET


class SignInBody(Struct, forbid_unknown_fields=True):
    """Who signs in: by username or e-mail address, in either field."""

    password: Password
    username: Name | UnsetType = UNSET
    email: Name | UnsetType = UNSET


class RefreshBody(Struct, forbid_unknown_fields=True):
    """A refresh token."""

    refresh_token: Shown


class SignOutBody(Struct, forbid_unknown_fields=True):
    """The refresh token of the session that is to end; without one, that of the credentials."""

    refresh_token: Shown | UnsetType = UNSET


class VerifyBody(Struct, forbid_unknown_fields=True):
    """An access token or API key."""

    token: Shown


class ProfileChange(Struct, forbid_unknown_fields=True):
    """Other names; what is not given stays."""

    username: Username | UnsetType = UNSET
    email: Email | UnsetType = UNSET


class PasswordChange(Struct, forbid_unknown_fields=True):
    """The present password and the next."""

    old_password: Password
    new_password: Password
    new_password_confirm: Password | UnsetType = UNSET


class NewUser(Struct, forbid_unknown_fields=True):
    """An account that an admin makes."""

    username: Username | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    role: RoleName = "user"


class UserChange(Struct, forbid_unknown_fields=True):
    """Other rights; what is not given stays."""

    role: RoleName | UnsetType = UNSET
    disabled: Switch | UnsetType = UNSET
