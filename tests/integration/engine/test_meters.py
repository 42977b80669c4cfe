"""What operators measure: counted where it happens, told on the probe port, the doctor's findings by the scheduler."""

from __future__ import annotations

import time

import asyncpg
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.conftest import BusNames
from tests.contract.store import world
from tests.support.books import Books
from tests.support.chaos import extra_service
from tests.support.systems import System
from tests.support.waiting import wait_until, wait_until_sync

from taskflow.bus.connect import Bus
from taskflow.bus.streams import ensure_streams
from taskflow.bus.topology import Topology
from taskflow.domain.account import By
from taskflow.domain.attempt import Cancelled, ErrorInfo, Failed, Succeeded
from taskflow.engine.census import Census
from taskflow.engine.dispatch import Dispatcher
from taskflow.engine.doctor import CHECKS
from taskflow.engine.heal import Healer
from taskflow.engine.record import Recorder
from taskflow.engine.rescue import Rescuer
from taskflow.kit.clock import now
from taskflow.kit.metrics import REGISTRY
from taskflow.store.commands import cancel_tasks
from taskflow.store.connect import Database, Line
from taskflow.store.partitions import range_start, range_starts

ERROR = ErrorInfo("ValueError", "no")


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"taskflow_{name}_total", labels) or 0.0


async def test_rescues_rings_and_fenced_results_are_counted(
    database_url: str, nats_url: str, bus_names: BusNames
) -> None:
    topology = Topology(bus_names.stream, bus_names.consumer)
    async with (
        Database(database_url, application="test") as database,
        Bus(nats_url, topology, name="test") as bus,
        Line(database) as line,
        Dispatcher(bus) as dispatcher,
        Recorder(line, dispatcher, poison_losses_max=3, pending_max=100) as recorder,
    ):
        await ensure_streams(bus)
        conn = await asyncpg.connect(database_url)
        lost, late = await world.run(conn, 2), await world.run(conn, 3)
        await world.end_lease(conn, lost[0].worker_id)
        await conn.execute(
            "UPDATE tasks SET started_at = now() - interval '1 hour' WHERE worker_id = $1", late[0].worker_id
        )
        rescuer = Rescuer(line, dispatcher, lease_seconds=0.2, handler_grace=0, poison_losses_max=3)
        before = counted("tasks_rescued", outcome="lost"), counted("tasks_rescued", outcome="timed_out")

        async def rescued() -> bool:
            await rescuer.run_once()
            return counted("tasks_rescued", outcome="lost") > before[0]

        await wait_until(rescued, "rescue has come")
        assert counted("tasks_rescued", outcome="lost") == before[0] + 2
        assert counted("tasks_rescued", outcome="timed_out") == before[1] + 3

        fenced = counted("results_fenced")
        await recorder.finish(lost[0], Succeeded("1"))
        assert counted("results_fenced") == fenced + 1

        await world.submit(conn, 4, queue="mail")
        await conn.execute("UPDATE tasks SET rung_at = now() - interval '1 hour' WHERE queue = 'mail'")
        rung = counted("doorbells_rung_again")
        await Healer(line, bus, dispatcher).run_once()
        assert counted("doorbells_rung_again") == rung + 4
        await conn.close()


def of(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"taskflow_{name}", labels) or 0.0


async def test_the_path_of_a_task_is_counted_and_measured(
    database_url: str, nats_url: str, bus_names: BusNames
) -> None:
    """In the process that walks it: submits, waits, ends of attempts, letters."""
    topology = Topology(bus_names.stream, bus_names.consumer)
    async with (
        Database(database_url, application="test") as database,
        Bus(nats_url, topology, name="test") as bus,
        Line(database) as line,
        Dispatcher(bus) as dispatcher,
        Recorder(line, dispatcher, poison_losses_max=3, pending_max=100) as recorder,
    ):
        await ensure_streams(bus)
        conn = await asyncpg.connect(database_url)
        tasks = await world.run(conn, 3, queue="metered", max_attempts=1)
        kind = {"queue": "metered", "type": tasks[0].type}
        for task in tasks:
            assert 0 <= task.waited_seconds < 60
        await recorder.finish(tasks[0], Succeeded("1"))
        await recorder.finish(tasks[1], Failed(ERROR, permanent=True))
        assert await cancel_tasks(conn, [tasks[2].id], By("test"))
        await recorder.finish(tasks[2], Cancelled())
        assert of("attempts_total", **kind, outcome="succeeded") == 1
        assert of("attempts_total", **kind, outcome="failed") == 1
        assert of("attempts_total", **kind, outcome="cancelled") == 1
        assert of("tasks_failed_total", **kind, reason="permanent") == 1
        assert of("dead_letters_written_total", reason="permanent") >= 1
        assert of("batch_items_count", batch="record") >= 3
        await recorder.finish(tasks[0], Succeeded("1"))
        assert of("attempts_total", **kind, outcome="succeeded") == 1, "a late result is no attempt"
        await conn.close()


