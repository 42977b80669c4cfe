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
EVENT_SOURCE = """
class EventSource extends EventTarget {
  constructor(url) { super(); this.left = new AbortController(); this.read(url); }
  close() { this.left.abort(); }
  async read(url) {
    try {
      const answer = await fetch(url, { headers: { accept: "text/event-stream" }, signal: this.left.signal });
      let text = "";
      for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
        text += chunk;
        for (let end; (end = text.indexOf("\\n\\n")) >= 0; text = text.slice(end + 2)) this.tell(text.slice(0, end));
      }
    } catch { }
    if (!this.left.signal.aborted) this.onerror();
  }
  tell(frame) {
    const said = Object.fromEntries(frame.split("\\n").map((line) => line.split(/: (.*)/s)));
    if (said.event) this.dispatchEvent(new MessageEvent(said.event, { data: said.data, lastEventId: said.id }));
  }
}
"""
"""As far as the guide needs it: node has none yet."""


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


@pytest.mark.parametrize("kind", ["socket", "events"])
def test_a_page_follows_a_task(system: System, tmp_path: Path, kind: str) -> None:
    node = shutil.which("node")
    if (
        node is None
        or subprocess.run([node, "--experimental-websocket", "-e", "WebSocket"], check=False).returncode
    ):
        pytest.skip("needs a node with WebSocket")
    [page] = [said for language, said in blocks(system) if language == "js"]
    (tmp_path / "page.mjs").write_text(EVENT_SOURCE + page + CALLS)
    task = system.http.post("/api/v1/tasks", json={"type": "demo", "delay_seconds": 1}).json()
    told = run(system, node, "--experimental-websocket", "page.mjs", task["id"], kind, folder=tmp_path)
    events = ["task 1", "task 2", "task 3", "task 4"]
    assert told.splitlines() == (events if kind == "events" else ["state 1", *events, "end "])
