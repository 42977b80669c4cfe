"""What must hold of every cell: nothing accepted is lost, nothing is recorded twice, `taskflow doctor` is content."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from contextlib import suppress
from typing import Any

import msgspec
from tests.chaos.stage import LIVE, Stage
from tests.support.books import Books
from tests.support.systems import ROOT, environment_of_programs
from tests.support.waiting import wait_until_sync

from taskflow.cli.doctor import report, settings_class
from taskflow.domain.errors import Unavailable
from taskflow.kit.settings import load

_DOCTOR_SECONDS = 20
_FAILED_PATIENCE_SECONDS = 10

_EXIT = re.compile(
    r'^dev .* process\.ended +name=(?:api|scheduler|dlq-consumer|notifier|worker-\d+) how="exit code (\d+)"'
)

_TWICE = """
    SELECT (SELECT count(*) FROM (SELECT FROM executions WHERE status = 'succeeded' GROUP BY task_id, life
                                  HAVING count(*) > 1) successes)
         + (SELECT count(*) FROM (SELECT FROM executions GROUP BY task_id, number HAVING count(*) > 1) tries)"""


class Verdict(msgspec.Struct, kw_only=True):
    """What became of a cell. `seconds` from the last damage until the last accepted task was done; `took` all in all."""

    cell: str
    module: str
    done: str
    expects: str
    accepted: int = 0
    lost: int = 0
    twice: int = 0
    unasked: int = 0
    """Tasks that nobody was told of: a submit that was carried out twice."""
    seconds: float = 0.0
    took: float = 0.0
    doctor: str = "not asked"
    notes: dict[str, Any] = {}
    fault: str | None = None
    passed: bool = False
    log: str = ""
    """What was logged meanwhile, if it did not pass."""


def judge(stage: Stage, verdict: Verdict) -> None:
    """Wait until all is done, and fill in the verdict. A fault that the cell has found stays the first."""
    patience = stage.cell.patience if verdict.fault is None else _FAILED_PATIENCE_SECONDS
    with suppress(AssertionError):
        stage.until_done(patience)
    found = _found(stage.books)
    accepted = stage.accepted
    verdict.accepted = len(accepted)
    verdict.lost = sum(found.get(task, ("gone", 0.0))[0] in {*LIVE, "gone"} for task in accepted)
    verdict.unasked = len(found.keys() - stage.system.accepted)
    verdict.twice = stage.books.value(_TWICE)
    verdict.seconds = round(
        max([0.0, *(found[task][1] - stage.damaged_at for task in accepted & found.keys())]), 1
    )
    verdict.notes = stage.notes
    with suppress(AssertionError):
        stage.books.balance()
    verdict.doctor = _doctor(stage)
    if broken := stage.books.broken_laws():
        verdict.fault = verdict.fault or f"laws that do not hold: {broken}"
    if exits := _exits(stage):
        verdict.fault = verdict.fault or f"processes that ended by themselves: {exits}"
    verdict.passed = (
        verdict.fault is None
        and verdict.lost == verdict.twice == verdict.unasked == 0
        and verdict.doctor == "clean"
    )


def _found(books: Books) -> dict[str, tuple[str, float]]:
    """Every task there is: its status, and when it ended, in seconds since 1970."""
    rows = books.rows(
        "SELECT id::text AS id, status, coalesce(extract(epoch FROM finished_at), 0)::float8 AS at FROM tasks"
    )
    return {row["id"]: (row["status"], row["at"]) for row in rows}


def _exits(stage: Stage) -> list[str]:
    """The lines of `dev` about processes that ended by themselves with a code the cell does not expect."""
    found = [line for line in stage.log().splitlines() if _EXIT.search(line)]
    return [line for line in found if int(_EXIT.findall(line)[0]) not in stage.cell.exits]


def _doctor(stage: Stage) -> str:
    """`clean`, or what `taskflow doctor` finds at last: what is under way has time to come to rest."""
    last = ""

    def clean() -> bool:
        nonlocal last
        last = _ask_doctor(stage)
        return last == "clean"

    with suppress(AssertionError):
        wait_until_sync(clean, "the doctor is content", _DOCTOR_SECONDS, interval=0.5)
    return last


def _ask_doctor(stage: Stage) -> str:
    facts = stage.system.facts()
    environment = {
        **environment_of_programs(), **stage.cell.settings,
        "DATABASE_URL": facts["database_url"], "NATS_URL": facts["nats_url"],
    }  # fmt: skip
    try:
        said = _command(environment) if not stage.scale.short else asyncio.run(_within(environment))
    except (Unavailable, ValueError) as error:
        return repr(error)
    wrong = [check for check in said["checks"] if check["found"] or not check["checked"]]
    return "; ".join(f"{check['name']}: {check['found'] or 'not checked'}" for check in wrong) or "clean"


def _command(environment: dict[str, str]) -> dict[str, Any]:
    """What `taskflow doctor --json` prints."""
    command = [sys.executable, "-m", "taskflow.cli.main", "doctor", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, cwd=ROOT, timeout=120, check=False)
    try:
        said: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        said_instead = (done.stdout + done.stderr).decode(errors="replace")[-500:]
        raise ValueError(f"exit code {done.returncode}: {said_instead}") from None
    return said


async def _within(environment: dict[str, str]) -> dict[str, Any]:
    """The same without a process of its own: in the short form these would be a fifth of all work."""
    return await report(load(settings_class(), environment), repair=False)
