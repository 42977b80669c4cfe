"""`taskflow admin`: the first admin, and what helps one who has lost the password. Works on DATABASE_URL itself."""

from __future__ import annotations

import getpass
import json
import os
import secrets
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from taskflow.domain.account import By


class Refused(click.ClickException):
    """It cannot be done."""

    exit_code = 2


class Unknown(Refused):
    """There is no such account."""

    exit_code = 3


class Taken(Refused):
    """There is such an account."""

    exit_code = 5


_PASSWORD = click.option(
    "--password-stdin", is_flag=True, help="Read the password from stdin; else one is made and printed."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def admin() -> None:
    """Make an admin, or give an account another password. Needs DATABASE_URL."""


@admin.command()
@click.option("--username", default="admin", show_default=True)
@click.option("--email", help="Lets the account sign in by it, too.")
@click.option(
    "--key", "with_key", is_flag=True, help="Make an API key for everything, too; it is printed once."
)
@_PASSWORD
@_JSON
def create(username: str, email: str | None, with_key: bool, password_stdin: bool, as_json: bool) -> None:
    """Make an admin."""
    from taskflow.engine.accounts import NewAccount, create_admin
    from taskflow.engine.passwords import Passwords

    password, is_made = _password(password_stdin)

    async def act() -> dict[str, Any]:
        async with _database() as database, Passwords() as passwords:
            new = NewAccount(username, email, password, "admin")
            user, key = await create_admin(database, passwords, new, _by(), with_key=with_key)
        return _told(user.id, username, password if is_made else None) | ({"api_key": key} if key else {})

    _say(_carried_out(act()), as_json)


@admin.command()
@click.argument("name")
@_PASSWORD
@_JSON
def password(name: str, password_stdin: bool, as_json: bool) -> None:
    """Give the account NAME (username or e-mail address) another password; its sessions and its lock end."""
    from taskflow.engine.accounts import reset_password
    from taskflow.engine.passwords import Passwords

    text, is_made = _password(password_stdin)

    async def act() -> dict[str, Any]:
        async with _database() as database, Passwords() as passwords:
            user = await reset_password(database, passwords, name, text, _by())
        return _told(user.id, name, text if is_made else None)

    _say(_carried_out(act()), as_json)


@admin.command()
@_JSON
def reseal(as_json: bool) -> None:
    """Encrypt signing secrets with the present SEALING_KEY (else SECRET_KEY), after it was changed."""
    from taskflow.engine.settings import ResealSettings
    from taskflow.engine.signing import reseal as seal_anew
    from taskflow.engine.vault import vault_of
    from taskflow.kit.settings import load

    vault = vault_of(load(ResealSettings, os.environ))
    if vault is None:
        raise Refused("SEALING_KEY is not set; expected the key that signing secrets are to be sealed by")

    async def act() -> dict[str, Any]:
        async with _database() as database:
            done, lost = await seal_anew(database, vault)
        return {"resealed": done, "lost": lost}

    _say(_carried_out(act()), as_json)


def _database() -> Any:
    from taskflow.cli.migrate import MigrateSettings
    from taskflow.kit.logging import configure
    from taskflow.kit.settings import load
    from taskflow.store.connect import Database

    settings = load(MigrateSettings, os.environ)
    configure("warn", settings.log_format, "admin")  # what was done is told on stdout
    return Database(settings.database_url, application="taskflow-admin")


def _password(from_stdin: bool) -> tuple[str, bool]:
    """The password, and whether it was made here."""
    if not from_stdin:
        return secrets.token_urlsafe(18), True
    text = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    return text, False


def _by() -> By:
    """Whoever sits at this machine."""
    from taskflow.domain.account import By

    return By(f"command:{getpass.getuser()}")


def _carried_out(act: Any) -> dict[str, Any]:
    import asyncio

    from taskflow.domain.errors import Invalid, NameTaken, NotFound

    try:
        told: dict[str, Any] = asyncio.run(act)
    except NameTaken as error:
        raise Taken(error.detail) from error
    except NotFound as error:
        raise Unknown(error.detail) from error
    except Invalid as error:
        raise Refused(error.detail) from error
    return told


def _told(user_id: str, username: str, made: str | None) -> dict[str, Any]:
    return {"user_id": user_id, "username": username} | ({"password": made} if made else {})


def _say(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(told))
        return
    for name, value in told.items():
        click.echo(f"{name:<10}{value}")
    if {"password", "api_key"} & told.keys():
        click.echo("This is shown once.", err=True)
