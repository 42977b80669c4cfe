"""Parts of `taskflow dev` that need no server."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from taskflow.cli.dev.child import Lines, ending
from taskflow.cli.dev.console import Console
from taskflow.cli.dev.places import Account, DataFolder, check_port, free_port, may_reach, stand_in
from taskflow.cli.dev.start import _secrets, _url
from taskflow.cli.programs import offer_imports
from taskflow.kit.lifecycle import ProgramError


async def test_lines_are_whole_whatever_the_pieces_and_endless_ones_are_cut() -> None:
    shown: list[str] = []
    read_end, write_end = os.pipe()
    lines = await Lines.from_pipe(read_end, shown.append)
    with os.fdopen(write_end, "wb", 0) as out:
        out.write(b"one\ntw")
        await asyncio.sleep(0)
        out.write(b"o\r\n\xff\n")
        await asyncio.to_thread(out.write, b"x" * 200_000 + b"\nlast")
    await asyncio.wait_for(lines.ended.wait(), 5)
    lines.close()
    assert shown[:3] == ["one", "two", "�"]
    assert shown[-1] == "last"
    assert len(shown) == 5
    assert 64_000 < len(shown[3]) < 200_000


CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_the_console_prefixes_lines_or_keeps_them_json(capsys: pytest.CaptureFixture[str]) -> None:
    Console("console").show("api", "listens")
    Console("json").show("api", '{"event":"listens"}')
    Console("json").show("nats", "[ERR] no")
    said = capsys.readouterr().err.splitlines()
    assert said == ["api          | listens", '{"event":"listens"}', '{"service":"nats","event":"[ERR] no"}']


def test_a_data_folder_has_one_holder(tmp_path: Path) -> None:
    DataFolder(tmp_path / "data").lock()
    with pytest.raises(ProgramError, match=rf"another `taskflow dev` \(pid {os.getpid()}\) uses"):
        DataFolder(tmp_path / "data").lock()


def test_the_state_file_is_private_and_whole(tmp_path: Path) -> None:
    data = DataFolder(tmp_path)
    data.write_state({"nats_url": "nats://token@h"})
    assert (tmp_path / "dev.json").stat().st_mode & 0o777 == 0o600
    data.remove_state()
    assert not list(tmp_path.iterdir())


def test_a_key_is_made_once_and_is_the_owners(tmp_path: Path) -> None:
    path = DataFolder(tmp_path).key("secret-key")
    made = path.read_text()
    assert path == tmp_path.resolve() / "secret-key"
    assert len(made) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert DataFolder(tmp_path).key("secret-key").read_text() == made
    path.write_text("\n")  # as a full disk may leave it
    assert DataFolder(tmp_path).key("secret-key").read_text() not in (made, "\n")
    assert [found.name for found in tmp_path.iterdir()] == ["secret-key"]


def test_a_key_that_cannot_be_kept_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "secret-key").mkdir()
    with pytest.raises(ProgramError, match=r"cannot keep a key in .*/secret-key: Is a directory"):
        DataFolder(tmp_path).key("secret-key")


@pytest.mark.parametrize("end", ["", "_FILE"])
def test_keys_of_ones_own_are_used_and_none_are_made(tmp_path: Path, end: str) -> None:
    signing, sealing = {f"SECRET_KEY{end}": "k" * 40}, {f"SEALING_KEY{end}": "s" * 40}
    environ = {"ADMIN_PASSWORD": "hush", "LOG_LEVEL": "info", **signing, **sealing}
    assert _secrets(environ, DataFolder(tmp_path)) == {
        "api": {"ADMIN_PASSWORD": "hush", **signing, **sealing}, "worker": sealing, "notifier": sealing,
    }  # fmt: skip
    assert environ == {"LOG_LEVEL": "info"}
    assert not list(tmp_path.iterdir())


def test_an_empty_key_is_none(tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    sealing = {"SEALING_KEY_FILE": str(folder / "sealing-key")}
    assert _secrets({"SECRET_KEY": "", "SEALING_KEY": ""}, DataFolder(tmp_path)) == {
        "api": {"SECRET_KEY_FILE": str(folder / "secret-key"), **sealing}, "worker": sealing, "notifier": sealing,
    }  # fmt: skip
    assert (folder / "secret-key").read_text() != (folder / "sealing-key").read_text()


def test_whom_a_closed_folder_keeps_out(tmp_path: Path) -> None:
    stranger = Account(65533, 65533)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert not may_reach(closed / "data" / "base", stranger)
    assert may_reach(closed / "data", None)
    assert stand_in(closed, tmp_path) == stand_in(closed, tmp_path)
    assert stand_in(closed, tmp_path) != stand_in(tmp_path, tmp_path)
    assert not stand_in(closed, tmp_path).exists()


def test_ports() -> None:
    port = free_port()
    check_port("127.0.0.1", port)
    with pytest.raises(ProgramError, match="choose another --port"):
        check_port("no such host.invalid", port)
    first = free_port(count=3)
    with socket.create_server(("127.0.0.1", first + 2)), pytest.raises(ProgramError):
        check_port("127.0.0.1", first + 2)


@pytest.mark.skipif(not CONNECTIONS.exists(), reason="only Linux tells which ports connections get")
def test_no_connection_takes_the_port_of_a_server_that_is_restarted() -> None:
    lowest = int(CONNECTIONS.read_text().split()[0])
    assert max(free_port() for _ in range(50)) < lowest


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("0.0.0.0", "http://127.0.0.1:1"),
        ("::", "http://[::1]:1"),
        ("::1", "http://[::1]:1"),
        ("localhost", "http://localhost:1"),
    ],
)
def test_the_url_of_an_address(host: str, url: str) -> None:
    assert _url(host, 1) == url


def test_imports_reach_workers_and_the_children_of_their_handlers() -> None:
    environ = {"WORKER_IMPORTS": "a,b", "PYTHONPATH": "libs"}
    offer_imports(environ, ["b", "c"])
    assert environ["WORKER_IMPORTS"] == "a,b,c"
    assert environ["PYTHONPATH"] == f"{Path.cwd()}{os.pathsep}libs"


def test_endings_in_words() -> None:
    assert [ending(70), ending(-9), ending(-250)] == [
        "exit code 70",
        "killed by SIGKILL",
        "killed by signal 250",
    ]
