"""`taskflow migrate`: bring the schema of `DATABASE_URL` up to date. Safe when several run at once."""

from __future__ import annotations

import os
from typing import Annotated

import click
from msgspec import Meta

from taskflow.kit.settings import ProgramSettings, Url, load


class InTheWay(click.ClickException):
    """Something else has to happen first."""

    exit_code = 5


class MigrateSettings(ProgramSettings, frozen=True, kw_only=True):
    """What `taskflow migrate` reads."""

    database_url: Annotated[
        Url, Meta(description="a PostgreSQL URL, postgres://user:password@host:5432/database")
    ]


@click.command()
@click.option(
    "--post", is_flag=True,
    help="Also take away what no program uses any more; refused (exit code 5) while an older one is connected.",
)  # fmt: skip
def migrate(post: bool) -> None:
    """Bring the schema of DATABASE_URL up to date, while programs of the version before go on.

    Run it before the new programs start; with --post once all of them are new.
    """
    settings = load(MigrateSettings, os.environ)
    import asyncio

    from taskflow.kit.logging import configure
    from taskflow.store.migrate import OldProgramsRun
    from taskflow.store.migrate import migrate as bring_up_to_date

    configure(settings.log_level, settings.log_format, "migrate")
    try:
        asyncio.run(bring_up_to_date(settings.database_url, post=post))
    except OldProgramsRun as error:
        raise InTheWay(str(error)) from error
