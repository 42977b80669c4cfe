"""The rules of the house, asked of the sources themselves."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("libs", "services")
TOP = {
    "services", "libs", "deployments", "migrations", "scripts", "tests", "docs", "docker-compose.yml", "Makefile",
    "README.md", "pyproject.toml", "CHANGELOG.md", "ARCHITECTURE.md", "LICENSE",
}  # fmt: skip
MODULE_LINES_MAX = 300
FUNCTION_LINES_MAX = 50
NAMELESS = {"utils", "util", "common", "helpers", "base", "manager", "misc"}
SQL = re.compile(
    r"\bSELECT\s.+\sFROM\s|\bINSERT\s+INTO\s|\bUPDATE\s+\w+\s+(\w+\s+)?SET\s|\bDELETE\s+FROM\s", re.S
)


class Module(NamedTuple):
    """A source file, read and parsed."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))


def _modules() -> Iterator[Module]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if "node_modules" in path.parts:
                continue
            text = path.read_text()
            if text.strip():
                yield Module(path, text, ast.parse(text))


MODULES = list(_modules())


def in_store(module: Module) -> bool:
    return "store" in module.path.relative_to(ROOT).parts


def may_read_environment(module: Module) -> bool:
    parts = module.path.relative_to(ROOT).parts
    is_program = "cli" in parts or "dashboard" in parts or parts[-1] == "__main__.py"
    return is_program or parts[-2:] == ("kit", "settings.py")


def test_there_is_something_to_ask() -> None:
    assert len(MODULES) > 80


def test_modules_are_short() -> None:
    long = {m.name: lines for m in MODULES if (lines := len(m.text.splitlines())) > MODULE_LINES_MAX}
    assert long == {}


def test_functions_are_short() -> None:
    long = {
        f"{module.name}:{node.name}": lines
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert long == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [m.name for m in MODULES if not ast.get_docstring(m.tree)]
    assert silent == []


def test_no_room_has_a_name_that_says_nothing() -> None:
    assert [m.name for m in MODULES if {m.path.stem, m.path.parent.name} & NAMELESS] == []


def test_only_the_store_speaks_sql() -> None:
    found = [
        f"{module.name}:{node.lineno}"
        for module in MODULES
        if not in_store(module)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    ]
    assert found == []


def test_only_settings_cli_and_mains_read_the_environment() -> None:
    found = [
        m.name
        for m in MODULES
        if not may_read_environment(m) and any(map(_reads_environment, ast.walk(m.tree)))
    ]
    assert found == []


def _reads_environment(node: ast.AST) -> bool:
    names = {"environ", "environb", "getenv", "putenv"}
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
        return node.attr in names
    return (
        isinstance(node, ast.ImportFrom)
        and node.module == "os"
        and bool({a.name for a in node.names} & names)
    )


def test_the_import_contracts_hold() -> None:
    program = Path(sys.executable).parent / "lint-imports"
    if not program.exists():
        pytest.skip("import-linter is not installed beside this Python")
    done = subprocess.run(
        [str(program), "--no-cache", "--config", str(ROOT / "pyproject.toml")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_top_level_is_what_was_agreed() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    top = {path.split("/")[0] for path in listed if (ROOT / path).exists()}
    assert {name for name in top if not name.startswith(".")} == TOP


@pytest.mark.parametrize(
    "folder",
    sorted(
        path.name
        for path in [*(ROOT / "libs" / "taskflow").iterdir(), *(ROOT / "services").iterdir()]
        if path.is_dir() and any(path.rglob("*.py"))
    ),
)
def test_architecture_md_names_every_room(folder: str) -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    assert re.search(rf"(?<![\w-]){re.escape(folder)}(?![\w-])", text), (
        f"ARCHITECTURE.md does not mention {folder}"
    )
    assert len(text.splitlines()) <= 150


def test_statements_are_put_together_of_constants_alone() -> None:
    """What a caller says reaches PostgreSQL as a parameter, never as text. The names of ranges are made of their days."""
    made = {
        (module.name, value.value)
        for module in MODULES
        if in_store(module) and module.path.stem not in {"partitions", "migrate"}
        for joined in ast.walk(module.tree)
        if isinstance(joined, ast.JoinedStr) and SQL.search(ast.unparse(joined) + " ")
        for value in joined.values
        if isinstance(value, ast.FormattedValue)
    }
    assert len(made) > 20
    assert {(name, ast.unparse(value)) for name, value in made if not _is_constant(value)} == set()


def _is_constant(value: ast.expr) -> bool:
    if isinstance(value, ast.Call) and all(isinstance(each, ast.Constant) for each in value.args):
        return isinstance(value.func, ast.Attribute) and _is_constant(value.func.value)
    name = value.attr if isinstance(value, ast.Attribute) else value.id if isinstance(value, ast.Name) else ""
    return name.isupper()


SECRETS = re.compile(
    r"\btf[qr]_[0-9A-Za-z]{38}\b|\bwhsec_[0-9A-Za-z+/]{42,}=|-----BEGIN [A-Z ]*PRIVATE KEY-----\n[0-9A-Za-z+/]{32}"
)


def test_no_secret_stands_in_the_repository() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    assert len(paths) > 300
    texts = {path: path.read_text(errors="replace") for path in paths if path.is_file()}
    assert [str(path) for path, text in texts.items() if SECRETS.search(text)] == []
    assert SECRETS.search("tfq_" + "a" * 38)
