"""The api, the scheduler and the dlq-consumer die, or are there twice."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.chaos.cell import cell
from tests.chaos.stage import Stage, until
from tests.chaos.workers import NAP, RAN_AGAIN, busiest
from tests.support.chaos import kill, rung_again, until_replaced

MADE_KNOWN = "dead_letter_id="
"""In the dlq-consumer's line about a new dead letter."""


@cell(
    "api SIGKILL in mid-submit",
    expects="callers who ask again by their Idempotency-Key: nothing accepted is lost, nothing is there twice",
)
def api_killed(stage: Stage) -> None:
    """The api is killed again and again while callers submit tasks one by one and in bulk."""
    rounds = 2 if stage.short else 5
    with stage.load(NAP, callers=4) as load, ThreadPoolExecutor(1) as bulk:
        for _ in range(rounds):
            load.until_accepted(30)
            batch = bulk.submit(stage.naps, stage.tasks(1_000), 0.01)
            load.until_accepted(3)
            pid = stage.system.facts()["pids"]["api"]
            kill(pid)
            stage.damage()
            until_replaced(stage.system, "api", pid)
            batch.result(60)
            load.until_accepted(10)
    answers = Counter(answer.status for answer in load.answers)
    stage.note("broken off", answers[0])
    assert answers.keys() <= {0, 202, 503}, answers
    assert answers[0], "nobody was broken off: nothing was tried"
    stage.until_done()


@cell("scheduler SIGKILL", expects="what is due, to be retried or lost waits only until it is back")
def scheduler_killed(stage: Stage) -> None:
    """The scheduler is killed while tasks fall due, are retried and are lost with a worker."""
    due = stage.submit([{"type": "echo", "delay_seconds": 1 + n % 5} for n in range(stage.tasks(2_000))])
    again = stage.submit([{"type": "echo", "payload": {"fail_times": 2}}] * stage.tasks(400))
    naps = stage.naps(22, 2.0, priority="critical")
    worker = busiest(stage, 4)
    kill(worker)
    for _ in range(2 if stage.short else 5):
        scheduler = stage.system.facts()["pids"]["scheduler"]
        kill(scheduler)
        stage.damage()
        until_replaced(stage.system, "scheduler", scheduler)
    stage.until_done()
    stage.note("lost with the worker", len(stage.books.rows(RAN_AGAIN, naps)))
    assert stage.books.statuses([*due, *again, *naps]) == {"completed": len(due) + len(again) + len(naps)}
    assert set(map(tuple, stage.books.tries(due).values())) == {("succeeded",)}
    # The worker that was killed may have had some of them.
    tries = stage.books.tries(again)
    assert {tuple("failed" if one == "lost" else one for one in tries[task]) for task in again} == {
        ("failed", "failed", "succeeded")
    }


@cell("two schedulers", expects="each duty is done once: due, lost, given up; no doorbell is rung again")
def two_schedulers(stage: Stage) -> None:
    """A second scheduler tends too while tasks fall due, fail and are lost with a worker."""
    with stage.extra("taskflow_scheduler") as second:
        until(lambda: "service.started" in second.log(), "the second scheduler is up", 30)
        ids = stage.naps(16, 2.5, priority="critical")
        single = stage.naps(6, 2.5, priority="critical", max_attempts=1)
        due = stage.submit([{"type": "echo", "delay_seconds": 2}] * stage.tasks(4_000))
        dead = stage.submit([{"type": "gives_up"}] * stage.tasks(1_000))
        pid = busiest(stage, 8)
        kill(pid)
        stage.damage()
        mine = set(stage.books.running_on(pid))
        lost, lost_single = [i for i in ids if i in mine], [i for i in single if i in mine]
        stage.until_done()
        again = [row["at"] - stage.damaged_at for row in stage.books.rows(RAN_AGAIN, lost)]
        stage.note("lost with the worker", len(lost) + len(lost_single))
        stage.note("run elsewhere after s", round(max(again), 1))
        tries = stage.books.tries([*lost, *lost_single, *due])
        assert {tuple(one for one in tries[i] if one != "released") for i in lost} == {("lost", "succeeded")}
        assert {tuple(tries[i]) for i in lost_single} <= {("lost",)}
        assert {tuple(tries[i]) for i in due} == {("succeeded",)}
        letters = stage.books.rows(
            "SELECT reason, count(*) AS n FROM dead_letters WHERE task_id = ANY($1::uuid[]) GROUP BY 1",
            [*dead, *lost_single],
        )
        expected = {"permanent": len(dead), "attempts_exhausted": len(lost_single)}
        assert {row["reason"]: row["n"] for row in letters} == {k: n for k, n in expected.items() if n}
        assert second.process.poll() is None
        assert not stage.rung_again()
        assert not rung_again(second.log())


@cell("dlq-consumer SIGKILL", expects="every dead letter is handled, each once", patience=90)
def dlq_consumer_killed(stage: Stage) -> None:
    """The dlq-consumer is killed again and again while dead letters come in."""
    dead: list[str] = []
    for _ in range(2 if stage.short else 6):
        more = stage.submit([{"type": "gives_up"}] * stage.tasks(1_000))
        until(lambda ids=more: stage.books.statuses(ids).get("failed"), "letters come in", 10)
        dead += more
        pid = stage.system.facts()["pids"]["dlq_consumer"]
        kill(pid)
        stage.damage()
        until_replaced(stage.system, "dlq_consumer", pid)
    stage.until_done()
    mine = "FROM dead_letters WHERE task_id = ANY($1::uuid[])"
    until(
        lambda: not stage.books.value(f"SELECT count(*) {mine} AND handled_at IS NULL", dead),
        "all letters are handled", 90,
    )  # fmt: skip
    assert stage.books.value(f"SELECT count(*) {mine}", dead) == len(dead)
    assert stage.books.value(f"SELECT count(DISTINCT fingerprint) {mine}", dead) == 1
    late = f"SELECT extract(epoch FROM max(handled_at))::float8 - $2::float8 {mine}"
    stage.note("letters handled after s", round(stage.books.value(late, dead, stage.damaged_at), 1))
    lines = [line for line in stage.log().splitlines() if MADE_KNOWN in line]
    told = [line.partition(MADE_KNOWN)[2].split()[0] for line in lines]
    assert told
    assert len(told) == len(set(told)), "a dead letter was made known twice"
