"""`taskflow operations`: what works through many dead letters or tasks; read, watch, pause, resume, stop."""

from __future__ import annotations

import json
from typing import Any

import click

from taskflow.cli.client.api import Api, facts, segment
from taskflow.cli.client.follow import follow, summary
from taskflow.cli.client.options import calls_api, list_limit, words
from taskflow.cli.client.output import age, heading, moment, pairs, put, put_array, say, table

STATUSES = ("running", "paused", "stopped", "done")
_COLUMNS = ("id", "action", "status", "matched", "done", "skipped", "failed")


@click.group()
def operations() -> None:
    """Operations: replays and discards of many. List, watch, pause, resume and stop them."""


@operations.command("list")
@click.option("--status", type=click.Choice(STATUSES), multiple=True, help="In this status.")
@list_limit
@calls_api
def list_operations(api: Api, as_json: bool, status: tuple[str, ...], limit: int) -> None:
    """List operations, newest first."""
    found = api.items("/operations", [("status", each) for each in status], limit)
    if as_json:
        put_array(found.items)
        return
    rows = [
        (
            *(operation.get(name) for name in _COLUMNS),
            operation.get("created_by"),
            age(operation.get("created_at")),
            operation.get("reason"),
        )
        for operation in map(facts, found.items)
    ]
    if not rows:
        say("no operations")
        return
    table((*_COLUMNS, "by", "age", "reason"), rows, cut="reason")
    if found.more:
        say(f"the first {len(rows)}; there are more (--limit)")


@operations.command()
@click.argument("operation_id", metavar="ID")
@calls_api
def show(api: Api, as_json: bool, operation_id: str) -> None:
    """Show all of one operation, and what was done to it."""
    raw = api.get(f"/operations/{segment(operation_id)}")
    if as_json:
        put(raw)
    else:
        _show_operation(facts(raw))


@operations.command()
@click.argument("operation_id", metavar="ID")
@calls_api
def watch(api: Api, as_json: bool, operation_id: str) -> int:
    """Watch an operation until it ends. Exit code 0 if it is done, 1 if it was stopped."""
    return follow(api, operation_id, as_json)


def _add_command(verb: str, told: str) -> None:
    @operations.command(verb, help=told)
    @click.argument("operation_id", metavar="ID")
    @click.option("--reason", type=words, metavar="TEXT", help="Why; kept in the audit.")
    @calls_api
    def command(api: Api, as_json: bool, operation_id: str, reason: str | None) -> None:
        body = {"reason": reason} if reason else {}
        raw = api.post(f"/operations/{segment(operation_id)}/{verb}", body)
        if as_json:
            put(raw)
        else:
            click.echo(f"{operation_id} {summary(facts(raw))}")


_add_command("pause", "Pause an operation: it goes no further until it is resumed.")
_add_command("resume", "Let a paused operation go on.")
_add_command("stop", "Stop an operation for good; what it has done stays done.")


def _show_operation(operation: dict[str, Any]) -> None:
    pairs([
        ("operation", operation.get("id")),
        ("action", operation.get("action")),
        ("filter", json.dumps(operation.get("filter") or "all", ensure_ascii=False)),
        ("limit", operation.get("limit")),
        ("rate", f"{operation.get('rate_per_second')} a second"),
        ("by", operation.get("created_by")),
        ("because", operation.get("reason")),
        ("created", moment(operation.get("created_at"))),
        ("finished", moment(operation.get("finished_at"))),
        ("state", summary(operation)),
    ])  # fmt: skip
    rows = [
        (age(event.get("at")), event.get("actor"), event.get("action"), event.get("reason"))
        for event in operation.get("events") or []
    ]
    if rows:
        heading("Events")
        table(("age", "actor", "action", "reason"), rows, cut="reason")
