"""What the commands print: data on stdout, messages on stderr; tables for people, the API's own JSON for programs.

rich is loaded with the first table; it leaves colours away where nobody looks and where NO_COLOR is set.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

CUT_AT = 100
"""Characters of a column that is cut, where no terminal says how wide it is."""
CUT_LEAST = 20
_GAP = 2
_STYLES = {
    "pending": "yellow", "paused": "yellow", "running": "cyan", "failed": "red", "stopped": "red",
    "replayed": "green", "succeeded": "green", "done": "green", "discarded": "dim",
}  # fmt: skip
_SPANS = ((86_400, "d"), (3_600, "h"), (60, "m"))


def say(message: str) -> None:
    """A message to whoever sits there; not data."""
    click.echo(message, err=True)


def put(raw: bytes) -> None:
    """JSON as the API sent it."""
    click.echo(raw)


def put_array(items: Sequence[bytes]) -> None:
    """One JSON array of items as the API sent them."""
    click.echo(b"[" + b",".join(items) + b"]")


def heading(text: str) -> None:
    """The title of a part, after an empty line."""
    console = _console()
    console.print()
    console.print(text, style="bold")


def pairs(rows: Sequence[tuple[str, Any]]) -> None:
    """Names and values, a line each; what is None is left out."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        if value is not None:
            click.echo(f"{name:<{width}}  {line(value)}")


def text(value: str) -> None:
    """Text of several lines."""
    click.echo("\n".join(harmless(part) for part in value.split("\n")))


def table(
    head: Sequence[str], rows: Sequence[Sequence[Any]], *, cut: str | None = None, err: bool = False
) -> None:
    """Columns as wide as they need be; that named `cut` has what is left of the terminal. Numbers stand right."""
    from rich.table import Table
    from rich.text import Text

    console = _console(err)
    cells = [[line(value) for value in row] for row in rows]
    widths = _widths(head, cells, cut, console)
    made = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for place, name in enumerate(head):
        numbers = bool(rows) and all(isinstance(row[place], int | float) for row in rows)
        made.add_column(
            name,
            width=widths[place],
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if numbers else "left",
        )
    for row in cells:
        made.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    # A terminal that is too narrow wraps the lines; an id is never cut.
    console.width = sum(widths) + _GAP * len(widths)
    console.print(made)


def line(value: Any) -> str:
    """A cell: one line, harmless to terminals; `-` for what is not there."""
    if value is None or value in ("", []):
        return "-"
    if isinstance(value, list):
        return ", ".join(line(item) for item in value)
    return harmless(" ".join(str(value).split()))


def harmless(value: str) -> str:
    """Text of handlers without what would steer a terminal; tabs stay."""
    return "".join(
        char if char in "\t\xa0" or char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in value
    )


def error_line(error: Any) -> str | None:
    """`Type: message` of an error as the API tells it."""
    if not isinstance(error, dict):
        return None
    kind, message = error.get("type"), error.get("message")
    return ": ".join(str(part) for part in (kind, message) if part) or None


def age(time: str | None) -> str | None:
    """How long ago an RFC 3339 time was: `12s`, `3m`, `5h`, `2d`. A clock ahead of ours makes no future."""
    if time is None:
        return None
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()))
    return next((f"{seconds // span}{unit}" for span, unit in _SPANS if seconds >= span), f"{seconds}s")


def moment(time: str | None) -> str | None:
    """A time and how long ago it was."""
    return None if time is None else f"{time} ({age(time)} ago)"


def _widths(
    head: Sequence[str], cells: Sequence[Sequence[str]], cut: str | None, console: Console
) -> list[int]:
    from rich.cells import cell_len

    widths = [
        max(cell_len(name), *(cell_len(row[place]) for row in cells)) if cells else cell_len(name)
        for place, name in enumerate(head)
    ]
    if cut is not None:
        place = list(head).index(cut)
        others = sum(widths) - widths[place] + _GAP * len(widths)
        left = max(CUT_LEAST, console.width - others) if console.is_terminal else CUT_AT
        widths[place] = min(widths[place], left)
    return widths


def _console(err: bool = False) -> Console:
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    return Console(file=stream, highlight=False, markup=False, emoji=False)
