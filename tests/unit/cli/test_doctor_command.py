"""`taskflow doctor` without anything to look at; what it finds is in tests/integration/engine/test_doctor.py."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.support.systems import ROOT

NOWHERE = "postgres://u:hush@127.0.0.1:1/d"


def taskflow(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "NATS_URL"}}
    return subprocess.run(
        [sys.executable, "-m", "taskflow.cli.main", *arguments], capture_output=True, text=True,
        timeout=60, check=False, env={**known, **environ}, cwd=ROOT,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "said"),
    [
        ([], {}, 2, "DATABASE_URL is not set"),
        (["--nope"], {"DATABASE_URL": NOWHERE}, 2, "No such option"),
        ([], {"DATABASE_URL": NOWHERE, "WORKER_LEASE": "soon"}, 2, 'WORKER_LEASE="soon" is not valid'),
        (["--repair"], {"DATABASE_URL": NOWHERE}, 7, "PostgreSQL cannot be reached"),
        (["--json"], {"DATABASE_URL": NOWHERE}, 7, "PostgreSQL cannot be reached"),
    ],
)
def test_faults_are_one_line_on_stderr(
    arguments: list[str], environ: dict[str, str], code: int, said: str
) -> None:
    done = taskflow("doctor", *arguments, **environ)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "hush" not in done.stderr


def test_help_tells_of_it() -> None:
    assert "  doctor " in taskflow("--help").stdout
    said = taskflow("doctor", "--help").stdout
    assert "--repair" in said
    assert "--json" in said
