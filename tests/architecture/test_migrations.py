"""Migrations that run before a rolling upgrade must leave the programs of the version before alone; squawk reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from taskflow.store.levels import POST, files, migrations_dir

# What breaks a program that does not know of it, or stops it for as long as a table is long.
BREAKING = {
    "ban-drop-column", "ban-drop-table", "ban-drop-view", "renaming-column", "renaming-table",
    "changing-column-type", "adding-required-field", "adding-not-nullable-field", "constraint-missing-not-valid",
}  # fmt: skip
BEFORE_THE_FIRST_RELEASE = 2


def broken_rules(path: Path) -> set[str]:
    """The rules that a file breaks, of those that matter here."""
    squawk = Path(sys.executable).with_name("squawk")
    done = subprocess.run(
        [str(squawk), "--reporter", "Json", "--assume-in-transaction", "--pg-version", "15", str(path)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return {found["rule_name"] for found in json.loads(done.stdout)} & (BREAKING | {"syntax-error"})


def test_what_runs_before_only_adds() -> None:
    for path in files(migrations_dir()):
        if int(path.name.partition("_")[0]) > BEFORE_THE_FIRST_RELEASE:
            assert broken_rules(path) == set(), (
                f"{path.name} belongs into migrations/{POST}, or needs two steps"
            )


def test_what_takes_away_has_a_reason_to_wait() -> None:
    for path in files(migrations_dir() / POST):
        assert broken_rules(path), f"{path.name} only adds: it need not wait in migrations/{POST}"


@pytest.mark.parametrize(
    ("sql", "rules"),
    [
        ("ALTER TABLE queues ADD COLUMN note text", set()),
        ("ALTER TABLE queues ADD COLUMN n integer NOT NULL DEFAULT 0", set()),
        ("CREATE TABLE notes (id uuid PRIMARY KEY)", set()),
        ("ALTER TABLE queues ADD CONSTRAINT n CHECK (name <> '') NOT VALID", set()),
        ("ALTER TABLE queues ADD COLUMN n integer NOT NULL", {"adding-required-field"}),
        ("ALTER TABLE queues DROP COLUMN paused", {"ban-drop-column"}),
        ("ALTER TABLE queues RENAME COLUMN paused TO stopped", {"renaming-column"}),
        ("ALTER TABLE queues RENAME TO lines", {"renaming-table"}),
        ("ALTER TABLE queues ALTER COLUMN name TYPE varchar(9)", {"changing-column-type"}),
        ("ALTER TABLE queues ALTER COLUMN name SET NOT NULL", {"adding-not-nullable-field"}),
        ("ALTER TABLE queues ADD CONSTRAINT n CHECK (name <> '')", {"constraint-missing-not-valid"}),
        ("DROP TABLE queues", {"ban-drop-table"}),
        ("ALTER TABLE", {"syntax-error"}),
    ],
)
def test_a_breaking_change_is_seen(tmp_path: Path, sql: str, rules: set[str]) -> None:
    path = tmp_path / "0003_change.sql"
    path.write_text(f"-- migrate:up\n\n{sql};\n\n-- migrate:down\n")
    assert broken_rules(path) == rules
