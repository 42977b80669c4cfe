"""Options that commands share: where the API is, how to print, which letters are meant. All are decorators."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import wraps
from importlib.util import find_spec
from typing import Any, ParamSpec, TypeVar

import click

from taskflow.cli.client.api import Api
from taskflow.cli.client.failures import EXIT_USAGE
from taskflow.cli.client.settings import HTTP_URL, ClientSettings
from taskflow.domain.dead_letter import LETTER_STATUSES, REASONS
from taskflow.kit.settings import load, parse_duration

P = ParamSpec("P")
R = TypeVar("R")
Command = Callable[..., R]

LIST_LIMIT = 50
_FILTER = "filter_"


class NotInstalled(click.ClickException):
    """What this command needs is not installed."""

    exit_code = EXIT_USAGE


def moment(text: str) -> str:
    """A time for the API: RFC 3339 as it is, an age (`30m`, `24h`, `7d`) as the time so long ago."""
    try:
        return _stamp(datetime.now(UTC) - timedelta(seconds=parse_duration(text)))
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise click.BadParameter(
            f"{text!r}; expected RFC 3339 with an offset, or an age such as 30m, 24h or 7d"
        )
    return _stamp(found)


def words(text: str) -> str:
    """Text that is not empty: a variable that was never set must not widen what is meant."""
    if not text.strip():
        raise click.BadParameter("it is empty")
    return text


def span(text: str) -> float:
    """Seconds, written as a duration."""
    try:
        return parse_duration(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}; expected a duration such as 30s, 5m or 1h") from None


def calls_api(command: Command[R]) -> Command[R]:
    """Give a command `--url` and `--json`; it is called with an `api` and with `as_json`."""

    @click.option(
        "--url", callback=_http_url, help="Where the API is.  [TASKFLOW_URL, http://127.0.0.1:8080]"
    )
    @click.option("--json", "as_json", is_flag=True, help="JSON, for programs.")
    @wraps(command)
    def called(*args: Any, url: str | None, **options: Any) -> R:
        for module in ("httpx", "rich"):
            if find_spec(module) is None:
                raise NotInstalled(f"{module} is not installed; pip install taskflow-platform[cli]")
        settings = load(ClientSettings, os.environ)
        given = ("--url", url) if url else ()
        with Api(url or settings.taskflow_url, settings.taskflow_api_key, given) as api:
            return command(*args, api=api, **options)

    return called


def letter_filters(*, pending_only: bool) -> Callable[[Command[R]], Command[R]]:
    """Options that narrow to some dead letters; the command gets `filters`, named and shaped as in the API.

    With `pending_only` there is no `--status`, and `--reason` is left to the command: there it says why one acts.
    """
    reason = ("--letter-reason",) if pending_only else ("--reason", "--letter-reason")
    options = [
        click.option(
            "--type", f"{_FILTER}type", type=words, metavar="TYPE", multiple=True, help="Of this type."
        ),
        click.option(
            "--queue", f"{_FILTER}queue", type=words, metavar="QUEUE", multiple=True, help="Of this queue."
        ),
        click.option(
            *reason,
            f"{_FILTER}reason",
            type=click.Choice(REASONS),
            multiple=True,
            help="Given up for this reason.",
        ),
        click.option(
            "--tag",
            f"{_FILTER}tag",
            type=words,
            metavar="TAG",
            multiple=True,
            help="With this tag, and all others named.",
        ),
        click.option(
            "--error", f"{_FILTER}error", type=words, metavar="TEXT", help="With this text in the error."
        ),
        click.option(
            "--fingerprint", f"{_FILTER}fingerprint", type=words, metavar="F", help="Of this group."
        ),
        click.option(
            "--after",
            f"{_FILTER}created_after",
            type=moment,
            metavar="TIME",
            help="RFC 3339, or an age: 30m, 24h, 7d.",
        ),
        click.option("--before", f"{_FILTER}created_before", type=moment, metavar="TIME", help="The same."),
    ]
    if not pending_only:
        options.insert(3, click.option(
            "--status", f"{_FILTER}status", type=click.Choice(LETTER_STATUSES), multiple=True, help="In this status.",
        ))  # fmt: skip
    return _gathered(options)


def list_limit(command: Command[R]) -> Command[R]:
    """`--limit` of a list."""
    return click.option(
        "--limit", type=click.IntRange(min=1), default=LIST_LIMIT, show_default=True, help="At most so many."
    )(command)


def query_of(filters: dict[str, Any]) -> list[tuple[str, str]]:
    """Filters as the parameters of a list."""
    return [
        (name, each)
        for name, value in filters.items()
        for each in (value if isinstance(value, list) else [value])
    ]


def _gathered(options: Sequence[Callable[[Command[R]], Command[R]]]) -> Callable[[Command[R]], Command[R]]:
    def decorate(command: Command[R]) -> Command[R]:
        @wraps(command)
        def called(*args: Any, **values: Any) -> R:
            filters = {
                name.removeprefix(_FILTER): list(value) if isinstance(value, tuple) else value
                for name, value in values.items()
                if name.startswith(_FILTER) and value
            }
            others = {name: value for name, value in values.items() if not name.startswith(_FILTER)}
            return command(*args, filters=filters, **others)

        decorated: Command[R] = called
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _http_url(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.search(HTTP_URL, value):
        raise click.BadParameter("expected an http:// or https:// URL")
    return value
