"""The doctor: a healthy system is clean, whatever it does; what SQL breaks is found, and mended where it can be."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import asyncpg
import pytest
from tests.conftest import BusNames
from tests.contract.store import world
from tests.contract.store.states import every_state
from tests.integration.engine import sabotage
from tests.support.books import Books
from tests.support.chaos import Load
from tests.support.systems import ROOT, System
from tests.support.waiting import wait_until

from taskflow.bus.connect import Bus
from taskflow.bus.publisher import Doorbell, ring
from taskflow.bus.streams import ensure_streams
from taskflow.bus.topology import Topology
from taskflow.domain.errors import Unavailable
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.doctor import CHECKS, Diagnosis, Doctor, Patience
from taskflow.engine.mend import Mender
from taskflow.store import stats
from taskflow.store.connect import Database, Line

LOCK = 0x646F6374  # of those who mend figures


class Ward(NamedTuple):
    """A database that no service tends, a bus, a doctor with little patience, and one who mends."""

    conn: asyncpg.Connection
    bus: Bus
    line: Line
    doctor: Doctor
    mender: Mender
    environment: dict[str, str]

    async def found(self) -> dict[str, int]:
        """How many of what."""
        return counted(await self.doctor.examine())

    async def taskflow_doctor(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """The command as a process: its exit code and what it prints."""
        return await asyncio.to_thread(taskflow_doctor, *arguments, **{**self.environment, **environment})

    async def report(self, *arguments: str, **environment: str) -> tuple[int, dict[str, Any]]:
        """The command with --json."""
        code, said = await self.taskflow_doctor("--json", *arguments, **environment)
        return code, json.loads(said)


def run_doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taskflow.cli.main", "doctor", *arguments], capture_output=True, text=True,
        timeout=60, check=False, env={**os.environ, **environment}, cwd=ROOT,
    )  # fmt: skip


def taskflow_doctor(*arguments: str, **environment: str) -> tuple[int, str]:
    done = run_doctor(*arguments, **environment)
    assert done.stderr == ""
    return done.returncode, done.stdout


def counted(diagnosis: Diagnosis) -> dict[str, int]:
    return {name: found.n for name, found in diagnosis.found.items() if found.n}


@pytest.fixture
async def ward(database_url: str, nats_url: str, bus_names: BusNames) -> AsyncIterator[Ward]:
    """In it, tasks of every state."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        database = await enter(Database(database_url, application="test"))
        bus = await enter(Bus(nats_url, Topology(bus_names.stream, bus_names.consumer), name="test"))
        line, dispatcher = await enter(Line(database)), await enter(Dispatcher(bus))
        doctor = Doctor(line, bus, patience=Patience(0.2, 0.2), handler_grace=5, letters_kept_seconds=1e6)
        conn = await asyncpg.connect(database_url)
        stack.push_async_callback(conn.close)
        await ensure_streams(bus)
        await every_state(conn)
        await conn.execute("UPDATE executions SET status = 'cancelled' WHERE status = 'started'")
        await ring_all(conn, bus)
        yield Ward(
            conn, bus, line, doctor, Mender(line, bus, dispatcher, doctor, poison_losses_max=3),
            {"DATABASE_URL": database_url, "NATS_URL": nats_url, "NATS_STREAM_NAME": bus_names.stream,
             "NATS_CONSUMER_NAME": bus_names.consumer, "WORKER_LEASE": "1s"},
        )  # fmt: skip


async def ring_all(conn: asyncpg.Connection, bus: Bus) -> None:
    """Every queued task gets its doorbell, rung long ago."""
    rows = await conn.fetch(
        f"UPDATE tasks SET rung_at = now() - {sabotage.HOUR} WHERE status = 'queued' RETURNING id, lane, queue, rung_at"
    )
    await ring(bus, [Doorbell(str(r["id"]), r["lane"], r["queue"], r["rung_at"]) for r in rows])


async def looked(conn: asyncpg.Connection, database: str) -> bool:
    """Whether somebody has looked for lost doorbells, and does nothing now."""
    return bool(await conn.fetchval(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1 AND state = 'idle' AND pid <> pg_backend_pid() "
        "AND backend_xmin IS NULL AND xact_start IS NULL AND query = 'COMMIT;')", database,
    ))  # fmt: skip


