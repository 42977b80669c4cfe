"""Documents and tree agree: links lead somewhere, every module and every setting is told of."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import fields
from tests.support.systems import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
PACKAGES = [
    *(path for path in sorted((ROOT / "libs/taskflow").iterdir()) if path.is_dir() and path.name != "cli"),
    ROOT / "libs/taskflow/cli/dev",
    ROOT / "libs/taskflow/cli/client",
]
SETTINGS = {
    "taskflow_api.settings": "a",
    "taskflow_worker.settings": "w",
    "taskflow_scheduler.settings": "s",
    "taskflow_dlq_consumer.settings": "d",
    "taskflow_notifier.settings": "n",
    "taskflow.cli.dev.settings": "dev",
}
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#([^)\s]+))?\)")
ROW = re.compile(r"^\| `([A-Z_]+)` \|(.*)$", re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """What a link may name within a document."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def settings_of(module: str) -> set[str]:
    """The environment variables that a program reads."""
    found = importlib.import_module(module)
    kinds = [kind for kind in vars(found).values() if isinstance(kind, type) and issubclass(kind, Struct)]
    return {field.name.upper() for kind in kinds if kind.__module__ == module for field in fields(kind)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target, anchor in LINK.findall(document.read_text()):
        path = (document.parent / target).resolve()
        assert path.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(path), f"{target} has no heading #{anchor}"


def test_the_architecture_is_short_and_tells_of_every_module() -> None:
    text = ARCHITECTURE.read_text()
    assert len(text.splitlines()) <= 150
    words = set(re.findall(r"\w+", text.partition("## The path of a task")[0]))
    modules = {path.stem for package in PACKAGES for path in package.glob("*.py")} - {"__init__"}
    assert modules <= words, f"not told of: {sorted(modules - words)}"


def test_every_file_that_the_architecture_names_is_there() -> None:
    names = set(re.findall(r"`((?:\w+/)*\w+\.py)`", ARCHITECTURE.read_text()))
    there = {str(path) for folder in ("libs", "services") for path in (ROOT / folder).rglob("*.py")}
    assert not {name for name in names if not any(path.endswith(f"/{name}") for path in there)}


def test_the_table_of_settings_is_what_the_programs_read() -> None:
    table = dict(ROW.findall((ROOT / "docs/guides/settings.md").read_text()))
    for module, service in SETTINGS.items():
        readers = {name: row.split("|")[2].split() for name, row in table.items()}
        told = {name for name, who in readers.items() if service in who or "all" in who}
        assert told == settings_of(module), module


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    for path in (ROOT / "docs/decisions").glob("*.md"):
        assert f"decisions/{path.name}" in index
