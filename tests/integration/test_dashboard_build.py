"""Building the dashboard, and packing it: what is done, what is not done twice, and what is said where it cannot be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.support.systems import ROOT

BUILD = ROOT / "services" / "dashboard" / "build.py"
NOBODY = "http://127.0.0.1:1"
CANNOT = 3


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sources, without anything that was made of them."""
    made = shutil.ignore_patterns("node_modules", "openapi.json", "schema.d.ts", "__pycache__", "dashboard")
    for name in ("libs", "migrations", "deployments/requirements"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=made)
    shutil.copytree(ROOT / "services", tmp_path / "services", ignore=made)
    shutil.copytree(BUILD.parent, tmp_path / "services" / "dashboard", ignore=made, dirs_exist_ok=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python of ours in a copy, which finds neither PyPI nor the npm registry."""
    closed = {
        "npm_config_registry": NOBODY, "npm_config_cache": str(folder / "cache"), "PIP_INDEX_URL": NOBODY,
        "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env={**os.environ, **closed, **environment},
        capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip


def test_where_there_is_no_registry_that_is_said_in_a_line(copy: Path) -> None:
    out = copy / "services/api/taskflow_api/dashboard"
    ran = run(copy, "services/dashboard/build.py")
    assert ran.returncode == CANNOT, ran.stderr
    said = ran.stderr.strip().splitlines()[-1]
    assert said.startswith("dashboard: it")
    assert "the npm registry" in said or "from PyPI" in said
    assert not out.exists()


def test_without_any_node_it_is_said_what_is_needed(copy: Path) -> None:
    node = copy / "node"
    ran = run(copy, "services/dashboard/build.py", "--node", str(node), PATH="/nowhere")
    assert ran.returncode == CANNOT, ran.stderr
    assert "needs Node 22.18 or newer" in ran.stderr
    assert not node.exists()


def test_a_wheel_takes_along_what_was_built_and_one_may_do_without(copy: Path) -> None:
    wheel = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", ".", "-w")
    if run(copy, "-m", "pip", "--version").returncode != 0:
        pytest.skip("no pip beside this Python")
    refused = run(copy, *wheel, "none")
    assert refused.returncode != 0
    assert "`make dashboard` builds it" in refused.stderr + refused.stdout
    assert run(copy, *wheel, "without", TASKFLOW_WITHOUT_DASHBOARD="1").returncode == 0
    assert dashboard_in(copy / "without") == []
    out = copy / "services/api/taskflow_api/dashboard"
    (out / "assets").mkdir(parents=True)
    (out / "index.html").write_text("<title>built</title>")
    (out / "assets" / "index-1.js").write_text("1")
    assert run(copy, *wheel, "with").returncode == 0
    assert dashboard_in(copy / "with") == ["assets/index-1.js", "index.html"]
    assert run(copy, *wheel, "none-yet", TASKFLOW_WITHOUT_DASHBOARD="1").returncode == 0
    assert dashboard_in(copy / "none-yet") == []


def test_no_wheel_hides_that_the_dashboard_does_not_build(copy: Path) -> None:
    """One that was built before stands in where Node cannot be had, not where the sources are wrong."""
    if run(copy, "-m", "pip", "--version").returncode != 0:
        pytest.skip("no pip beside this Python")
    out = copy / "services/api/taskflow_api/dashboard"
    out.mkdir(parents=True)
    (out / "index.html").write_text("<title>built before</title>")
    (copy / "services/dashboard/node_modules").mkdir()
    for name, says in (
        ("node", "echo v24.0.0"),
        ("npm", '[ "$1" = ci ] || { echo "no such type"; exit 1; }'),
    ):
        (copy / name).write_text(f"#!/bin/sh\n{says}\n")
        (copy / name).chmod(0o755)
    path = f"{copy}{os.pathsep}{os.environ['PATH']}"
    wheel = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", ".", "-w", "wheels")
    refused = run(copy, *wheel, PATH=path)
    assert refused.returncode != 0
    assert "no such type" in refused.stderr + refused.stdout
    assert not list((copy / "wheels").glob("*.whl"))


def dashboard_in(folder: Path) -> list[str]:
    """What a wheel holds of the built dashboard."""
    [wheel] = folder.glob("*.whl")
    prefix = "taskflow_api/dashboard/"
    names = zipfile.ZipFile(wheel).namelist()
    return sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix))
