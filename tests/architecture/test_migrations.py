"""Migrations that run before a rolling upgrade must leave the programs of the version before alone; squawk reads them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskflow.store.levels import POST, files, migrations_dir, number

# What breaks a program that does not know of it, or stops it for as long as a table is long. Where that cannot be, a
# comment in the file says so: -- squawk-ignore require-concurrent-index-creation
BREAKING = {
    "ban-drop-column", "ban-drop-table", "ban-drop-view", "ban-drop-type", "ban-drop-function", "ban-drop-default",
    "ban-truncate-cascade", "renaming-column", "renaming-table", "renaming-object", "changing-column-type",
    "adding-required-field", "adding-not-nullable-field", "adding-field-with-default", "constraint-missing-not-valid",
    "require-concurrent-index-creation", "require-concurrent-index-deletion", "syntax-error",
}  # fmt: skip
# What squawk lets pass: all else that takes away, and rules that the rows of an older program may break.
OWN_RULES = {
    "takes-away": re.compile(r"\b(DROP(?!\s+NOT\s+NULL)|TRUNCATE|DELETE\s+FROM|RENAME)\b", re.I),
    "adding-constraint": re.compile(
        r"\bADD\s+(CONSTRAINT|CHECK|UNIQUE|EXCLUDE|FOREIGN)\b|\bCREATE\s+UNIQUE\b", re.I
    ),
    "adding-trigger": re.compile(r"\bCREATE\s+(OR\s+REPLACE\s+)?(CONSTRAINT\s+)?(TRIGGER|RULE)\b", re.I),
}
COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.S)
BEFORE_THE_FIRST_RELEASE = 2


def broken_rules(path: Path) -> set[str]:
    """The rules that a file breaks, of those that matter here."""
    squawk = Path(sys.executable).with_name("squawk")
    done = subprocess.run(
        [str(squawk), "--reporter", "Json", "--assume-in-transaction", "--pg-version", "15", str(path)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    text = COMMENT.sub("", path.read_text())
    own = {rule for rule, pattern in OWN_RULES.items() if pattern.search(text)}
    return own | ({found["rule_name"] for found in json.loads(done.stdout)} & BREAKING)


def test_what_runs_before_only_adds() -> None:
    for path in files(migrations_dir()):
        if number(path) > BEFORE_THE_FIRST_RELEASE:
            assert broken_rules(path) == set(), (
                f"{path.name} belongs into migrations/{POST}, or needs two steps"
            )


def test_what_takes_away_has_a_reason_to_wait() -> None:
    for path in files(migrations_dir() / POST):
        assert broken_rules(path), f"{path.name} only adds: it need not wait in migrations/{POST}"


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE queues ADD COLUMN note text",
        "ALTER TABLE queues ADD COLUMN n integer NOT NULL DEFAULT 0",
        "ALTER TABLE queues ALTER COLUMN name DROP NOT NULL",
        "CREATE TABLE notes (id uuid PRIMARY KEY, n integer CHECK (n > 0)); CREATE INDEX ON notes (n)",
        "-- squawk-ignore require-concurrent-index-creation\nCREATE INDEX ON queues (paused)",
        "SELECT 1 -- DROP",
    ],
)
def test_what_only_adds_passes(tmp_path: Path, sql: str) -> None:
    assert broken_rules(_written(tmp_path, sql)) == set()


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("ALTER TABLE queues ADD COLUMN n integer NOT NULL", "adding-required-field"),
        ("ALTER TABLE queues ADD COLUMN n float DEFAULT random()", "adding-field-with-default"),
        ("ALTER TABLE queues DROP COLUMN paused", "ban-drop-column"),
        ("ALTER TABLE queues ALTER COLUMN paused DROP DEFAULT", "takes-away"),
        ("ALTER TABLE queues RENAME COLUMN paused TO stopped", "renaming-column"),
        ("ALTER TABLE queues RENAME TO lines", "renaming-table"),
        ("ALTER TYPE lane RENAME VALUE 'low' TO 'least'", "takes-away"),
        ("ALTER TABLE queues ALTER COLUMN name TYPE varchar(9)", "changing-column-type"),
        ("ALTER TABLE queues ALTER COLUMN name SET NOT NULL", "adding-not-nullable-field"),
        ("ALTER TABLE queues ADD CONSTRAINT n CHECK (name <> '')", "constraint-missing-not-valid"),
        ("ALTER TABLE queues ADD CONSTRAINT n CHECK (name <> '') NOT VALID", "adding-constraint"),
        ("CREATE INDEX ON tasks (type)", "require-concurrent-index-creation"),
        ("CREATE UNIQUE INDEX ON queues (paused)", "adding-constraint"),
        ("CREATE TRIGGER t BEFORE INSERT ON tasks EXECUTE FUNCTION f()", "adding-trigger"),
        ("DROP INDEX tasks_due", "takes-away"),
        ("DROP FUNCTION f()", "takes-away"),
        ("DROP TABLE queues", "ban-drop-table"),
        ("TRUNCATE queues", "takes-away"),
        ("DELETE FROM queues", "takes-away"),
        ("ALTER TABLE", "syntax-error"),
    ],
)
def test_a_breaking_change_is_seen(tmp_path: Path, sql: str, rule: str) -> None:
    assert rule in broken_rules(_written(tmp_path, sql))


def _written(folder: Path, sql: str) -> Path:
    path = folder / "0003_change.sql"
    path.write_text(f"-- migrate:up\n\n{sql};\n\n-- migrate:down\n")
    return path
