"""The runbook "The DLQ is filling up", walked through: every command of it, in its order, on a broken shop."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.systems import ROOT, System, environment_of_programs, running_system

GUIDE = ROOT / "docs" / "guides" / "dead-letters.md"
SHOP = """
from taskflow import PermanentError, Struct, task

class Receipt(Struct):
    order: int
    customer: dict

@task("send_receipt", max_attempts=2)
async def send_receipt(payload: Receipt) -> dict:
    return {"sent_to": payload.customer["e_mail"]}

@task("charge_card")
async def charge_card(payload: Receipt) -> dict:
    raise PermanentError(f"card of order {payload.order} was declined")
"""
RECEIPTS, CARDS = 300, 40


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[System]:
    """The system of the runbook, after the deploy."""
    (tmp_path / "shop.py").write_text(SHOP)
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    with running_system("--workers", "1", "--import", "shop", PYTHONPATH=path) as found:
        ids = found.submit_many(
            [
                {
                    "type": "send_receipt",
                    "payload": {"order": n, "customer": {"email": f"ann{n}@example.org"}},
                    "retry": {"strategy": "fixed", "base_seconds": 0.01, "jitter": "none"},
                }
                for n in range(RECEIPTS)
            ]
            + [{"type": "charge_card", "payload": {"order": n, "customer": {}}} for n in range(CARDS)]
        )
        assert {task["status"] for task in found.wait_all(ids).values()} == {"failed"}
        found.until(
            lambda: (
                sum(group["count"] for group in _groups(found) if group["fingerprint"]) == RECEIPTS + CARDS
            ),
            "all letters are handled",
        )
        yield found


@pytest.mark.timeout(180)
def test_every_command_of_the_runbook_does_what_it_says(shop: System, tmp_path: Path) -> None:
    commands = re.findall(r"^\$ ((?:taskflow|curl) .+)$", GUIDE.read_text(), re.M)
    walk = iter(commands)
    told = _names(shop)

    def step(expect: int = 0) -> str:
        return _run(next(walk), told, shop, tmp_path, expect)

    assert re.search(r"send_receipt +300 +300 .+KeyError: 'e_mail'", step())
    assert '"paused":true' in step()
    assert step().count("KeyError: 'e_mail'") == 3
    letter = step()
    assert 'payload.customer["e_mail"]' in letter
    assert "Attempts" in letter
    assert '"paused":false' in step()
    assert f"{RECEIPTS} dead letters match" in step()
    assert re.search(r"stopped \(canary: \d+ of 100 failed for good", step(expect=1))
    _mend(shop, tmp_path)
    assert "canary passed: 100 succeeded, 0 failed of 100" in step()
    assert f"{CARDS} dead letters in declined.ndjson" in step()
    assert len((tmp_path / "declined.ndjson").read_text().splitlines()) == CARDS
    assert f"done: {CARDS} done" in step()
    assert [word for word in step().split() if word in {"discard", "replay"}] == [
        "discard",
        "replay",
        "replay",
    ]
    assert list(walk) == []
    shop.until(
        lambda: len(shop.list_all(type="send_receipt", status="completed")) == RECEIPTS, "all are sent"
    )


def _mend(system: System, folder: Path) -> None:
    """Roll out the fix: the worker is started anew with it."""
    (folder / "shop.py").write_text(SHOP.replace("e_mail", "email"))
    [old] = system.facts()["pids"]["workers"]
    os.kill(old, signal.SIGTERM)
    system.until(lambda: system.facts()["pids"]["workers"] != [old], "the worker is another one", 30)


def _names(system: System) -> dict[str, str]:
    """What stands in the guide, and what it is called here."""
    fingerprints = {group["type"]: group["fingerprint"] for group in _groups(system)}
    letter = system.list_all("/dead-letters", type="send_receipt")[0]["id"]
    return {
        "3db7f01b731c5c1e": fingerprints["send_receipt"],
        "01a205ad-8b6a-75ec-a91d-5ec09b284ba7": letter,
        "$TASKFLOW_URL": system.facts()["api_url"],
    }


def _groups(system: System) -> list[dict[str, object]]:
    groups: list[dict[str, object]] = system.get("/dead-letters/groups")["items"]
    return groups


def _run(command: str, told: dict[str, str], system: System, folder: Path, expect: int) -> str:
    """What a command of the guide says, here; it must end with this exit code."""
    for name, here in told.items():
        command = command.replace(name, here)
    words = shlex.split(command)
    if words[0] == "taskflow":
        words[:1] = [sys.executable, "-m", "taskflow.cli.main"]
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        env={**environment_of_programs(), "TASKFLOW_URL": system.facts()["api_url"], "COLUMNS": "110"},
    )  # fmt: skip
    assert done.returncode == expect, done
    return done.stdout + done.stderr
