"""`taskflow janitor`: what the scheduler does each hour, now; with `--dry-run` only told.

Exit codes: 0 done, 1 the schema is missing, 2 settings, 7 PostgreSQL could not be asked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import msgspec

from taskflow.kit.settings import load

if TYPE_CHECKING:
    from taskflow.engine.janitor import Keeping
    from taskflow.store.janitor import Swept

PAGE_SECONDS_MAX = 30.0
_MEANS = {
    "keys_revoked": ("API keys", "revoked: not used for API_KEY_IDLE_MAX"),
    "keys_removed": ("API keys", "removed: expired or revoked ACCOUNT_RETENTION ago"),
    "sessions_removed": ("sessions", "removed: over 7 days ago, with their refresh tokens"),
    "failures_removed": ("failed sign-ins", "forgotten: a day old"),
    "events_removed": ("audit events", "removed: AUDIT_RETENTION old"),
    "limits_removed": ("rate limits", "forgotten: not used for an hour"),
    "users_removed": ("users", "removed: deleted ACCOUNT_RETENTION ago, with all their keys and sessions"),
}


@click.command()
@click.option("--dry-run", is_flag=True, help="Change nothing; tell what would be done.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def janitor(dry_run: bool, as_json: bool) -> None:
    """Remove what accounts left behind: old keys, sessions, deleted users, old entries of the audit log.

    The scheduler does it each hour. Both read ACCOUNT_RETENTION, AUDIT_RETENTION and API_KEY_IDLE_MAX.
    """
    database_url, keeping = _settings()
    import asyncio

    swept = asyncio.run(_swept(database_url, keeping, dry_run))
    if as_json:
        told = {"dry_run": dry_run, **msgspec.structs.asdict(swept)}
        click.echo(msgspec.json.encode(told).decode())
    else:
        click.echo(_table(swept, dry_run))


def _settings() -> tuple[str, Keeping]:
    """What the command reads from its environment; a function, so that `--help` loads nothing."""
    from taskflow.engine.janitor import Keeping
    from taskflow.engine.settings import JanitorSettings
    from taskflow.kit.logging import configure

    settings = load(JanitorSettings, os.environ)
    configure(settings.log_level, settings.log_format, "janitor")
    return settings.database_url, Keeping(
        accounts_seconds=settings.account_retention,
        audit_seconds=settings.audit_retention,
        key_idle_seconds=settings.api_key_idle_max,
    )


async def _swept(database_url: str, keeping: Keeping, dry_run: bool) -> Swept:
    from taskflow.engine.janitor import Janitor
    from taskflow.store.connect import Database, Line
    from taskflow.store.probe import probe

    async with (
        Database(database_url, application="taskflow-janitor") as database,
        Line(database, patience_seconds=PAGE_SECONDS_MAX) as line,
    ):
        if not (await line.run(probe)).migrated:
            raise click.ClickException("the schema is missing; run `taskflow migrate`")
        found = Janitor(line, keeping)
        return await (found.preview() if dry_run else found.sweep())


def _table(swept: Swept, dry_run: bool) -> str:
    counts = msgspec.structs.asdict(swept)
    lines = [f"{counts[name]:>10}  {noun:<17}{means}" for name, (noun, means) in _MEANS.items()]
    return "\n".join([*lines, *(["nothing was changed (--dry-run)"] if dry_run else [])])