async def test_what_a_healthy_system_leaves_is_clean(ward: Ward) -> None:
    diagnosis = await ward.doctor.examine()
    assert counted(diagnosis) == {}
    assert set(diagnosis.found) == set(CHECKS)
    assert diagnosis.law.gap == 0
    assert diagnosis.law.accepted == await ward.conn.fetchval("SELECT count(*) FROM tasks") > 20
    assert await ward.mender.mend(diagnosis) == {}


@pytest.mark.parametrize(
    ("broken", "expected"), sabotage.MENDED, ids=lambda value: getattr(value, "__name__", "")
)
async def test_what_is_broken_is_found_and_mended(
    ward: Ward, broken: sabotage.Break, expected: dict[str, int]
) -> None:
    await broken(ward.conn)
    diagnosis = await ward.doctor.examine()
    assert counted(diagnosis) == expected
    mended = await ward.mender.mend(diagnosis)
    assert mended == expected
    assert await ward.found() == {}
    assert await ward.mender.mend(await ward.doctor.examine()) == {}


@pytest.mark.parametrize(
    ("broken", "expected"), sabotage.BEYOND_REPAIR, ids=lambda value: getattr(value, "__name__", "")
)
async def test_what_cannot_be_mended_is_told(
    ward: Ward, broken: sabotage.Break, expected: dict[str, int]
) -> None:
    await broken(ward.conn)
    diagnosis = await ward.doctor.examine()
    assert counted(diagnosis) == expected
    assert await ward.mender.mend(diagnosis) == {}
    assert await ward.found() == expected


async def test_figures_are_mended_while_tasks_move(ward: Ward) -> None:
    await sabotage.count_wrongly(ward.conn)
    diagnosis, over = await ward.doctor.examine(), asyncio.Event()
    other = await asyncpg.connect(ward.environment["DATABASE_URL"])

    async def move() -> int:
        moved = 0
        while not over.is_set():
            await world.bury(other, 3)
            await stats.fold(other)
            moved += 3
        return moved

    moving = asyncio.create_task(move())
    try:
        for _ in range(5):
            await ward.mender.mend(diagnosis)
    finally:
        over.set()
        assert await moving >= 3
        await other.close()
    assert await ward.found() == {}


async def test_two_doctors_do_not_both_add_what_is_missing(ward: Ward) -> None:
    await sabotage.count_wrongly(ward.conn)
    diagnosis = await ward.doctor.examine()
    assert await ward.conn.fetchval("SELECT pg_try_advisory_lock($1)", LOCK)
    with pytest.raises(Unavailable, match="another doctor"):
        await ward.mender.mend(diagnosis)
    await ward.conn.execute("SELECT pg_advisory_unlock_all()")
    await ward.mender.mend(diagnosis)
    await ward.mender.mend(diagnosis)
    assert await ward.found() == {}


async def test_what_mends_itself_in_time_is_not_told(ward: Ward) -> None:
    """Doorbells lost, tasks untended at the first look; at the second they are rung again, and rescued."""
    await sabotage.lose_doorbells(ward.conn)
    await sabotage.end_a_lease(ward.conn)
    database = await ward.conn.fetchval("SELECT current_database()")
    patient = Doctor(
        ward.line, ward.bus, patience=Patience(20, 20), handler_grace=5, letters_kept_seconds=1e6
    )
    looking = asyncio.create_task(patient.look())
    await wait_until(lambda: looked(ward.conn, database), "the doctor has looked and waits")
    assert await ward.mender.mend(await ward.doctor.look()) == {"doorbells": 3, "running": 3}
    assert counted(await asyncio.wait_for(looking, 5)) == {}


async def test_a_store_that_was_deleted_leaves_every_doorbell_lost(ward: Ward) -> None:
    stream = ward.bus.topology.stream
    await ward.bus.jetstream.delete_stream(stream)
    queued = await ward.conn.fetchval("SELECT count(*) FROM tasks WHERE status = 'queued'")
    diagnosis = await ward.doctor.examine()
    assert counted(diagnosis) == {"doorbells": queued}
    assert await ward.mender.mend(diagnosis) == {"doorbells": queued}
    info = await ward.bus.jetstream.stream_info(stream)
    assert info.state.messages == queued
    assert await ward.found() == {}


