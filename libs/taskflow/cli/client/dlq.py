"""`taskflow dlq`: dead letters over the HTTP API. What changes them is in `resolve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from taskflow.cli.client.api import Api, facts, segment
from taskflow.cli.client.options import calls_api, letter_filters, list_limit, query_of
from taskflow.cli.client.output import age, error_line, put, put_array, say, table
from taskflow.cli.client.resolve import discard, replay


@click.group()
def dlq() -> None:
    """Dead letters: what was given up. List, read, replay, discard and export them."""


@dlq.command("list")
@letter_filters(pending_only=False)
@list_limit
@calls_api
def list_letters(api: Api, as_json: bool, filters: dict[str, Any], limit: int) -> None:
    """List dead letters, newest first."""
    found = api.items("/dead-letters", query_of(filters), limit)
    if as_json:
        put_array(found.items)
        return
    rows = [
        (
            *(letter.get(name) for name in ("id", "type", "queue", "reason", "status")),
            error_line(letter.get("error")),
            age(letter.get("created_at")),
        )
        for letter in map(facts, found.items)
    ]
    _listed(("id", "type", "queue", "reason", "status", "error", "age"), rows, found.more)


@dlq.command()
@letter_filters(pending_only=False)
@list_limit
@calls_api
def groups(api: Api, as_json: bool, filters: dict[str, Any], limit: int) -> None:
    """Group dead letters by what went wrong."""
    found = api.items("/dead-letters/groups", query_of(filters), limit)
    if as_json:
        put_array(found.items)
        return
    rows = [
        (
            *(group.get(name) for name in ("fingerprint", "type", "count", "pending")),
            age(group.get("first_seen")),
            age(group.get("last_seen")),
            error_line(group.get("error")),
        )
        for group in map(facts, found.items)
    ]
    head = ("fingerprint", "type", "count", "pending", "first seen", "last seen", "error")
    _listed(head, rows, found.more)


@dlq.command()
@click.argument("letter_id", metavar="ID")
@calls_api
def show(api: Api, as_json: bool, letter_id: str) -> None:
    """Show all of one dead letter: the error, its attempts, the payload, and what became of it."""
    raw = api.get(f"/dead-letters/{segment(letter_id)}")
    if as_json:
        put(raw)
        return
    from taskflow.cli.client.letter import show_letter

    letter = facts(raw)
    show_letter(letter)
    if letter.get("status") == "pending":
        say(f"\nreplay it: {api.command(f'dlq replay {letter_id}')}")


@dlq.command()
@letter_filters(pending_only=False)
@click.option(
    "-o", "--output", "file", type=click.Path(dir_okay=False, path_type=Path),
    help="Write this file, whole or not at all; only its owner may read it.",
)  # fmt: skip
@calls_api
def export(api: Api, as_json: bool, filters: dict[str, Any], file: Path | None) -> None:
    """Write whole dead letters, payloads included, as NDJSON: to stdout, or with -o to a file.

    The letters are JSON with or without --json, which is about the word at the end of -o.
    """
    from taskflow.cli.client.export import write_letters

    write_letters(api, query_of(filters), file, as_json)


dlq.add_command(replay)
dlq.add_command(discard)


def _listed(head: tuple[str, ...], rows: list[tuple[Any, ...]], more: bool) -> None:
    if not rows:
        say("no dead letters")
        return
    table(head, rows, cut="error")
    if more:
        say(f"the first {len(rows)}; there are more (--limit)")
