"""What a cell of the suite is, and which there are.

A cell breaks one thing in a running system and asserts what must hold of that; what must hold of every cell (nothing
lost, nothing recorded twice, `taskflow doctor` clean) is judged for it afterwards.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Mapping, Set
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import tests.chaos

if TYPE_CHECKING:
    from tests.chaos.stage import Stage

HOUSE = {
    "WORKER_LEASE": "3s",
    "HANDLER_GRACE": "1s",
    "WORKER_BACKOFF_BASE": "100ms",
    "WORKER_BACKOFF_MAX": "500ms",
    "WORKER_DRAIN_TIMEOUT": "3s",
    "WORKER_CONCURRENCY": "11",
}
"""Settings of cells that are not about the defaults: what they break mends soon, and a task has ten neighbours."""

DEFAULTS: dict[str, str] = {}
"""The settings everybody has."""

_SHORT_PART = 20
_TASKS_MIN = 20


class Scale(NamedTuple):
    """The full form, or the short one that is part of `make test`."""

    short: bool

    def tasks(self, count: int) -> int:
        """`count` in the full form; a twentieth, at least 20, in the short one."""
        return max(_TASKS_MIN, count // _SHORT_PART) if self.short else count


class Ground(Protocol):
    """Servers of a cell's own, up while the cell runs. `settings` lead the system to them: DATABASE_URL, NATS_URL."""

    @property
    def settings(self) -> Mapping[str, str]:
        """What is added to the cell's settings."""


MakeGround = Callable[[Scale], AbstractContextManager[Any]]


class Cell(NamedTuple):
    """One way to break things. `done` is what is done, `expects` what must hold; both stand in the table."""

    name: str
    module: str
    done: str
    expects: str
    run: Callable[[Stage], None]
    settings: Mapping[str, str]
    workers: int
    ground: MakeGround | None
    alone: bool
    patience: float
    exits: Set[int]
    full_only: bool
    tool: str | None

    @property
    def kind(self) -> tuple[Any, ...]:
        """Cells of one kind may share a system, one after the other."""
        return (self.workers, tuple(sorted(self.settings.items())), self.ground)


CELLS: dict[str, Cell] = {}


def cell(
    name: str,
    *,
    expects: str,
    settings: Mapping[str, str] = HOUSE,
    workers: int = 2,
    ground: MakeGround | None = None,
    alone: bool = False,
    patience: float = 60,
    exits: Set[int] = frozenset({0}),
    full_only: bool = False,
    tool: str | None = None,
) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Make a function a cell; its docstring says what is done.

    `settings` are all that the system gets. `ground` gives servers of the cell's own (see `Ground`); `stage.ground` is
    what it yields. In the short form cells of the same kind share a system, unless `alone`. `patience` is how many
    seconds after the cell all accepted tasks may need to be terminal. A process of `dev` that ends by itself with a code
    that is none of `exits` is a fault. `full_only`: it is long, and others show most of it: `make test` leaves it out.
    `tool`: a program it needs, which not every machine has.
    """

    def register(run: Callable[[Stage], None]) -> Callable[[Stage], None]:
        assert name not in CELLS, f"two cells are called {name!r}"
        done = " ".join((inspect.getdoc(run) or "").split())
        assert done, f"{name}: a cell's docstring says what is done"
        module = run.__module__.rpartition(".")[2]
        CELLS[name] = Cell(
            name,
            module,
            done,
            expects,
            run,
            dict(settings),
            workers,
            ground,
            alone,
            patience,
            exits,
            full_only,
            tool,
        )
        return run

    return register


def load_cells(modules: Collection[str] = ()) -> list[Cell]:
    """The cells of these modules beside this one, or of all, by module, as they stand there."""
    there = {found.name for found in pkgutil.iter_modules(tests.chaos.__path__)}
    for name in sorted(there & set(modules) or there):
        if not name.startswith(("_", "test_")):
            importlib.import_module(f"tests.chaos.{name}")
    return sorted(CELLS.values(), key=lambda each: each.module)