async def test_the_command_tells_what_it_found(ward: Ward) -> None:
    await sabotage.lose_letters(ward.conn)
    await sabotage.complete_by_hand(ward.conn)
    code, report = await ward.report()
    assert (code, report["clean"], report["notes"]) == (1, False, [])
    assert [check["name"] for check in report["checks"]] == list(CHECKS)
    found = {check["name"]: check for check in report["checks"] if check["found"]}
    assert {name: check["found"] for name, check in found.items()} == {
        "letters_missing": 2, "successes_missing": 1,
    }  # fmt: skip
    assert [len(check["examples"]) for check in found.values()] == [2, 1]
    assert report["law"]["accepted"] == report["law"]["live"] + report["law"]["terminal"]
    code, said = await ward.taskflow_doctor("--repair")
    assert code == 1
    lines = said.splitlines()
    assert lines[0].startswith("accepted ")
    assert "letters_missing     0            failed tasks without a dead letter (2 mended)" in lines
    assert "beyond repair" in lines[-1]


async def test_the_command_mends_all_at_once(ward: Ward) -> None:
    expected: Counter[str] = Counter()
    for broken, parts in sabotage.MENDED:
        if broken is not sabotage.lose_figures:
            await broken(ward.conn)
            expected.update(parts)
    code, report = await ward.report("--repair")
    assert (code, report["clean"]) == (0, True)
    assert {check["name"]: check["repaired"] for check in report["checks"] if check["repaired"]} == expected
    assert any("2 accepted tasks have no row any more" in note for note in report["notes"])
    assert sum("dead letter" in note and "because" in note for note in report["notes"]) == 2
    code, said = await ward.taskflow_doctor()
    assert (code, said.splitlines()[-1]) == (0, "clean")


async def test_without_nats_doorbells_are_not_checked(ward: Ward) -> None:
    await sabotage.lose_letters(ward.conn)
    code, report = await ward.report("--repair", NATS_URL="nats://127.0.0.1:1")
    assert (code, report["clean"]) == (7, False)
    assert [check["name"] for check in report["checks"] if not check["checked"]] == ["doorbells"]
    assert await ward.found() == {}


async def test_a_database_without_the_schema_is_named(ward: Ward) -> None:
    await ward.conn.execute("DROP TABLE stat_days")
    done = await asyncio.to_thread(run_doctor, **ward.environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "taskflow: the schema is missing; run `taskflow migrate`\n"


def test_a_busy_system_is_clean_at_every_moment(system: System, truth: Books) -> None:
    """Three workers, a backlog, callers that submit, tasks that fail, snooze, time out and are cancelled."""
    facts = system.facts()
    environment = {"DATABASE_URL": facts["database_url"], "NATS_URL": facts["nats_url"], "WORKER_LEASE": "2s"}
    busy = [
        {"type": "sleep", "payload": {"duration": 0.05}, "priority": lane}
        for lane in ("low", "normal", "high")
    ]
    waits = system.submit_many([{"type": "demo", "queue": "nobody-serves"}, {"type": "nobody_runs"}] * 20)
    system.submit_many(busy * 300 + [{"type": "demo", "payload": {"fail_times": 9}, "max_attempts": 2}] * 100)
    failing = {
        "type": "demo",
        "payload": {"fail_times": 1},
        "retry": {"strategy": "fixed", "base_seconds": 0.1},
    }
    looks = 0
    with Load(system, failing, callers=3) as load:
        while looks < 3:
            for task_id in system.submit_many([{"type": "sleep", "payload": {"duration": 30}}] * 5):
                system.post(f"/tasks/{task_id}/cancel")
            code, said = taskflow_doctor("--json", **environment)
            assert code == 0, said
            looks += 1
    law = json.loads(said)["law"]
    assert law["accepted"] == law["live"] + law["terminal"] > len(load.accepted) > 0
    system.wait_all(list(load.accepted.values()))
    for task_id in waits:
        system.post(f"/tasks/{task_id}/cancel")
    code, said = taskflow_doctor("--json", **environment)
    assert code == 0, said
    truth.balance()
