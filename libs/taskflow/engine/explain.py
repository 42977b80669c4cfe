"""Why a task does not run now: the reasons in the order in which they must go, with the numbers behind them."""

from __future__ import annotations

from datetime import datetime

from taskflow.domain.task import Task
from taskflow.domain.transitions import TERMINAL
from taskflow.domain.views import Blocker, Explanation
from taskflow.engine.directory import Directory, served_as
from taskflow.kit.clock import rfc3339
from taskflow.store.catalog import QueueRow


def explain(task: Task, directory: Directory, queue: QueueRow | None, moment: datetime) -> Explanation:
    """Judge a task by the directory and by what waits in its queue."""
    if task.status in TERMINAL:
        reasons = [Blocker("finished", f"the task is {task.status}", {"finished_at": task.finished_at})]
    elif task.status == "running":
        reasons = [
            Blocker(
                "running", "the task is running", {"started_at": task.started_at, "worker_id": task.worker_id}
            )
        ]
    else:
        reasons = [*_time(task, moment), *_pauses(task, directory), *_workers(task, directory, queue)]
    return Explanation(
        id=task.id,
        status=task.status,
        waiting_for=task.waiting_for,
        reasons=reasons,
        as_of=rfc3339(moment),
    )


def _time(task: Task, moment: datetime) -> list[Blocker]:
    if task.status not in {"scheduled", "retrying"} or task.next_attempt_at is None:
        return []
    seconds = max(0.0, (datetime.fromisoformat(task.next_attempt_at) - moment).total_seconds())
    what = "the next attempt" if task.status == "retrying" else "the task"
    return [
        Blocker(
            "due_time",
            f"{what} is due at {task.next_attempt_at}",
            {"due_at": task.next_attempt_at, "seconds": round(seconds, 3)},
        )
    ]


def _pauses(task: Task, directory: Directory) -> list[Blocker]:
    reasons = []
    if task.queue in directory.paused_queues:
        reasons.append(Blocker("queue_paused", f"queue {task.queue!r} is paused", {"queue": task.queue}))
    for name in sorted({task.type, served_as(task)} & directory.paused_types):
        reasons.append(Blocker("type_paused", f"type {name!r} is paused", {"type": name}))
    return reasons


def _workers(task: Task, directory: Directory, queue: QueueRow | None) -> list[Blocker]:
    live = len(directory.live())
    serving = directory.serving(task.queue)
    if not serving:
        detail = f"no live worker serves queue {task.queue!r}"
        return [Blocker("worker_for_queue", detail, {"workers_live": live})]
    if not directory.serving(task.queue, name := served_as(task)):
        detail = f"no live worker of queue {task.queue!r} declares type {name!r}"
        return [Blocker("worker_for_type", detail, {"workers_of_queue": len(serving)})]
    free = directory.slots_free(task.queue)
    if free > 0 or task.status != "queued":
        return []
    waiting = sum(queue.waiting.values()) if queue else 0
    numbers = {"slots": sum(w.slots for w in serving), "slots_free": 0, "waiting": waiting}
    return [Blocker("free_slot", f"all slots of queue {task.queue!r} are busy", numbers)]
