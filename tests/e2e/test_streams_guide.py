"""The guide to live streams, walked through: its commands and programs print what it shows."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.test_readme import ADDRESS
from tests.support.systems import ROOT, System, running_system

GUIDE = ROOT / "docs" / "guides" / "streams.md"
WALK = "<!-- tests/e2e/test_streams_guide.py"
BLOCK = re.compile(r"^```(sh|text|python|js)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MARK = "-----"
CALLS = """
const [id, kind] = process.argv.slice(2);
const follow = { socket: followBySocket, events: followByEvents }[kind];
follow(id, undefined, (event) => console.log(event.event, event.seq ?? ""));
"""
"""What a page would do with the functions of the guide."""


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """A system at which nobody need sign in."""
    with running_system("--workers", "1") as found:
        yield found


def blocks(system: System) -> list[tuple[str, str]]:
    """The guide's blocks after the mark, by kind, for this system's address."""
    address = str(system.facts()["api_url"])
    return [
        (kind, body.replace(ADDRESS, address))
        for kind, body in BLOCK.findall(GUIDE.read_text().partition(WALK)[2])
    ]


def run(system: System, *command: str, folder: Path) -> str:
    """What a command prints."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_guide_shows_what_is_answered(system: System, tmp_path: Path) -> None:
    found = blocks(system)
    shown = {
        said: printed for (kind, said), (_, printed) in itertools.pairwise(found) if kind in {"sh", "python"}
    }
    commands = [said for kind, said in found if kind == "sh"]
    [program] = [said for kind, said in found if kind == "python"]
    assert len(commands) == 3
    script = f"\nprintf -- '{MARK}'\n".join(commands)
    printed = run(system, "bash", "-euo", "pipefail", "-c", script, folder=tmp_path).split(MARK)
    assert printed == [shown[said] for said in commands]
    assert run(system, sys.executable, "-c", program, folder=tmp_path) == shown[program]


def test_a_page_follows_a_task_by_socket(system: System, tmp_path: Path) -> None:
    node = shutil.which("node")
    if (
        node is None
        or subprocess.run([node, "--experimental-websocket", "-e", "WebSocket"], check=False).returncode
    ):
        pytest.skip("needs a node with WebSocket")
    [page] = [said for kind, said in blocks(system) if kind == "js"]
    (tmp_path / "page.mjs").write_text(page + CALLS)
    task = system.http.post("/api/v1/tasks", json={"type": "demo", "delay_seconds": 1}).json()
    told = run(system, node, "--experimental-websocket", "page.mjs", task["id"], "socket", folder=tmp_path)
    assert told.splitlines() == ["state 1", "task 1", "task 2", "task 3", "task 4", "end "]
