"""What `dev` says on stderr: the lines of all its processes, each with the name of the process before it.

With `LOG_FORMAT=json` the lines of the services pass as they are, and all others become JSON objects too.
"""

from __future__ import annotations

import io
import sys
from contextlib import suppress

import msgspec

_NAME_WIDTH = 12
_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)


class Console(io.TextIOBase):
    """Gathers lines; as a text stream it takes the log of `dev` itself."""

    def __init__(self, fmt: str, coloured: bool = False) -> None:
        self._json = fmt == "json"
        self._coloured = coloured
        self._names: dict[str, int] = {}

    def show(self, name: str, line: str) -> None:
        """Write one line of the process `name`."""
        # A terminal or pipe that is gone must not end the system that wrote to it.
        with suppress(OSError, ValueError):
            sys.stderr.write(self._as_json(name, line) if self._json else self._prefixed(name, line))
            sys.stderr.flush()

    def write(self, text: str) -> int:
        for line in text.splitlines():
            self.show("dev", line)
        return len(text)

    def writable(self) -> bool:
        return True

    def _prefixed(self, name: str, line: str) -> str:
        prefix = f"{name:<{_NAME_WIDTH}} |"
        if self._coloured:
            number = self._names.setdefault(name, len(self._names))
            prefix = f"\x1b[{_COLOURS[number % len(_COLOURS)]}m{prefix}\x1b[0m"
        return f"{prefix} {line}\n"

    @staticmethod
    def _as_json(name: str, line: str) -> str:
        if line.startswith("{"):
            return f"{line}\n"
        return msgspec.json.encode({"service": name, "event": line}).decode() + "\n"
