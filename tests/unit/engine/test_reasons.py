"""Why a task does not run now, judged from facts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.engine.waiting_tasks import DEMO, FULL, NOW, directory, make_task, worker

from taskflow.domain.attempt import ErrorInfo
from taskflow.domain.callback import ShownTarget
from taskflow.domain.task import Task
from taskflow.domain.views import Blocker
from taskflow.engine.facts import MESSAGE_CHARS_MAX, Facts, Heard, may_start
from taskflow.engine.outlook import Line
from taskflow.engine.reasons import judge
from taskflow.kit.clock import rfc3339
from taskflow.store.obstacles import Letter, Pause, Standing
from taskflow.store.push_hosts import HostState
from taskflow.store.workers import WorkerRow

QUEUE = Pause("queue", "default", "ann", "bad deploy", NOW - timedelta(hours=1))
TYPE = Pause("type", "demo", None, None, None)
HOST = "https://shop.example:443"
ERROR = ErrorInfo("ValueError", "no", "Traceback ...")


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def standing(**fields: Any) -> Standing:
    kept: dict[str, Any] = {
        "now": NOW, "rung_at": ago(1), "tried": None, "error": None, "letter": None, "host": None,
        "host_state": None,
    }  # fmt: skip
    return Standing(**(kept | fields))


def facts(task: Task | None = None, *workers: WorkerRow, **fields: Any) -> Facts:
    """Of a queued task that could start at once, but for what is given."""
    task = task or make_task()
    taking = workers or (DEMO,)
    kept: dict[str, Any] = {
        "task": task, "standing": standing(), "workers": taking,
        "heard": Heard(ago(2)) if task.status == "queued" else None,
    }  # fmt: skip
    kept |= fields
    if may_start(task, kept.get("pauses", ()), kept["workers"]):
        kept.setdefault("line", Line(slots=4, busy=0, waiting=1, ahead=0))
    return Facts(**kept)


def codes(given: Facts) -> list[str]:
    return [reason.code for reason in judge(given).reasons]


def only(given: Facts) -> Blocker:
    [reason] = judge(given).reasons
    return reason


def test_nothing_blocks_a_task_that_may_start() -> None:
    reason = only(facts())
    assert reason.code == "starting"
    assert (reason.numbers["slots_free"], reason.numbers["position"]) == (4, 0)
    assert judge(facts()).waiting_for is None


def test_a_scheduled_task_tells_when_it_is_due() -> None:
    due = rfc3339(NOW + timedelta(seconds=90))
    reason = only(facts(make_task("scheduled", next_attempt_at=due)))
    assert (reason.code, reason.detail) == ("due_time", "it is due in 90.0 s")
    assert reason.numbers == {"due_at": due, "seconds": 90.0, "overdue_seconds": 0.0}


def test_an_overdue_task_asks_for_the_scheduler() -> None:
    due = rfc3339(ago(7))
    reason = only(facts(make_task("scheduled", next_attempt_at=due)))
    assert reason.numbers == {"due_at": due, "seconds": 0.0, "overdue_seconds": 7.0}
    assert reason.detail == (
        "it is due since 7.0 s; a scheduler queues what is due within a second: is one running?"
    )
    barely = only(facts(make_task("scheduled", next_attempt_at=rfc3339(ago(0.5)))))
    assert "scheduler" not in barely.detail


def test_a_retry_tells_after_which_attempt_and_error() -> None:
    task = make_task("retrying", attempt=2, next_attempt_at=rfc3339(NOW + timedelta(seconds=3)))
    told = judge(facts(task, standing=standing(tried="failed", error=ERROR)))
    [reason] = told.reasons
    assert (reason.code, told.waiting_for) == ("retry_delay", "due_time")
    assert reason.detail == "attempt 2 of 5 did not succeed (ValueError: no); the next try is due in 3.0 s"
    assert reason.numbers["last_error"] == {"type": "ValueError", "message": "no"}
    assert (reason.numbers["attempt"], reason.numbers["max_attempts"]) == (2, 5)
    assert reason.numbers["seconds"] == 3.0


def test_a_hand_back_is_no_failed_attempt_and_long_errors_are_cut() -> None:
    task = make_task("retrying", next_attempt_at=rfc3339(NOW + timedelta(seconds=3)))
    error = ErrorInfo("Deferred", "x" * 10_000)
    reason = only(facts(task, standing=standing(tried="released", error=error)))
    assert reason.detail.startswith("it was handed back, which spends no attempt (Deferred: xxx")
    assert len(reason.numbers["last_error"]["message"]) == MESSAGE_CHARS_MAX + 3


def test_pauses_tell_who_and_why_as_far_as_it_is_known() -> None:
    queue, kind = judge(facts(pauses=[QUEUE, TYPE])).reasons
    since = rfc3339(NOW - timedelta(hours=1))
    assert queue.code == "queue_paused"
    assert queue.detail == (
        f"queue 'default' is paused by ann since {since}: bad deploy; POST /api/v1/queues/default/resume lets it go on"
    )
    assert queue.numbers == {"queue": "default", "by": "ann", "reason": "bad deploy", "since": since}
    assert kind.code == "type_paused"
    assert kind.detail == "type 'demo' is paused; POST /api/v1/types/demo/resume lets it go on"
    assert kind.numbers == {"type": "demo", "by": None, "reason": None, "since": None}


def test_a_queue_that_nobody_serves() -> None:
    mail = worker("b", queues=["mail", "sms"], types=["demo"])
    reason = only(facts(None, mail))
    assert reason.code == "worker_for_queue"
    assert reason.numbers == {"queue": "default", "workers_live": 1, "queues_served": ["mail", "sms"]}
    assert "the live ones serve mail, sms" in reason.detail
    nobody = only(facts(workers=()))
    assert nobody.numbers == {"queue": "default", "workers_live": 0, "queues_served": []}


def test_a_type_that_nobody_declares_names_those_like_it() -> None:
    here = worker("a", queues=["default"], types=["send_email", "echo"])
    there = worker("b", queues=["mail"], types=["sendemail"])
    reason = only(facts(make_task(type="sendemail"), here, there))
    assert reason.code == "worker_for_type"
    assert reason.numbers == {
        "type": "sendemail", "workers_of_queue": 1, "types_alike": ["send_email"],
        "declared_in_queues": ["mail"],
    }  # fmt: skip
    assert reason.detail.endswith("start one that does, or did you mean send_email?")


def test_an_owner_learns_no_names_of_what_is_not_his() -> None:
    there = worker("b", queues=["secret"], types=["demo"])
    for given in (facts(None, there, sees_all=False),
                  facts(None, worker("a", queues=["default"], types=["x"]), there, sees_all=False)):  # fmt: skip
        assert "secret" not in repr(judge(given))


def test_a_push_is_served_by_workers_that_push() -> None:
    push = make_task(type="invoice", target=ShownTarget(f"{HOST}/work", "POST", {}))
    assert codes(facts(push, worker("a", queues=["default"], types=["invoice"]))) == ["worker_for_type"]
    assert codes(facts(push, worker("a", queues=["default"], types=["http.push"]))) == ["starting"]


def test_busy_slots_come_first_and_bear_the_outlook() -> None:
    line = Line(slots=4, busy=4, waiting=40, ahead=9, starts_per_second=2.0)
    told = judge(facts(line=line, heard=Heard()))
    assert [reason.code for reason in told.reasons] == ["free_slot"]
    assert told.waiting_for == "free_slot"
    assert told.reasons[0].numbers["position"] == 9
    assert told.reasons[0].numbers["estimated_start_seconds"] == 5.0
    assert told.reasons[0].detail == (
        "all 4 slots of queue 'default' for type 'demo' are busy; 9 start before it; it may start in 5.0 s; "
        "more workers or slots help"
    )


def test_an_outlook_is_given_with_free_slots_and_another_reason_too() -> None:
    line = Line(slots=4, busy=1, waiting=40, ahead=9)
    [lost] = judge(facts(line=line, standing=standing(rung_at=ago(6)), heard=Heard())).reasons
    assert (lost.code, lost.numbers["position"]) == ("doorbell_lost", 9)
    assert (
        judge(facts(line=line, heard=Heard(away="x"))).reasons[0].numbers["estimated_start_seconds"] is None
    )


def test_without_nats_nobody_hears() -> None:
    reason = only(facts(heard=Heard(away="NATS is not connected")))
    assert reason.code == "bus_away"
    assert reason.numbers["nats"] == "NATS is not connected"
    assert "it waits in PostgreSQL and runs once NATS is back" in reason.detail
    assert codes(facts(pauses=[QUEUE], heard=Heard(away="x"))) == ["queue_paused", "bus_away"]


@pytest.mark.parametrize(
    ("rung_ago", "heard", "lost"),
    [
        (6, Heard(ago(0.5)), "younger"),
        (5, Heard(ago(0.5)), None),  # within the grace of the oldest
        (600, Heard(ago(600)), None),  # a backlog: the oldest doorbell is as old
        (600, Heard(ago(700)), None),
        (4, Heard(), None),  # it may be on its way
        (6, Heard(), "has none"),
        (0, Heard(stream_missing=True), "stream of tasks is missing"),
        (600, None, None),  # could not be learnt
    ],
)
def test_a_doorbell_is_lost_if_the_healer_would_say_so(
    rung_ago: float, heard: Heard | None, lost: str | None
) -> None:
    given = facts(standing=standing(rung_at=ago(rung_ago)), heard=heard)
    if lost is None:
        assert codes(given) == ["starting"]
        return
    reason = only(given)
    assert reason.code == "doorbell_lost"
    assert lost in reason.detail
    assert reason.detail.endswith("the scheduler's healer rings it within 5 s")
    oldest = heard.oldest if heard else None
    assert reason.numbers["rung_at"] == rfc3339(ago(rung_ago))
    assert reason.numbers["oldest_doorbell_at"] == (rfc3339(oldest) if oldest else None)
    assert (reason.numbers["grace_seconds"], reason.numbers["heals_within_seconds"]) == (5.0, 5.0)


def test_a_parked_task_needs_a_doorbell_once_a_worker_declares_its_type() -> None:
    parked = standing(rung_at=None)
    assert codes(facts(standing=parked)) == ["doorbell_lost"]
    assert codes(facts(standing=parked, pauses=[TYPE])) == ["type_paused"]
    foreign = worker("a", queues=["default"], types=["mail"])
    assert codes(facts(None, foreign, standing=parked)) == ["worker_for_type"]


def test_a_host_that_fails_is_told_of_a_push() -> None:
    push = make_task("retrying", next_attempt_at=rfc3339(NOW), target=ShownTarget(f"{HOST}/work", "POST", {}))
    pushers = worker("a", queues=["default"], types=["http.push"])
    opened = standing(tried="released", host=HOST, host_state=HostState(7, 1, 4.25))
    assert codes(facts(push, pushers, standing=opened)) == ["retry_delay", "push_host"]
    reason = judge(facts(push, pushers, standing=opened)).reasons[1]
    assert reason.numbers == {"host": HOST, "failures": 7, "openings": 1, "open_seconds": 4.25}
    half_open = opened._replace(host_state=HostState(7, 1, -3.0))
    assert "one push at a time" in judge(facts(push, pushers, standing=half_open)).reasons[1].detail
    closed = opened._replace(host_state=HostState(3, 0, 0.0))
    assert codes(facts(push, pushers, standing=closed)) == ["retry_delay"]


def test_a_task_whose_time_is_over_is_not_promised_a_start() -> None:
    late = make_task(expires_at=rfc3339(ago(0)))
    given = facts(late, standing=standing(rung_at=ago(60)), heard=Heard(), line=None)
    reason = only(given)
    assert (reason.code, reason.numbers) == ("expires", {"expires_at": rfc3339(NOW)})
    assert judge(given).waiting_for is None
    assert directory(FULL).waiting_for(late) is None
    assert codes(facts(make_task(expires_at=rfc3339(NOW + timedelta(seconds=1))))) == ["starting"]


@pytest.mark.parametrize(("due_after", "said"), [(-1, ["due_time"]), (0, ["due_time", "expires"])])
def test_a_task_that_expires_before_it_is_due_says_so(due_after: float, said: list[str]) -> None:
    expires_at = NOW + timedelta(seconds=60)
    due = rfc3339(expires_at + timedelta(seconds=due_after))
    task = make_task("scheduled", next_attempt_at=due, expires_at=rfc3339(expires_at))
    assert codes(facts(task)) == said


def test_running_tasks_say_so() -> None:
    reason = only(facts(make_task("running", started_at="x", worker_id="w", attempt=2)))
    assert (reason.code, reason.detail) == ("running", "attempt 2 of 5 is running")
    assert reason.numbers == {
        "started_at": "x", "worker_id": "w", "attempt": 2, "max_attempts": 5, "timeout_seconds": 30.0,
    }  # fmt: skip


def test_spent_attempts_tell_the_error_the_letter_and_the_way_on() -> None:
    task = make_task("failed", attempt=5, finished_at="x")
    letter = Letter("d", "attempts_exhausted", 5, "pending")
    reason = only(facts(task, standing=standing(letter=letter, tried="failed", error=ERROR)))
    assert reason.code == "attempts_spent"
    assert reason.detail == (
        "all 5 attempts are spent (ValueError: no); once the cause is mended, POST /api/v1/tasks/t/retry gives it a new "
        "life"
    )
    assert reason.numbers == {
        "attempt": 5, "max_attempts": 5, "last_error": {"type": "ValueError", "message": "no"},
        "finished_at": "x", "dead_letter_id": "d", "dead_letter_status": "pending",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "letter", "said"),
    [
        ("completed", None, "it is completed"),
        ("cancelled", None, "it was cancelled; POST"),
        ("expired", None, "it had not started by its expires_at; POST"),
        ("failed", "permanent", "no further attempt can help (ValueError: no); POST"),
        ("failed", "poison", "its process died under it too often"),
        ("failed", None, "it has failed"),
    ],
)
def test_other_ends_say_which(status: str, letter: str | None, said: str) -> None:
    kept = Letter("d", letter, 1, "pending") if letter else None
    reason = only(facts(make_task(status, finished_at="x"), standing=standing(letter=kept, error=ERROR)))
    assert reason.code == "finished"
    assert said in reason.detail
    assert reason.numbers["finished_at"] == "x"
    assert ("POST" in reason.detail) == (status != "completed")
    assert reason.numbers.get("dead_letter_id") == ("d" if letter else None)


def test_reasons_come_in_the_order_in_which_they_must_go() -> None:
    task = make_task("retrying", next_attempt_at=rfc3339(NOW))
    assert codes(facts(task, workers=(), pauses=[QUEUE, TYPE])) == [
        "retry_delay", "queue_paused", "type_paused", "worker_for_queue",
    ]  # fmt: skip
    full = Line(slots=4, busy=4, waiting=9, ahead=3)
    lost = facts(line=full, standing=standing(rung_at=ago(60)), heard=Heard())
    assert codes(lost) == ["free_slot", "doorbell_lost"]


def test_the_word_is_the_first_reason() -> None:
    """`waiting_for` in lists and the explanation must not contradict each other."""
    due = rfc3339(NOW + timedelta(seconds=5))
    mail = worker("x", queues=["default"], types=["mail"])
    busy = Line(slots=4, busy=4, waiting=5, ahead=3)
    free = Line(slots=4, busy=0, waiting=5, ahead=3)
    for known, given in (
        (directory(), {"workers": ()}),
        (directory(FULL), {"workers": (FULL,), "line": busy}),
        (directory(DEMO, queues={"default"}), {"pauses": [QUEUE]}),
        (directory(DEMO, types={"demo"}), {"pauses": [TYPE]}),
        (directory(DEMO), {"line": free}),
        (directory(DEMO), {"line": free, "heard": Heard(away="x")}),
        (directory(mail), {"workers": (mail,)}),
    ):
        for status in ("queued", "retrying", "scheduled"):
            task = make_task(status, next_attempt_at=None if status == "queued" else due)
            told = judge(facts(task, **({**given, "line": None} if status != "queued" else given)))
            assert told.waiting_for == known.waiting_for(task)
