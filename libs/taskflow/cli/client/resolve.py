"""`taskflow dlq replay` and `discard`: one dead letter by its id, or many by filters. Many are done by `bulk`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Raw, Struct

from taskflow.cli.client.api import Api, decoded, facts, segment
from taskflow.cli.client.bulk import Bulk, bulk_options, refuse_both, run_bulk
from taskflow.cli.client.options import calls_api, letter_filters, span, words
from taskflow.cli.client.output import put, say
from taskflow.domain.dead_letter import REASONS


class _Sent(Struct):
    payload: Raw


def _why(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    # In the lists --reason narrows; here the same words would replay far more than was meant.
    if value in REASONS:
        raise click.BadParameter(f"it says why you do this; --letter-reason {value} narrows to such letters")
    return value


@click.command()
@click.argument("letter_id", metavar="[ID]", required=False)
@click.option("--payload", metavar="JSON|@FILE|-", help="One: with this payload instead of its own.")
@click.option("--edit", is_flag=True, help="One: with the payload as you leave it in $EDITOR.")
@letter_filters(pending_only=True)
@bulk_options
@click.option(
    "--canary", type=click.IntRange(min=1), metavar="N", help="Many: N first, the others if these succeed."
)
@click.option(
    "--stop-if-failed", type=click.IntRange(min=0), metavar="N", help="Stop if more than N of these fail."
)
@click.option(
    "--canary-wait",
    type=span,
    metavar="DURATION",
    help="Wait no longer for these (5m); if none completed by then, pause.",
)
@click.option(
    "--reason", type=words, metavar="TEXT", callback=_why, help="Why; kept with the letters and in the audit."
)
@calls_api
def replay(
    api: Api,
    as_json: bool,
    letter_id: str | None,
    filters: dict[str, Any],
    bulk: Bulk,
    payload: str | None,
    edit: bool,
    reason: str | None,
    **canary: Any,
) -> int | None:
    """Run tasks again that were given up: that of the dead letter ID, or those of all pending letters that match.

    Many: asks first (or --yes), then follows until the end. Exit code 1 if the operation was stopped.
    """
    trial = _canary(**canary)
    if payload is not None and edit:
        raise click.UsageError("--payload and --edit do not go together")
    if letter_id is None:
        if payload is not None or edit:
            raise click.UsageError("--payload and --edit go with an ID")
        return run_bulk(api, "replay", filters, bulk, {"canary": trial, "reason": reason}, as_json)
    refuse_both(filters, bulk, canary=trial is not None)
    _replay_one(api, letter_id, payload, edit, reason, as_json)
    return None


@click.command()
@click.argument("letter_id", metavar="[ID]", required=False)
@letter_filters(pending_only=True)
@bulk_options
@click.option(
    "--reason",
    type=words,
    metavar="TEXT",
    callback=_why,
    required=True,
    help="Why; kept with the letters and in the audit.",
)
@calls_api
def discard(
    api: Api, as_json: bool, letter_id: str | None, filters: dict[str, Any], bulk: Bulk, reason: str
) -> int | None:
    """Give up for good: the dead letter ID, or all pending ones that match. Their tasks stay failed.

    Many: asks first (or --yes), then follows until the end. Exit code 1 if the operation was stopped.
    """
    if letter_id is None:
        return run_bulk(api, "discard", filters, bulk, {"reason": reason}, as_json)
    refuse_both(filters, bulk, canary=False)
    raw = api.post(f"/dead-letters/{segment(letter_id)}/discard", {"reason": reason})
    if as_json:
        put(raw)
    else:
        click.echo(f"discarded {letter_id}")
    return None


def _canary(
    canary: int | None, stop_if_failed: int | None, canary_wait: float | None
) -> dict[str, Any] | None:
    if canary is None:
        if stop_if_failed is not None or canary_wait is not None:
            raise click.UsageError("--stop-if-failed and --canary-wait go with --canary")
        return None
    asked = {"first": canary, "stop_if_failed": stop_if_failed, "wait_seconds": canary_wait}
    return {name: value for name, value in asked.items() if value is not None}


def _replay_one(
    api: Api, letter_id: str, payload: str | None, edit: bool, reason: str | None, as_json: bool
) -> None:
    where = f"/dead-letters/{segment(letter_id)}"
    body: dict[str, Any] = {"reason": reason} if reason else {}
    if payload is not None:
        body["payload"] = _read_json(payload)
    elif edit:
        body["payload"] = _edited(decoded(api.get(where), _Sent).payload)
    raw = api.post(f"{where}/replay", body)
    put(raw) if as_json else _tell_task(facts(raw))


def _tell_task(task: dict[str, Any]) -> None:
    click.echo(f"replayed: task {task.get('id')} is {task.get('status')} (life {task.get('life')})")


def _read_json(given: str) -> Raw:
    """The JSON of `--payload`: as it stands, of a `@file`, or of stdin."""
    try:
        if given == "-":
            return _json(sys.stdin.buffer.read())
        return _json(Path(given[1:]).read_bytes() if given.startswith("@") else given.encode())
    except OSError as error:
        raise click.UsageError(f"cannot read {given[1:]}: {error.strerror}") from error
    except ValueError as error:
        raise click.UsageError(f"--payload is not JSON: {error}") from error


def _edited(payload: Raw) -> Raw:
    """The payload as it was left in the editor. What is not JSON can be edited again."""
    shown = msgspec.json.format(bytes(payload), indent=2).decode() + "\n"
    while True:
        left = click.edit(shown, extension=".json")
        if left is None:
            raise click.ClickException("nothing was saved, nothing is replayed")
        try:
            return _json(left.encode())
        except ValueError as error:
            say(f"this is not JSON: {error}")
            click.confirm("Edit it again?", default=True, abort=True, err=True)
            shown = left


def _json(content: bytes) -> Raw:
    """Checked, and sent byte for byte: numbers that no float holds stay. Raises ValueError."""
    try:
        return msgspec.json.decode(content, type=Raw)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
