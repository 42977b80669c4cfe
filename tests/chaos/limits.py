"""Disks that are full, and clocks that disagree."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos.cell import cell
from tests.chaos.stage import Stage
from tests.support.jetstream import ask_jetstream, change_stream
from tests.support.waiting import wait_until_sync

from taskflow.bus.topology import Topology

NAP = {"type": "nap", "payload": {"seconds": 0.05}}
NAMES = Topology()

# One row in `no_room` fills the disk: from then on nothing can be written, and reads are well.
_DISK = (
    "CREATE TABLE no_room ()",
    """CREATE FUNCTION extend() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF EXISTS (SELECT FROM no_room) THEN
            RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
        END IF;
        RETURN NULL;
    END $$""",
)
_WRITTEN = (
    "tasks",
    "executions",
    "dead_letters",
    "idempotency_keys",
    "workers",
    "stat_deltas",
    "task_logs",
    "task_events",
)


@cell(
    "JetStream full", expects="submits are accepted; what could not be announced is rung once there is room"
)
def jetstream_full(stage: Stage) -> None:
    """The stream of tasks takes no more than five messages for ten seconds, under load."""
    url = stage.system.facts()["nats_url"]
    pids = stage.kept_pids()
    with stage.load(NAP, callers=3) as load:
        load.until_accepted(20)
        change_stream(url, NAMES.stream, max_msgs=5)
        try:
            ids = stage.naps(stage.tasks(2_000), 0.05)
            load.until_accepted(20)
            wait_until_sync(lambda: "dispatch.failed" in stage.log(), "doorbells are refused", 10)
            stage.lasting(1 if stage.short else 10, "the stream is full")
        finally:
            change_stream(url, NAMES.stream, max_msgs=-1)
        stage.damage()
        load.until_accepted(20)
    assert {answer.status for answer in load.answers} == {202}
    stage.until_done()
    stage.note("rung again", sum(stage.rung_again()))
    assert set(map(tuple, stage.books.tries([*ids, *load.ids.values()]).values())) == {("succeeded",)}
    assert stage.kept_pids() == pids


@cell(
    "PostgreSQL's disk full",
    expects="writes answer 503 with Retry-After, reads 200; results are kept and recorded once there is room",
)
def postgres_full(stage: Stage) -> None:
    """Every write is refused (`disk_full`) for longer than a lease, under load and while tasks run that start only once."""
    pids = stage.kept_pids()
    hooks = [
        f"CREATE TRIGGER extend BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION extend()"
        for table in _WRITTEN
    ]
    _do(stage, *_DISK, *hooks)
    (later,) = stage.submit([{"type": "echo", "delay_seconds": stage.lease * 2 + 3}])
    single = stage.naps(12, 2.0, max_attempts=1, priority="critical")
    stage.books.until_all("running", single, 10)
    ids = stage.naps(stage.tasks(2_000), 0.05)
    with stage.load(NAP, callers=3) as load:
        load.until_accepted(20)
        _do(stage, "INSERT INTO no_room DEFAULT VALUES")
        try:
            stage.lasting(stage.lease * 1.5, "the disk is full")
            assert stage.system.get("/tasks", limit=5)["items"]
            refused = stage.system.http.post(f"/api/v1/tasks/{later}/cancel")
        finally:
            _do(stage, "DELETE FROM no_room")
        stage.damage()
        load.until_accepted(20)
    assert (refused.status_code, bool(refused.headers.get("retry-after"))) == (503, True), refused.text
    answers = Counter(answer.status for answer in load.answers)
    stage.note("answers", dict(answers))
    assert answers.keys() == {202, 503}, answers
    assert all(answer.retry_after for answer in load.answers if answer.status == 503)
    stage.until_done()
    seen = Counter(
        status for tries in stage.books.tries([*ids, *load.ids.values()]).values() for status in tries
    )
    stage.note("tries", dict(seen))
    assert set(seen) <= {"succeeded", "released"}, seen
    assert set(map(tuple, stage.books.tries(single).values())) == {("succeeded",)}
    assert stage.kept_pids() == pids


_BEATING = """
    SELECT count(*) FROM workers
    WHERE ended_at IS NULL AND seen_at BETWEEN now() - interval '2 s' AND now() AND lease_until > now()"""


@contextmanager
def _skewed(stage: Stage, seconds: float) -> Iterator[None]:
    """PostgreSQL's clock as all its clients see it, so many seconds ahead of every other clock."""
    made = (
        "CREATE FUNCTION skew.{0}() RETURNS timestamptz LANGUAGE sql {1} "
        f"RETURN pg_catalog.{{0}}() + interval '{seconds} s'"
    )
    name = stage.books.value("SELECT current_database()")
    change = f'ALTER DATABASE "{name}" '
    _do(
        stage,
        "CREATE SCHEMA skew",
        made.format("now", "STABLE"),
        made.format("clock_timestamp", "VOLATILE"),
    )
    _for_new_connections(stage, change + "SET search_path = skew, pg_catalog, public", seconds)
    try:
        yield
    finally:
        _for_new_connections(stage, change + "RESET search_path", 0)
        _do(stage, "DROP SCHEMA skew CASCADE")
    stage.damaged_at += seconds  # the ends of tasks were told by PostgreSQL's clock


def _for_new_connections(stage: Stage, change: str, seconds: float) -> None:
    """Change the database, have everybody connect anew, and wait until all workers beat by that clock."""
    _do(
        stage,
        change,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    )
    assert abs(stage.books.value("SELECT extract(epoch FROM now())::float8") - time.time() - seconds) < 1
    wait_until_sync(
        lambda: stage.books.patient_value(_BEATING, default=0) == stage.cell.workers, "all workers beat", 15
    )


def _with_skewed_clock(stage: Stage, seconds: float) -> None:
    """A backlog waits behind slow tasks for two looks of the healer; then its doorbells are deleted."""
    with _skewed(stage, seconds):
        slow = stage.naps(22, 300, priority="critical", timeout_seconds=400)
        stage.books.until_all("running", slow, 15)
        ids = stage.naps(stage.tasks(6_000), 0.01)
        due = stage.submit([{"type": "echo", "delay_seconds": 2}] * 20)
        stage.lasting(10.5, "the backlog waits")
        assert stage.rung_again() == [], "a healthy backlog was rung again"
        ask_jetstream(stage.system.facts()["nats_url"], lambda js: js.purge_stream(NAMES.stream))
        stage.damage()
        for task in slow:
            stage.system.post(f"/tasks/{task}/cancel")
        stage.until_done()
    lost = [*ids, *due]
    stage.note("doorbells lost", len(lost))
    stage.note("rung again", sum(stage.rung_again()))
    assert len(lost) * 0.95 <= sum(stage.rung_again()) <= len(lost)
    assert set(map(tuple, stage.books.tries(lost).values())) == {("succeeded",)}


SKEW_EXPECTS = "a healthy backlog is not rung again; each lost doorbell is, once"


@cell("NATS's clock 20 s behind PostgreSQL's", expects=SKEW_EXPECTS)
def clock_behind(stage: Stage) -> None:
    """PostgreSQL's clock is 20 s ahead of all others; a backlog waits, and then loses its doorbells."""
    _with_skewed_clock(stage, 20)


@cell("NATS's clock 20 s ahead of PostgreSQL's", expects=SKEW_EXPECTS)
def clock_ahead(stage: Stage) -> None:
    """PostgreSQL's clock is 20 s behind all others; a backlog waits, and then loses its doorbells."""
    _with_skewed_clock(stage, -20)


def _do(stage: Stage, *statements: str) -> None:
    for statement in statements:
        stage.books.rows(statement)
