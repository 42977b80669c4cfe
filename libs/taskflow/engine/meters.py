"""What the engine counts and measures, in this process since its start. Names and labels are what operators build on.

Told of in docs/guides/metrics.md, which a test compares with what is here. What is known of the whole system is told by
the scheduler alone (`rounds`, `census`).

Queues and types are named by callers: of both only the first few hundred are told by name, the rest is `other`. Hot paths
count a batch at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from taskflow.domain.task import LANE_NAMES, Claimed
from taskflow.kit.metrics import OTHER, Bounded, Tally, counter, gauge, histogram

NAMES_MAX = 500
"""Values of a label that callers name, `other` among them."""

_RUN_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600)
_WAIT_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600)
_ITEMS_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
_TRIP_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

Place = TypeVar("Place")
_types = Bounded(NAMES_MAX)
_queues = Bounded(NAMES_MAX)
_places = Bounded(4 * NAMES_MAX)

SUBMITTED = counter(
    "taskflow_tasks_submitted_total", "Tasks that were accepted.", ["queue", "type", "priority"]
)
ATTEMPTS = counter(
    "taskflow_attempts_total", "Attempts whose end was recorded.", ["queue", "type", "outcome"]
)
GIVEN_UP = counter(
    "taskflow_tasks_failed_total",
    "Tasks that were given up: each has a dead letter.",
    ["queue", "type", "reason"],
)
LETTERS = counter(
    "taskflow_dead_letters_written_total",
    "Dead letters that were written.",
    ["reason"],
    [("attempts_exhausted",), ("permanent",), ("poison",)],
)
WEBHOOKS = counter("taskflow_webhook_attempts_total", "Tries to deliver a webhook.", ["event", "result"])
WEBHOOK_SECONDS = histogram(
    "taskflow_webhook_attempt_duration_seconds",
    "How long tries to deliver a webhook took.",
    bounds=_TRIP_BOUNDS,
)
PUSHES = counter(
    "taskflow_pushes_total", "Pushes of tasks with a target; `deferred`: handed back, not sent.", ["result"]
)
RUN = histogram(
    "taskflow_attempt_duration_seconds",
    "How long handlers ran, by their worker's clock.",
    ["queue", "type"],
    bounds=_RUN_BOUNDS,
)
WAIT = histogram(
    "taskflow_task_wait_seconds",
    "How long tasks were queued until they were claimed, by PostgreSQL's clock.",
    ["queue", "priority"],
    bounds=_WAIT_BOUNDS,
)
RESCUED = counter(
    "taskflow_tasks_rescued_total",
    "Running tasks that were taken from their worker: its lease was lost, or their time was over.",
    ["outcome"],
    [("lost",), ("timed_out",)],
)
RUNG_AGAIN = counter("taskflow_doorbells_rung_again_total", "Lost doorbells that were rung again.")
FENCED = counter("taskflow_results_fenced_total", "Late results that changed nothing.")
DELIVERED = counter(
    "taskflow_deliveries_total", "Doorbells that the bus delivered to this worker.", ["redelivered"],
    [("false",), ("true",)],
)  # fmt: skip
GIVEN_BACK = counter("taskflow_deliveries_given_back_total", "Doorbells that went back to the bus unclaimed.")
SLOTS = gauge("taskflow_worker_slots", "How many handlers may run at once in this worker.")
BUSY = gauge("taskflow_worker_slots_busy", "How many do.")
FETCHING = gauge(
    "taskflow_worker_fetching", "1 while every pull of this worker is answered by NATS, and its lease lives."
)
HANDLED = counter(
    "taskflow_dead_letters_handled_total", "Dead letters the dlq-consumer has stamped.", ["reason"],
    [("attempts_exhausted",), ("permanent",), ("poison",)],
)  # fmt: skip
SURGES = counter(
    "taskflow_dead_letter_surges_total",
    "Times that dead letters of one fingerprint came in faster than DEAD_LETTER_SURGE allows.",
    ["type"],
)
TYPES_PAUSED = counter(
    "taskflow_types_paused_by_burial_limit_total",
    "Times that a type was paused by its burial limit.",
    ["type"],
)
OPERATION_ITEMS = counter(
    "taskflow_operation_items_total", "Items that operations acted on.", ["action"],
    [("replay",), ("discard",), ("cancel",), ("retry",)],
)  # fmt: skip
BATCH_ITEMS = histogram(
    "taskflow_batch_items", "Items that went together in one round trip.", ["batch"], bounds=_ITEMS_BOUNDS
)
BATCH_TRIP = histogram(
    "taskflow_batch_duration_seconds", "How long such a round trip took.", ["batch"], bounds=_TRIP_BOUNDS
)


_waits: dict[tuple[str, int], Tally] = {}
_runs: dict[tuple[str, str], Tally] = {}


def _kinds(queue: str, name: str) -> tuple[str, str]:
    """The labels of a queue and a type; of pairs there are not without end either, and then the type goes first."""
    kind = (_queues(queue)[0], _types(name)[0])
    return kind if _places(*kind) == kind else (kind[0], OTHER)


def count_submitted(rows: Iterable[tuple[str, str, int]]) -> None:
    """Count new tasks, given as (queue, type, lane)."""
    for (queue, name, lane), count in Counter(rows).items():
        SUBMITTED.labels(*_kinds(queue, name), LANE_NAMES[lane]).inc(count)


def count_attempts(ends: Iterable[tuple[str, str, str]]) -> None:
    """Count recorded ends of attempts, given as (queue, type, outcome)."""
    for (queue, name, outcome), count in Counter(ends).items():
        ATTEMPTS.labels(*_kinds(queue, name), outcome).inc(count)


def count_given_up(tasks: Iterable[tuple[str, str, str]]) -> None:
    """Count tasks that failed for good, given as (queue, type, reason)."""
    for (queue, name, reason), count in Counter(tasks).items():
        GIVEN_UP.labels(*_kinds(queue, name), reason).inc(count)
        LETTERS.labels(reason).inc(count)


def count_surge(name: str) -> None:
    """Count that alike letters of a type came in too fast."""
    SURGES.labels(_types(name)[0]).inc()


def count_type_paused(name: str) -> None:
    """Count that a type was paused by its burial limit."""
    TYPES_PAUSED.labels(_types(name)[0]).inc()


def measure_waits(won: Sequence[Claimed]) -> None:
    """How long these waited until they were claimed."""
    for task in won:
        place = (task.queue, task.lane)
        tally = _waits.get(place)
        if tally is None:
            tally = _kept(_waits, place, WAIT.tally(*_queues(task.queue), LANE_NAMES[task.lane]))
        tally.add(task.waited_seconds)


def measure_run(task: Claimed, seconds: float) -> None:
    """How long a handler ran."""
    kind = (task.queue, task.type)
    tally = _runs.get(kind)
    if tally is None:
        tally = _kept(_runs, kind, RUN.tally(*_kinds(*kind)))
    tally.add(seconds)


def _kept(tallies: dict[Place, Tally], place: Place, tally: Tally) -> Tally:
    """Found at once the next time, unless there are very many: names have no end."""
    if len(tallies) < 2 * NAMES_MAX:
        tallies[place] = tally
    return tally


class BatchMeter:
    """What a batcher tells of its round trips, under a name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, items: int, seconds: float) -> None:
        """One round trip with so many items."""
        BATCH_ITEMS.observe(items, self._name)
        BATCH_TRIP.observe(seconds, self._name)


def count_webhook(event: str, error: str | None, seconds: float) -> None:
    """A webhook was tried: `result` is `delivered`, or the kind of what went wrong."""
    WEBHOOKS.labels(event, "delivered" if error is None else error.partition(":")[0]).inc()
    WEBHOOK_SECONDS.observe(seconds)


def count_push(result: str) -> None:
    """A push ended so."""
    PUSHES.labels(result).inc()
