"""The walk in the README, command by command, against a running system: its answers are those the text shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.support.systems import ROOT, running_system

README = ROOT / "README.md"
ADDRESS = "http://127.0.0.1:8080"
MARK = "\x1e"
WALK = re.compile(r"<!-- walk: .*?-->(.*?)<!-- end of walk -->", re.DOTALL)
BLOCK = re.compile(r"^```(sh|text|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# What differs from run to run, and what is shown in its place.
VARYING = (
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]+Z"), "<time>"),
    (re.compile(r'("duration_seconds": )[\d.e-]+'), r"\1<seconds>"),
)


class Step(NamedTuple):
    """Commands, and what the text says they print."""

    commands: str
    shown: str


def steps(text: str) -> list[Step]:
    """The commands of the walk; those without a block of text behind them print nothing."""
    found: list[Step] = []
    for kind, body in BLOCK.findall(text):
        if kind == "sh":
            found.append(Step(body.replace("\\\n", ""), ""))
        elif kind == "text":
            found[-1] = found[-1]._replace(shown=body)
    return found


def masked(text: str) -> list[str]:
    """The lines of `text` without what differs from run to run."""
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return text.strip().splitlines()


def walk(url: str, commands: list[str], folder: Path) -> list[str]:
    """Run these in one shell; what each of them printed."""
    script = f"\nprintf '{MARK}'\n".join(commands).replace(ADDRESS, url)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout.split(MARK)


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("bash"), reason="needs curl and bash")
def test_the_walk_in_the_readme_does_what_it_shows(tmp_path: Path) -> None:
    walked = WALK.search(README.read_text())
    assert walked, "the README has no walk between its two marks"
    (handlers,) = [body for kind, body in BLOCK.findall(walked[1]) if kind == "python"]
    (tmp_path / "letters.py").write_text(handlers)
    found = steps(walked[1])
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with running_system("--import", "letters", PYTHONPATH=path) as system:
        printed = walk(system.facts()["api_url"], [step.commands for step in found], tmp_path)
    for step, said in zip(found, printed, strict=True):
        assert masked(said) == masked(step.shown), step.commands
