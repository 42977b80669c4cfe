"""An operation watched until it ends. Used by `taskflow operations watch`, and by replay and discard of many."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from taskflow.cli.client.api import Api, facts, segment
from taskflow.cli.client.failures import EXIT_INTERRUPTED, ApiError
from taskflow.cli.client.output import line, put, say

POLL_SECONDS = 0.5
ENDED = ("done", "stopped")

Show = Callable[[dict[str, Any]], None]


def follow(api: Api, operation_id: str, as_json: bool) -> int:
    """Watch until the operation ends: 0 if it is done, 1 if it was stopped. Ctrl-C ends the watching alone (130)."""
    try:
        raw, operation = _until_ended(api, operation_id)
    except KeyboardInterrupt:
        _tell_detached(api, operation_id)
        return EXIT_INTERRUPTED
    except ApiError as error:
        again = api.command(f"operations watch {operation_id}")
        raise type(error)(f"{error.message}; the operation may go on: {again}") from error
    if as_json:
        put(raw)
    else:
        click.echo(f"{line(operation.get('id'))} {summary(operation)}")
    return 0 if operation.get("status") == "done" else 1


def summary(operation: dict[str, Any]) -> str:
    """How an operation stands, in one line."""
    status, why = line(operation.get("status")), operation.get("status_reason")
    figures = ", ".join(f"{line(operation.get(name))} {name}" for name in ("done", "skipped", "failed"))
    told = f"{status}{f' ({line(why)})' if why else ''}: {figures} of {line(operation.get('matched'))}"
    canary = operation.get("canary")
    if canary:
        first, succeeded, failed = (line(canary.get(name)) for name in ("first", "succeeded", "failed"))
        told += f"; canary {line(canary.get('state'))}: {succeeded} succeeded, {failed} failed of {first}"
    return told


def _until_ended(api: Api, operation_id: str) -> tuple[bytes, dict[str, Any]]:
    with _shown() as show:
        while True:
            raw = api.get(f"/operations/{segment(operation_id)}")
            operation = facts(raw)
            show(operation)
            if operation.get("status") in ENDED:
                return raw, operation
            time.sleep(POLL_SECONDS)


@contextmanager
def _shown() -> Iterator[Show]:
    """Where progress is told: a bar on a terminal, else a line whenever the status changes."""
    if not sys.stderr.isatty():
        yield _Lines().show
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        bar = progress.add_task("asking", total=None)

        def show(operation: dict[str, Any]) -> None:
            total = operation.get("matched")
            description = f"{line(operation.get('action'))} {_state(operation)}"
            progress.update(bar, total=total, completed=_completed(operation), description=description)

        yield show


class _Lines:
    """A line on stderr for each new state, where no bar can be drawn."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, operation: dict[str, Any]) -> None:
        state = _state(operation)
        if state != self._last and operation.get("status") not in ENDED:
            say(f"{line(operation.get('id'))} {summary(operation)}")
        self._last = state


def _state(operation: dict[str, Any]) -> str:
    """Its status, or that of the canary while it decides."""
    status, canary = line(operation.get("status")), operation.get("canary")
    if status == "running" and canary and canary.get("state") in ("replaying", "waiting"):
        return f"canary {canary['state']}"
    why = operation.get("status_reason")
    return f"{status} ({line(why)})" if why else status


def _completed(operation: dict[str, Any]) -> int:
    return sum(operation.get(name) or 0 for name in ("done", "skipped", "failed"))


def _tell_detached(api: Api, operation_id: str) -> None:
    say("detached; the operation goes on")
    for verb in ("watch", "pause", "stop"):
        say(f"  {api.command(f'operations {verb} {operation_id}')}")
