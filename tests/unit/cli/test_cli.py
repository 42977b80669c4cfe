"""The command line: what it says and how it exits. Each case is a process, as a user's would be."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

_SETTINGS = {"DATABASE_URL", "NATS_URL", "HTTP_HOST", "HTTP_PORT", "LOG_FORMAT", "LOG_LEVEL"}
ROOT = Path(__file__).parents[3]


def taskflow(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
    return subprocess.run(
        [sys.executable, "-m", "taskflow.cli.main", *arguments], capture_output=True, text=True,
        timeout=60, check=False, env={**known, **environ}, cwd=ROOT,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "said"),
    [
        (["nope"], {}, 2, "No such command"),
        (["dev", "--nope"], {}, 2, "No such option"),
        (["dev", "--port", "70000"], {}, 2, "70000"),
        (["dev"], {"HTTP_PORT": "x"}, 2, 'HTTP_PORT="x" is not valid; expected a port from 0 to 65535'),
        (["worker"], {}, 2, "DATABASE_URL is not set"),
        (["migrate"], {}, 2, "DATABASE_URL is not set"),
        (["migrate"], {"DATABASE_URL": "postgres://u:hush@127.0.0.1:1/d"}, 7, "cannot be reached"),
    ],
)
def test_faults_are_one_line_on_stderr(
    arguments: list[str], environ: dict[str, str], code: int, said: str
) -> None:
    done = taskflow(*arguments, **environ)
    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert "hush" not in done.stderr


def test_what_a_command_lacks_is_named(tmp_path: Path) -> None:
    """As in the images of services that do not need it."""
    (tmp_path / "jwt.py").write_text("raise ModuleNotFoundError(\"No module named 'jwt'\", name='jwt')")
    done = taskflow("admin", "create", PYTHONPATH=str(tmp_path))
    said = "taskflow: jwt is not installed; pip install 'taskflow-platform[all]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_help_lists_the_commands() -> None:
    done = taskflow("--help")
    assert done.returncode == 0
    for command in (
        "dev",
        "api",
        "worker",
        "scheduler",
        "dlq-consumer",
        "notifier",
        "migrate",
        "janitor",
        "info",
    ):
        assert f"  {command} " in done.stdout


def test_alone_it_shows_its_help() -> None:
    done = taskflow()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == taskflow("--help").stdout


def test_info_as_json() -> None:
    found = json.loads(taskflow("info", "--json").stdout)
    assert found["versions"]["python"] == sys.version.split()[0]
    assert found["versions"]["asyncpg"]


def test_dev_refuses_a_used_port_before_it_starts_anything(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = taskflow("dev", "--port", port, "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"cannot listen on 127.0.0.1 port {port}: ")
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["lock"]


def test_dev_refuses_a_wrong_setting_of_a_service_before_it_starts_anything(tmp_path: Path) -> None:
    done = taskflow("dev", "--port", "0", "--data-dir", str(tmp_path / "data"), WORKER_LEASE="soon")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith('WORKER_LEASE="soon" is not valid; expected ')
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"lock", "secret-key", "sealing-key"}
