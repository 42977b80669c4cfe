"""What a process and its children hold in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskflow.kit.memory import resident_bytes

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc here")

MIB = 1024 * 1024
HOLD = "import sys; held = b'x' * (64 << 20); print('held', flush=True); sys.stdin.read()"


def test_children_count_as_long_as_they_live() -> None:
    before = resident_bytes()
    assert before is not None
    assert before > MIB
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        held = resident_bytes()
        child.stdin.close()
    assert held is not None
    assert held - before > 60 * MIB
    after = resident_bytes()
    assert after is not None
    assert after - before < 32 * MIB


def test_a_thread_that_ends_meanwhile_hides_no_child(tmp_path: Path) -> None:
    """Its folder is still listed, and empty."""
    for pid, children in ((os.getpid(), {"1": "7 8", "2": None, "3": "9"}), (7, {}), (8, {}), (9, {})):
        for thread, told in children.items():
            (tmp_path / str(pid) / "task" / thread).mkdir(parents=True)
            if told is not None:
                (tmp_path / str(pid) / "task" / thread / "children").write_text(told)
        (tmp_path / str(pid)).mkdir(exist_ok=True)
        (tmp_path / str(pid) / "statm").write_text("100 10 1 1 0 1 0")
    assert resident_bytes(tmp_path) == 40 * os.sysconf("SC_PAGE_SIZE")


def test_where_it_is_not_told_it_is_not_known(tmp_path: Path) -> None:
    assert resident_bytes(tmp_path) is None
    (tmp_path / str(os.getpid())).mkdir()
    (tmp_path / str(os.getpid()) / "statm").write_text("not numbers")
    assert resident_bytes(tmp_path) is None
