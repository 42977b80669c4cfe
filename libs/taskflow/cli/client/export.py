"""Dead letters streamed to stdout or into a file. Used by `taskflow dlq export`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from taskflow.cli.client.api import Api, Query
from taskflow.cli.client.output import put, say


def write_letters(api: Api, query: Query, file: Path | None, as_json: bool) -> None:
    """Write the letters and tell how many: on stderr, or with `as_json` and a file as JSON on stdout."""
    if file is None:
        count = _copy(api, query, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        say(f"{count} dead letters")
        return
    with whole_file(file) as written:
        count = _copy(api, query, written)
    if as_json:
        put(msgspec.json.encode({"file": str(file), "letters": count}))
    else:
        say(f"{count} dead letters in {file}")


def _copy(api: Api, query: Query, target: BinaryIO) -> int:
    lines = 0
    with api.stream("/dead-letters/export", query) as parts:
        for part in parts:
            target.write(part)
            lines += part.count(b"\n")
    return lines


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is there once all of it is: written beside its place and then moved. Raises ClickException.

    A link stays one; what is not a file (a pipe, a device) is refused, as it would be replaced.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise click.UsageError(f"{path} is not a file; without -o the letters go to stdout")
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
