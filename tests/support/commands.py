"""How a command line ended that a test ran; the fixture `taskflow` of tests/unit/cli runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, which must be JSON alone."""
        return json.loads(self.out)


Taskflow = Callable[..., Done]
