"""Each alert is fired by its cause, in a system that a real Prometheus watches."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.chaos.cell import cell
from tests.chaos.stage import Stage, until
from tests.chaos.watched import fires, watched
from tests.support.chaos import kill, until_replaced

TOOL = "prometheus"


def _alert(name: str) -> str:
    return f"alert: {name}"


@contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    """Processes that stand still (SIGSTOP)."""
    for pid in pids:
        kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            kill(pid, signal.SIGCONT)


@cell(_alert("TaskflowBlind"), expects="it fires", ground=watched, tool=TOOL)
def blind(stage: Stage) -> None:
    """The only scheduler stands still."""
    stage.ground.begin(stage)
    pid = stage.system.facts()["pids"]["scheduler"]
    stage.naps(20)
    with _stopped([pid]), fires(stage, "TaskflowBlind"):
        pass
    stage.until_done()


@cell(
    _alert("TaskflowNoLiveWorker"), expects="it fires; once they go on all is done", ground=watched, tool=TOOL
)
def no_live_worker(stage: Stage) -> None:
    """All workers stand still for longer than a lease, while tasks wait."""
    stage.ground.begin(stage)
    with _stopped(stage.system.facts()["pids"]["workers"]):
        stage.naps(20)
        with fires(stage, "TaskflowNoLiveWorker"):
            pass
    stage.until_whole()
    stage.until_done()


@cell(_alert("TaskflowBacklogWaits"), expects="it fires", ground=watched, tool=TOOL)
def backlog_waits(stage: Stage) -> None:
    """A task of priority high waits behind slow ones that hold all slots."""
    stage.ground.begin(stage)
    slow = stage.naps(22, 60, priority="critical", timeout_seconds=120)
    stage.books.until_all("running", slow, 15)
    with fires(stage, "TaskflowBacklogWaits"):
        stage.naps(1, priority="high")
    for task in slow:
        stage.system.post(f"/tasks/{task}/cancel")
    stage.until_done()


@cell(
    _alert("TaskflowNobodyPulls"),
    expects="it fires; submits are accepted meanwhile",
    ground=watched,
    tool=TOOL,
)
def nobody_pulls(stage: Stage) -> None:
    """NATS stands still: workers run, and their pulls are not answered."""
    stage.ground.begin(stage)
    with _stopped([stage.system.facts()["pids"]["nats"]]), fires(stage, "TaskflowNobodyPulls"):
        stage.naps(20)
    stage.until_done()


@cell(_alert("TaskflowTasksRescued"), expects="it fires; all run elsewhere", ground=watched, tool=TOOL)
def tasks_rescued(stage: Stage) -> None:
    """A worker with running tasks gets SIGKILL."""
    stage.ground.begin(stage)
    ids = stage.naps(12, 5.0)
    stage.books.until_all("running", ids, 10)
    pid = stage.system.facts()["pids"]["workers"][0]
    with fires(stage, "TaskflowTasksRescued"):
        kill(pid)
    until_replaced(stage.system, "workers", pid)
    stage.until_done()


@cell(_alert("TaskflowPoison"), expects="it fires", ground=watched, tool=TOOL)
def poison(stage: Stage) -> None:
    """A task kills whatever runs it."""
    with fires(stage, "TaskflowPoison"):
        stage.submit([{"type": "kills_its_process", "retry": {"base_seconds": 0.1, "jitter": "none"}}])
        stage.until_done()
    stage.until_whole()


@cell(_alert("TaskflowDeadLettersRising"), expects="it fires", ground=watched, tool=TOOL)
def dead_letters_rising(stage: Stage) -> None:
    """A deploy whose handler always gives up."""
    with fires(stage, "TaskflowDeadLettersRising"):
        for _ in range(16):
            stage.submit([{"type": "gives_up"}] * 10)
            stage.lasting(1, "more come in")
    stage.until_done()


@cell(_alert("TaskflowNatsReconnecting"), expects="it fires; submits are accepted", ground=watched, tool=TOOL)
def nats_reconnecting(stage: Stage) -> None:
    """NATS is killed three times."""
    with fires(stage, "TaskflowNatsReconnecting"):
        for _ in range(3):
            pid = stage.system.facts()["pids"]["nats"]
            kill(pid)
            until_replaced(stage.system, "nats", pid)
            stage.naps(5)
            stage.lasting(1, "all are connected again")
    stage.until_done()


@cell(_alert("TaskflowPostgresAway"), expects="it fires; all is well after", ground=watched, tool=TOOL)
def postgres_away(stage: Stage) -> None:
    """PostgreSQL ends all connections and takes no new ones."""
    stage.ground.begin(stage)
    postgres = stage.system.facts()["pids"]["postgres"]
    backends = stage.books.rows("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
    with _stopped([postgres]), fires(stage, "TaskflowPostgresAway"):
        for row in backends:
            with suppress(ProcessLookupError):
                kill(row["pid"], signal.SIGTERM)
    stage.until_whole()
    stage.naps(5)
    stage.until_done()


@cell(
    _alert("TaskflowPostgresReconnecting"), expects="it fires; no attempt is spent", ground=watched, tool=TOOL
)
def postgres_reconnecting(stage: Stage) -> None:
    """Every connection to PostgreSQL is terminated again and again."""
    ids = stage.naps(20, 0.5)
    with fires(stage, "TaskflowPostgresReconnecting"), stage.load({"type": "echo"}):
        observer = stage.ground.begin(stage)
        for times in range(75):
            stage.books.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            stage.lasting(0.4, "they are there again")
            if times >= 20 and "TaskflowPostgresReconnecting" in observer.firing():
                break
    stage.until_done()
    assert {tuple(tries) for tries in stage.books.tries(ids).values()} <= {
        ("succeeded",),
        ("released", "succeeded"),
    }


@cell(_alert("TaskflowConservationGap"), expects="it fires", ground=watched, tool=TOOL)
def conservation_gap(stage: Stage) -> None:
    """A row is deleted by hand. (It is put back in the end.)"""
    (task_id,) = stage.submit([{"type": "echo", "delay_seconds": 3600}])
    stage.books.rows("CREATE TABLE kept AS SELECT * FROM tasks WHERE id = $1::uuid", task_id)
    scheduler = stage.system.facts()["pids"]["scheduler"]
    with fires(stage, "TaskflowConservationGap"):
        stage.books.rows("DELETE FROM tasks WHERE id = $1::uuid", task_id)
        kill(scheduler)  # one that starts looks at all rows
        until_replaced(stage.system, "scheduler", scheduler)
    stage.books.rows("INSERT INTO tasks SELECT * FROM kept")
    stage.books.rows("DROP TABLE kept")
    stage.system.post(f"/tasks/{task_id}/cancel")
    scheduler = stage.system.facts()["pids"]["scheduler"]
    kill(scheduler)
    until_replaced(stage.system, "scheduler", scheduler)


@cell(_alert("TaskflowPartitionsRunOut"), expects="it fires", ground=watched, tool=TOOL)
def partitions_run_out(stage: Stage) -> None:
    """The partitions that were made ahead are dropped by hand. (A scheduler that starts makes them again.)"""
    stage.naps(5)
    ahead = stage.books.rows(
        "SELECT relname FROM pg_class "
        "WHERE relkind = 'r' AND relname ~ '^(tasks|executions|task_logs|task_events)_[0-9]+$' "
        "AND right(relname, 8) > to_char(now(), 'YYYYMMDD')"
    )
    assert ahead
    observer = stage.ground.begin(stage)
    started = 'time() - process_start_time_seconds{job="scheduler"} > 8'
    until(lambda: observer.ask(started), "the scheduler has made what it makes when it starts", 30)
    with fires(stage, "TaskflowPartitionsRunOut"):
        for row in ahead:
            stage.books.rows(f"DROP TABLE {row['relname']}")
    scheduler = stage.system.facts()["pids"]["scheduler"]
    kill(scheduler)
    until_replaced(stage.system, "scheduler", scheduler)
    stage.until_done()


@cell(
    _alert("TaskflowJetstreamFills"), expects="it fires; all is accepted, and runs", ground=watched, tool=TOOL
)
def jetstream_fills(stage: Stage) -> None:
    """Workers stand still, and doorbells fill a stream of 1 MiB."""
    stage.ground.begin(stage)
    with _stopped(stage.system.facts()["pids"]["workers"]), fires(stage, "TaskflowJetstreamFills"):
        for _ in range(3):
            stage.submit([{"type": "echo"}] * 10_000)
    until(lambda: stage.until_whole() is None, "the workers are back", 30)
    stage.until_done(60)
