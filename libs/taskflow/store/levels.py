"""Which migrations this code comes with. Every program tells PostgreSQL the newest it knows: its level."""

from __future__ import annotations

from functools import cache
from pathlib import Path

POST = "post"
"""The folder of migrations that take something away."""


def migrations_dir() -> Path:
    """Where the SQL files are: inside an installed package, else at the top of the checkout."""
    packaged = Path(__file__).parents[1] / "migrations"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "migrations"


def files(folder: Path) -> list[Path]:
    """The migrations of a folder, in order; none if there is no such folder."""
    return sorted(folder.glob("[0-9]*_*.sql"))


def number(path: Path) -> int:
    """The number of a migration."""
    return int(path.name.partition("_")[0])


def level(folder: Path) -> int:
    """The number of the newest migration, of either kind."""
    return max((number(path) for path in (*files(folder), *files(folder / POST))), default=0)


@cache
def known_level() -> int:
    """The level of this code."""
    return level(migrations_dir())
