"""scripts/smoke.sh, as people run it: against a whole system, and against an api that wants a key."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from tests.support import leaks
from tests.support.stand_in import StandIn, problem, stand_in
from tests.support.systems import ROOT, running_system

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl here")

KEY = "tfq_a_key_that_nobody_has"


def smoke(url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if name != "TASKFLOW_API_KEY"}
    return subprocess.run(
        [str(ROOT / "scripts/smoke.sh"), url], env={**known, **environment}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip


def test_a_system_that_is_well_passes() -> None:
    before = leaks.running()
    with running_system("--workers", "1") as system:
        done = smoke(system.facts()["api_url"])
    leaks.check_none_left(before)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"all well at {system.http.base_url}".rstrip("/")


@pytest.mark.parametrize(("status", "code"), [(401, 4), (403, 4), (500, 1)])
@pytest.mark.parametrize("key", [KEY, None])
def test_a_key_is_sent_and_its_refusal_told(status: int, code: int, key: str | None) -> None:
    with stand_in() as remote:
        _ready(remote)
        remote.answers("POST /tasks", problem(status, "refused", "not with this"))
        done = smoke(remote.url, **({"TASKFLOW_API_KEY": key} if key else {}))
    assert done.returncode == code
    assert f"status {status}" in done.stderr
    assert "not with this" in done.stderr
    assert KEY not in done.stdout + done.stderr
    expected = f"Bearer {key}" if key else None
    assert [asked.headers.get("authorization") for asked in remote.asked] == [expected] * 3


def _ready(remote: StandIn) -> None:
    remote.answers("GET /readyz", {"status": "ok"})
    remote.answers("GET /schema/openapi.json", {"openapi": "3.1.0"})