async def test_the_census_tells_the_whole_system(database_url: str) -> None:
    conn = await asyncpg.connect(database_url)
    async with Database(database_url, application="test") as database, Line(database, hot=False) as line:
        await world.submit(conn, 3, queue="mail")
        await world.submit(conn, 2, queue="mail", lane=0)
        await conn.execute(
            "UPDATE tasks SET queued_at = now() - interval '90 s' WHERE queue = 'mail' AND lane = 0"
        )
        await conn.execute("INSERT INTO queues (name, paused) VALUES ('rest', true), ('mail', false) "
                           "ON CONFLICT (name) DO UPDATE SET paused = excluded.paused")  # fmt: skip
        await world.start_worker(conn, queues=["mail"])
        census = Census(line)
        await census.refresh()
        assert of("census_up") == 1
        assert of("tasks", queue="mail", status="queued") == 5
        assert of("queue_oldest_age_seconds", queue="mail", priority="critical") == pytest.approx(90, abs=5)
        assert of("queue_oldest_age_seconds", queue="mail", priority="normal") < 30
        assert (of("queue_paused", queue="rest"), of("queue_paused", queue="mail")) == (1, 0)
        assert of("workers_live", queue="mail") == 1
        assert of("id_ranges_end_timestamp_seconds") > time.time() + 10 * 86_400
        await conn.execute("UPDATE tasks SET status = 'cancelled' WHERE queue = 'mail'")
        await census.refresh()
        assert of("queue_oldest_age_seconds", queue="mail", priority="critical") > 0, "read a moment ago"
        await Census(line).refresh()
        assert of("queue_oldest_age_seconds", queue="mail", priority="critical") == 0, "nothing waits any more"  # fmt: skip
    await conn.close()


async def test_the_oldest_may_be_parked(database_url: str) -> None:
    """Parked tasks tie in the index: the oldest of them is no neighbour of the one rung first."""
    conn = await asyncpg.connect(database_url)
    async with Database(database_url, application="test") as database, Line(database, hot=False) as line:
        ids = await world.submit(conn, 4, queue="mixed")
        for task_id, seconds, parked in zip(ids, (10, 300, 200, 20), (False, True, True, True), strict=True):
            await conn.execute(
                "UPDATE tasks SET queued_at = now() - $2 * interval '1 s', "
                "rung_at = CASE WHEN $3 THEN 'infinity' ELSE rung_at END WHERE id = $1",
                task_id, seconds, parked,
            )  # fmt: skip
        await Census(line).refresh()
        assert of("queue_oldest_age_seconds", queue="mixed", priority="normal") == pytest.approx(300, abs=5)
    await conn.close()


