"""Why a task does not run, judged from facts alone: the reasons in the order in which they must go."""

from __future__ import annotations

from datetime import datetime
from difflib import get_close_matches
from typing import Any

from taskflow.domain.task import WaitingFor, is_late
from taskflow.domain.transitions import TERMINAL
from taskflow.domain.views import Blocker, BlockerCode, Explanation
from taskflow.engine.directory import served_as, serving
from taskflow.engine.ends import ended, running
from taskflow.engine.facts import Facts, attempts, because, may_start
from taskflow.engine.heal import GRACE, HEAL_SECONDS
from taskflow.engine.outlook import outlook
from taskflow.kit.clock import rfc3339
from taskflow.store.obstacles import Pause

WORDS: dict[BlockerCode, WaitingFor] = {
    "due_time": "due_time",
    "retry_delay": "due_time",
    "queue_paused": "queue_paused",
    "type_paused": "type_paused",
    "worker_for_queue": "worker_for_queue",
    "worker_for_type": "worker_for_type",
    "free_slot": "free_slot",
}
"""A task's `waiting_for`, by its first reason."""
OVERDUE_SECONDS = 1.0
"""Within this the scheduler queues what is due."""
NAMES_MAX = 20
ALIKE_MAX = 5


def judge(facts: Facts) -> Explanation:
    """Every reason why the task does not run."""
    reasons = _reasons(facts)
    return Explanation(
        id=facts.task.id,
        status=facts.task.status,
        waiting_for=WORDS.get(reasons[0].code),
        reasons=reasons,
        as_of=rfc3339(facts.standing.now),
    )


def _reasons(facts: Facts) -> list[Blocker]:
    status = facts.task.status
    if status in TERMINAL:
        return [ended(facts)]
    if status == "running":
        return [running(facts.task)]
    found = [*_time(facts), *_pauses(facts), *_workers(facts), *_bus(facts), *_push_host(facts)]
    found += _expiry(facts)
    return _with_outlook(found, facts)


def _with_outlook(found: list[Blocker], facts: Facts) -> list[Blocker]:
    """What its place in the queue says: a reason of its own if all slots are taken, else the numbers of the first."""
    if facts.line is None:
        return found
    away = facts.heard is not None and facts.heard.away is not None
    seen = outlook(facts.line, doorbells_heard=not away)
    where = f"of queue {facts.task.queue!r} for type {served_as(facts.task)!r}"
    if facts.line.slots_free <= 0:
        detail = f"all {facts.line.slots} slots {where} are busy; {seen.words}; more workers or slots help"
        return [Blocker("free_slot", detail, seen.numbers), *found]
    if not found:
        detail = f"nothing blocks it: {facts.line.slots_free} slots {where} are free; {seen.words}"
        return [Blocker("starting", detail, seen.numbers)]
    first = found[0]
    return [Blocker(first.code, first.detail, {**first.numbers, **seen.numbers}), *found[1:]]


def _time(facts: Facts) -> list[Blocker]:
    task = facts.task
    if task.status not in {"scheduled", "retrying"} or task.next_attempt_at is None:
        return []
    left = (datetime.fromisoformat(task.next_attempt_at) - facts.standing.now).total_seconds()
    numbers: dict[str, Any] = {
        "due_at": task.next_attempt_at,
        "seconds": round(max(0.0, left), 3),
        "overdue_seconds": round(max(0.0, -left), 3),
    }
    when = f"due in {left:.1f} s"
    if left < 0:
        when = f"due since {-left:.1f} s"
    if left < -OVERDUE_SECONDS:
        when += "; a scheduler queues what is due within a second: is one running?"
    if task.status == "scheduled":
        return [Blocker("due_time", f"it is {when}", numbers)]
    return [Blocker("retry_delay", f"{_tried(facts)}; the next try is {when}", numbers | attempts(facts))]


def _tried(facts: Facts) -> str:
    task, standing = facts.task, facts.standing
    if standing.tried == "released":
        return f"it was handed back, which spends no attempt{because(standing.error)}"
    return f"attempt {task.attempt} of {task.max_attempts} did not succeed{because(standing.error)}"


def _pauses(facts: Facts) -> list[Blocker]:
    return [_pause(pause) for pause in facts.pauses]


def _pause(pause: Pause) -> Blocker:
    since = None if pause.since is None else rfc3339(pause.since)
    detail = f"{pause.kind} {pause.name!r} is paused"
    detail += f" by {pause.by}" if pause.by else ""
    detail += f" since {since}" if since else ""
    detail += f": {pause.reason}" if pause.reason else ""
    detail += f"; POST /api/v1/{pause.kind}s/{pause.name}/resume lets it go on"
    numbers = {pause.kind: pause.name, "by": pause.by, "reason": pause.reason, "since": since}
    return Blocker("queue_paused" if pause.kind == "queue" else "type_paused", detail, numbers)


