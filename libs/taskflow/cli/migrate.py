"""`taskflow migrate`: bring the schema of `DATABASE_URL` up to date. Safe when several run at once."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import click
from msgspec import Meta

from taskflow.kit.settings import ProgramSettings, Url, load


class MigrateSettings(ProgramSettings, frozen=True, kw_only=True):
    """What `taskflow migrate` reads."""

    database_url: Annotated[
        Url, Meta(description="a PostgreSQL URL, postgres://user:password@host:5432/database")
    ]


@click.command()
def migrate() -> None:
    """Bring the schema of DATABASE_URL up to date."""
    settings = load(MigrateSettings, os.environ)
    from taskflow.kit.logging import configure
    from taskflow.store.migrate import migrate as bring_up_to_date

    configure(settings.log_level, settings.log_format, "migrate")
    asyncio.run(bring_up_to_date(settings.database_url))
