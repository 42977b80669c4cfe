"""The guide to accounts, walked through: its commands answer what it shows, on a system whose callers must sign in."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.test_readme import ADDRESS, BLOCK, MARK, masked
from tests.support import accounts
from tests.support.systems import ROOT, System, running_system

GUIDE = ROOT / "docs" / "guides" / "accounts.md"
WALK = "<!-- tests/e2e/test_accounts_guide.py"


@pytest.fixture
def system() -> Iterator[System]:
    """A system with an admin."""
    with running_system("--workers", "1", **accounts.REQUIRED) as found:
        accounts.sign_in(str(found.http.base_url))  # the admin has been made
        yield found


def test_the_guide_shows_what_is_answered(system: System, tmp_path: Path) -> None:
    blocks = BLOCK.findall(GUIDE.read_text().partition(WALK)[2])
    commands = [body for kind, body in blocks if kind == "sh"]
    shown = [
        body for (kind, _), (_, body) in itertools.pairwise(blocks) if kind == "sh"
    ]  # each is followed by what it prints
    assert len(commands) == len(shown) == 4
    script = f"\nprintf '{MARK}'\n".join(commands).replace(ADDRESS, str(system.facts()["api_url"]))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "ADMIN_PASSWORD": accounts.ADMIN_PASSWORD},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    for printed, expected in zip(done.stdout.split(MARK), shown, strict=True):
        assert masked(printed) == masked(expected)