async def test_letters_that_take_too_long_to_count_cost_no_other_figure(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = await asyncpg.connect(database_url)
    async with Database(database_url, application="test") as database, Line(database, hot=False) as line:
        await world.bury(conn, 3, queue="buried")
        place = {"queue": "buried", "reason": "permanent"}
        census = Census(line)
        await census.refresh()
        assert of("dead_letters_pending", **place) == 3
        monkeypatch.setattr("taskflow.engine.census.LETTERS_PATIENCE_SECONDS", 0.2)
        async with conn.transaction():
            await conn.execute("LOCK TABLE dead_letters IN ACCESS EXCLUSIVE MODE")
            await Census(line).refresh()
        assert of("census_up") == 1
        assert of("tasks", queue="buried", status="failed") == 3
        assert REGISTRY.get_sample_value("taskflow_dead_letters_pending", place) is None
        await Census(line).refresh()
        assert of("dead_letters_pending", **place) == 3
        assert line.openings == 1
    await conn.close()


async def test_partitions_are_told_up_to_the_first_hole(database_url: str) -> None:
    conn = await asyncpg.connect(database_url)
    async with Database(database_url, application="test") as database, Line(database, hot=False) as line:
        starts = [start for start in await range_starts(conn) if start > now()]
        for start, ends in ((starts[1], starts[1].timestamp()), (range_start(now()), 0)):
            await conn.execute(f"DROP TABLE tasks_{start:%Y%m%d}")
            await Census(line).refresh()
            assert of("id_ranges_end_timestamp_seconds") == ends
    await conn.close()


async def test_what_cannot_be_read_is_not_told() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    async with Database(nowhere, application="test") as database, Line(database) as line:
        await Census(line).refresh()
    assert of("census_up") == 0
    assert REGISTRY.get_sample_value("taskflow_workers", {"state": "live"}) is None


def told(port: int) -> dict[tuple[str, str], float]:
    """What a service tells of TaskFlow: by name and (only) label."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("taskflow_")
    }


def until_told(port: int, name: str, label: str) -> dict[tuple[str, str], float]:
    """Wait until a service tells of this."""

    def there() -> dict[tuple[str, str], float]:
        try:
            found = told(port)
        except httpx.TransportError:
            return {}
        return found if (name, label) in found else {}

    return wait_until_sync(there, f"{name} of {label!r} is told", 30, interval=0.1)


def test_the_scheduler_tells_what_the_doctor_finds(system: System, truth: Books, free_port: int) -> None:
    system.wait(system.submit("demo")["id"])
    change = "UPDATE stat_totals SET n = n + $1 WHERE (queue, type, status) = ('default', 'demo', 'accepted')"
    wait_until_sync(lambda: truth.value("SELECT count(*) FROM stat_totals") > 0, "the figures are folded", 30)
    truth.rows(change, 3)
    try:
        with extra_service(
            system, "taskflow_scheduler", PROBE_PORT=str(free_port), WORKER_LEASE="2s"
        ) as extra:
            until_told(free_port, "taskflow_doctor_findings", "doorbells")
            found = until_told(free_port, "taskflow_doctor_findings", "figures")
            findings = {check: n for (name, check), n in found.items() if name == "taskflow_doctor_findings"}
            assert findings == {**dict.fromkeys(CHECKS, 0.0), "conservation": 3, "figures": 1}
            assert found["taskflow_conservation_gap", ""] == 3
            now = truth.value("SELECT extract(epoch FROM now())::float8")
            for check in CHECKS:
                assert found["taskflow_doctor_checked_timestamp_seconds", check] == pytest.approx(now, abs=60)
            assert "accepted = live + terminal + pruned" in extra.log()
    finally:
        truth.rows(change, -3)


def test_rows_that_are_gone_are_a_gap(system: System, truth: Books, free_port: int) -> None:
    """The figures alone still add up; the scan knows better."""
    [task_id] = system.submit_many([{"type": "demo", "delay_seconds": 3600}])
    begin = "INSERT INTO tasks SELECT * FROM kept"
    truth.rows("CREATE TABLE kept AS SELECT * FROM tasks WHERE id = $1", task_id)
    truth.rows("DELETE FROM tasks WHERE id = $1", task_id)
    try:
        with extra_service(system, "taskflow_scheduler", PROBE_PORT=str(free_port), WORKER_LEASE="2s"):
            until_told(free_port, "taskflow_doctor_findings", "doorbells")
            found = until_told(free_port, "taskflow_doctor_findings", "figures")
            assert found["taskflow_conservation_gap", ""] == 1
    finally:
        truth.rows(begin)
        truth.rows("DROP TABLE kept")
        system.post(f"/tasks/{task_id}/cancel")


@pytest.mark.parametrize("module", ["taskflow_worker", "taskflow_dlq_consumer", "taskflow_notifier"])
def test_other_services_tell_nothing_of_the_whole(system: System, free_port: int, module: str) -> None:
    with extra_service(system, module, PROBE_PORT=str(free_port), WORKER_LEASE="2s"):

        def there() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{free_port}/livez").status_code == 200
            except httpx.TransportError:
                return False

        wait_until_sync(there, "probes are served", 30)
        names = {name for name, _ in told(free_port)}
        whole = {name for name in names if "doctor" in name or "conservation" in name}
        assert not whole
        if module == "taskflow_worker":
            assert {"taskflow_tasks_rescued_total", "taskflow_results_fenced_total"} <= names