def _workers(facts: Facts) -> list[Blocker]:
    queue, name = facts.task.queue, served_as(facts.task)
    of_queue = serving(facts.workers, queue)
    if not of_queue:
        return [_no_worker_for_queue(facts)]
    if serving(of_queue, queue, name):
        return []
    declared = {declared for worker in of_queue for declared in worker.types}
    alike = get_close_matches(name, declared, n=ALIKE_MAX)
    detail = f"no live worker of queue {queue!r} (there are {len(of_queue)}) declares type {name!r}; start one that does"
    detail += f", or did you mean {' or '.join(alike)}?" if alike else ""
    numbers: dict[str, Any] = {"type": name, "workers_of_queue": len(of_queue), "types_alike": alike}
    if facts.sees_all:
        elsewhere = {other for worker in facts.workers if name in worker.types for other in worker.queues}
        numbers["declared_in_queues"] = sorted(elsewhere)[:NAMES_MAX]
    return [Blocker("worker_for_type", detail, numbers)]


def _no_worker_for_queue(facts: Facts) -> Blocker:
    queue, live = facts.task.queue, len(facts.workers)
    detail = f"no live worker serves queue {queue!r}; start one with it in WORKER_QUEUES"
    numbers: dict[str, Any] = {"queue": queue, "workers_live": live}
    if facts.sees_all:
        served = sorted({other for worker in facts.workers for other in worker.queues})
        numbers["queues_served"] = served[:NAMES_MAX]
        detail += f" (the live ones serve {', '.join(served[:NAMES_MAX])})" if served else ""
    return Blocker("worker_for_queue", detail, numbers)


def _bus(facts: Facts) -> list[Blocker]:
    if facts.task.status != "queued" or is_late(facts.task, facts.standing.now):
        return []
    if facts.heard is not None and facts.heard.away is not None:
        detail = (
            f"the api cannot use NATS ({facts.heard.away}), by which workers hear of tasks; it waits in PostgreSQL and "
            "runs once NATS is back"
        )
        return [Blocker("bus_away", detail, {"nats": facts.heard.away})]
    why = _lost(facts)
    if why is None:
        return []
    rung_at, heard = facts.standing.rung_at, facts.heard
    oldest = heard.oldest if heard is not None else None
    numbers = {
        "rung_at": None if rung_at is None else rfc3339(rung_at),
        "oldest_doorbell_at": None if oldest is None else rfc3339(oldest),
        "grace_seconds": GRACE.total_seconds(),
        "heals_within_seconds": HEAL_SECONDS,
    }
    detail = f"no doorbell yet (healing): {why}; the scheduler's healer rings it within {HEAL_SECONDS:.0f} s"
    return [Blocker("doorbell_lost", detail, numbers)]


def _lost(facts: Facts) -> str | None:
    """Why no worker will hear of it, judged as the healer does; None if a doorbell is there, or may be on its way."""
    rung_at, heard = facts.standing.rung_at, facts.heard
    if rung_at is None:
        may = may_start(facts.task, facts.pauses, facts.workers)
        return "it was parked until a worker declares its type, and one does" if may else None
    if heard is None:
        return None
    if heard.stream_missing:
        return "the stream of tasks is missing"
    if heard.oldest is not None:
        lost = rung_at < heard.oldest - GRACE
        return "the oldest doorbell of its lane is younger than its own" if lost else None
    return "its lane has none" if rung_at < facts.standing.now - GRACE else None


def _expiry(facts: Facts) -> list[Blocker]:
    """It will never start: its time is over, or will be before it is due."""
    task = facts.task
    numbers = {"expires_at": task.expires_at}
    if is_late(task, facts.standing.now):
        detail = "its expires_at is past, so that no worker takes it; a scheduler ends it within a second: is one running?"
        return [Blocker("expires", detail, numbers)]
    if task.next_attempt_at is not None and is_late(task, datetime.fromisoformat(task.next_attempt_at)):
        return [Blocker("expires", f"it expires at {task.expires_at}, before it is due", numbers)]
    return []


def _push_host(facts: Facts) -> list[Blocker]:
    host, state = facts.standing.host, facts.standing.host_state
    if host is None or state is None or not state.openings:
        return []
    opened = state.open_seconds > 0
    detail = f"{host} has failed {state.failures} times in a row; " + (
        f"nothing is sent to it for {state.open_seconds:.1f} s"
        if opened
        else "one push at a time finds out whether it is back"
    )
    numbers = {
        "host": host,
        "failures": state.failures,
        "openings": state.openings,
        "open_seconds": round(max(0.0, state.open_seconds), 3),
    }
    return [Blocker("push_host", detail, numbers)]
