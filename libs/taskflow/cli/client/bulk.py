"""Many dead letters at once: asked about, ordered, followed. Used by `taskflow dlq replay` and `discard`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, TypeVar

import click
from msgspec import Struct

from taskflow.cli.client.api import Api, decoded, facts
from taskflow.cli.client.output import put, say, table

R = TypeVar("R")
Action = Literal["replay", "discard"]


class Bulk(Struct, frozen=True):
    """Which options of many were given."""

    everything: bool
    limit: int | None
    rate: float | None
    dry_run: bool
    yes: bool
    follow: bool | None

    def named(self) -> list[str]:
        """Those that mean nothing beside an ID, as they are written."""
        given = {
            "--all": self.everything,
            "--limit": self.limit is not None,
            "--rate": self.rate is not None,
            "--dry-run": self.dry_run,
            "--follow/--detach": self.follow is not None,
        }
        return [name for name, is_given in given.items() if is_given]


class _Accepted(Struct):
    id: str


def bulk_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options of many; it gets them as `bulk`."""

    @wraps(command)
    def called(*args: Any, **values: Any) -> R:
        names = ("everything", "limit", "rate", "dry_run", "yes", "follow")
        bulk = Bulk(**{name: values.pop(name) for name in names})
        return command(*args, bulk=bulk, **values)

    decorated: Callable[..., R] = called
    for option in reversed(_options()):
        decorated = option(decorated)
    return decorated


def refuse_both(filters: dict[str, Any], bulk: Bulk, canary: bool) -> None:
    """Refuse an ID beside what is for many. Raises UsageError."""
    given = [*(["filters"] if filters else []), *bulk.named(), *(["--canary"] if canary else [])]
    if given:
        raise click.UsageError(f"an ID stands alone, but there is also: {', '.join(given)}")


def run_bulk(
    api: Api, action: Action, filters: dict[str, Any], bulk: Bulk, more: dict[str, Any], as_json: bool
) -> int:
    """Show what would be done, or have it done; gives the exit code. Raises UsageError, ApiError."""
    if not filters and not bulk.everything:
        raise click.UsageError("expected an ID, filters, or --all")
    if filters and bulk.everything:
        raise click.UsageError("--all goes without filters")
    path = f"/dead-letters/{action}"
    body = _body(filters, bulk, more)
    if bulk.dry_run:
        raw = api.post(path, {**body, "dry_run": True})
        put(raw) if as_json else _show_preview(facts(raw), err=False)
        return 0
    if not bulk.yes and (code := _ask(api, path, body, action)) is not None:
        return code
    raw = api.post(path, body)
    operation_id = decoded(raw, _Accepted).id
    if bulk.follow is False:
        put(raw) if as_json else click.echo(operation_id)
        return 0
    from taskflow.cli.client.follow import follow

    return follow(api, operation_id, as_json)


def _body(filters: dict[str, Any], bulk: Bulk, more: dict[str, Any]) -> dict[str, Any]:
    asked = {
        "filter": filters,
        "all": bulk.everything or None,
        "limit": bulk.limit,
        "rate_per_second": bulk.rate,
        **more,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _ask(api: Api, path: str, body: dict[str, Any], action: Action) -> int | None:
    """Show the dry run and ask; None means go on, else it is the exit code."""
    if not sys.stdin.isatty():
        raise click.UsageError("expected --yes: nobody can be asked here; --dry-run shows what would be done")
    preview = facts(api.post(path, {**body, "dry_run": True}))
    _show_preview(preview, err=True)
    if not preview.get("matched"):
        return 0
    if click.confirm(f"{action.capitalize()} them?", err=True):
        return None
    say("nothing was done")
    return 1


def _show_preview(preview: dict[str, Any], err: bool) -> None:
    click.echo(f"{preview.get('matched')} dead letters match", err=err)
    by_type = preview.get("by_type") or {}
    if by_type:
        table(("type", "count"), sorted(by_type.items(), key=lambda item: (-item[1], item[0])), err=err)


def _options() -> list[Callable[[Callable[..., R]], Callable[..., R]]]:
    return [
        click.option("--all", "everything", is_flag=True, help="All that are pending."),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Many: at most so many."),
        click.option(
            "--rate", type=click.FloatRange(0.1, 10_000), metavar="N", help="Many: so many a second."
        ),
        click.option("--dry-run", is_flag=True, help="Many: show what would be done."),
        click.option("--yes", "-y", is_flag=True, help="Many: do not ask."),
        click.option(
            "--follow/--detach",
            default=None,
            help="Many: watch it until it ends (the default), or print its id.",
        ),
    ]
