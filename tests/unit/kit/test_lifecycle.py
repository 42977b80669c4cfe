"""How programs end: real processes, real signals; and the guard of loops."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.waiting import wait_until_sync

from taskflow.kit.lifecycle import Guard, LoopDied

_PROGRAM = """
import asyncio, sys
from taskflow.kit.lifecycle import Guard, ProgramError, program
from taskflow.kit.settings import ProgramSettings, SettingsError, Secret


class Settings(ProgramSettings, frozen=True, kw_only=True):
    case: str
    key: Secret = "hush"


async def dies():
    raise ValueError("no further")


async def main(settings, stop):
    match settings.case:
        case "waits":
            print("waits", flush=True)
            await stop.wait()
        case "ignores":
            print("waits", flush=True)
            await asyncio.Event().wait()
        case "loop":
            async with Guard() as guard:
                guard.spawn(dies(), "healer")
                await stop.wait()
        case "raises":
            raise RuntimeError("broken")
        case "refuses":
            raise ProgramError("the port is taken", 1)
        case "settings":
            raise SettingsError("HTTP_HOST", "0.0.0.0", "a loopback address")
        case "code":
            return 3


program(Settings, main, "sample")
"""


def start(case: str | None, tmp_path: Path, **environ: str) -> subprocess.Popen[str]:
    (tmp_path / "sample.py").write_text(_PROGRAM)
    known = {k: v for k, v in os.environ.items() if k not in {"LOG_FORMAT", "LOG_LEVEL"}}
    return subprocess.Popen(
        [sys.executable, str(tmp_path / "sample.py")], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**known, **({"CASE": case} if case else {}), **environ},
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_program_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with start("waits", tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "stop.requested" in said
    assert "hush" not in said
    assert "service.started" in said.splitlines()[0]


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with start("ignores", tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        process.terminate()
        # A signal that comes before the first was taken would be one with it.
        assert process.stderr is not None
        seen = wait_until_sync(lambda: "stop.requested" in process.stderr.readline(), "it heard the first")
        assert seen
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("case", "code", "said", "lines"),
    [
        ("loop", 70, "ValueError: no further", None),
        ("raises", 70, "RuntimeError: broken", None),
        ("refuses", 1, "\nthe port is taken\n", None),
        ("settings", 2, '\nHTTP_HOST="0.0.0.0" is not valid; expected a loopback address\n', None),
        ("code", 3, "exit_code=3", None),
        (None, 2, "CASE is not set; expected text\n", 1),
    ],
)
def test_exit_codes(tmp_path: Path, case: str | None, code: int, said: str, lines: int | None) -> None:
    with start(case, tmp_path) as process:
        _, heard = process.communicate(timeout=20)
    assert process.returncode == code
    assert said in heard
    assert lines is None or len(heard.splitlines()) == lines


async def test_the_guard_ends_its_loops_last_started_first() -> None:
    ended: list[str] = []

    async def loop(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async with Guard() as guard:
        for name in ("first", "second"):
            guard.spawn(loop(name), name)
        await asyncio.sleep(0)
    assert ended == ["second", "first"]


async def test_a_loop_that_dies_ends_the_block_of_its_guard() -> None:
    async def dies() -> None:
        raise ValueError("no further")

    guard = Guard()

    async def block() -> None:
        async with guard:
            guard.spawn(dies(), "healer")
            await asyncio.Event().wait()

    with pytest.raises(LoopDied, match="healer"):
        await block()
    assert guard.failed.is_set()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_loop_that_returns_is_no_failure_and_faults_of_the_block_pass() -> None:
    async def returns() -> None:
        return None

    guard = Guard()

    async def block() -> None:
        async with guard:
            await guard.spawn(returns(), "short")
            raise KeyError("mine")

    with pytest.raises(KeyError):
        await block()
    assert not guard.failed.is_set()
