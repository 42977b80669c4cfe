"""The commands in the README and the guides, run against a running system: they answer what the text shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.support.systems import ROOT, System, running_system

README, API, HANDLERS = "README.md", "docs/guides/api.md", "docs/guides/handlers.md"
MODULES = {README: "letters", HANDLERS: "shop"}
"""What the Python of a text is called in it."""
ADDRESS = "http://127.0.0.1:8080"
MARK = "\x1e"
WALK = re.compile(r"<!-- walk: .*?-->(.*?)<!-- end of walk -->", re.DOTALL)
BLOCK = re.compile(r"^```(sh|text|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# What differs from run to run, and what is compared in its place.
VARYING = (
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]+Z"), "<time>"),
    (re.compile(r'("duration_seconds": )[\d.e-]+'), r"\1<seconds>"),
)

pytestmark = pytest.mark.skipif(
    not shutil.which("curl") or not shutil.which("bash"), reason="needs curl and bash"
)


class Step(NamedTuple):
    """Commands, and what the text says they print."""

    commands: str
    shown: str


def blocks(document: str) -> list[tuple[str, str]]:
    """The blocks of a document: their kind and body. Of the README only the walk counts."""
    text = (ROOT / document).read_text()
    if document == README:
        walked = WALK.search(text)
        assert walked, "the README has no walk between its two marks"
        text = walked[1]
    return BLOCK.findall(text)


def steps(document: str) -> list[Step]:
    """The commands of a document; those without a block of text behind them print nothing."""
    found: list[Step] = []
    for kind, body in blocks(document):
        if kind == "sh":
            found.append(Step(body, ""))
        elif kind == "text":
            found[-1] = found[-1]._replace(shown=body)
    return found if document == README else [steps(README)[0], *found]


def walk(url: str, commands: list[str], folder: Path) -> list[str]:
    """Run these in one shell; what each of them printed."""
    script = f"\nprintf '{MARK}'\n".join(commands).replace(ADDRESS, url)
    shell = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(shell, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout.split(MARK)


def masked(text: str) -> list[str]:
    """The lines of `text` without what differs from run to run."""
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return text.strip().splitlines()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with the handlers that the texts show."""
    folder = tmp_path_factory.mktemp("modules")
    for document, module in MODULES.items():
        (shown,) = [body for kind, body in blocks(document) if kind == "python"]
        (folder / f"{module}.py").write_text(shown)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    imports = [word for module in MODULES.values() for word in ("--import", module)]
    with running_system(*imports, PYTHONPATH=path) as found:
        yield found


@pytest.mark.parametrize("document", [README, API, HANDLERS])
def test_the_commands_of_a_text_answer_what_it_shows(document: str, system: System, tmp_path: Path) -> None:
    found = steps(document)
    printed = walk(system.facts()["api_url"], [step.commands for step in found], tmp_path)
    for step, said in zip(found, printed, strict=True):
        assert masked(said) == masked(step.shown), step.commands
