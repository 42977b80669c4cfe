"""What bad hosts of pushes cost other tasks, and what pushing costs at all.

*Echo* is drained as in the first table, two workers, alone and while 600 pushes are under way, and come back again, to
services that hang, answer after 30 s, drip, reset, break off, lie about their length, redirect to loopback or send 10 MB
(few of these: to send them costs more, on the same two cores, than to refuse them). *Pushes* go to one host that answers
at once: the rate from the first start to the last end; that host, a Python program, is on the same cores too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.figures import Row, Table, spread
from tests.benchmarks.ground import (
    DEFAULT_CONCURRENCY,
    PATIENCE_SECONDS,
    SETTLE_SECONDS,
    Ground,
    first_id_now,
    running_ground,
)
from tests.support.receiver import Receiver, receiving
from tests.support.waiting import wait_until_sync

TASKS = 20_000
WARM_UP = 2_000
PUSHED = 2_000
BAD = {
    "hang": 150, "slow": 150, "drip": 50, "reset": 50, "short": 50, "long": 50, "garbage": 50, "redirect": 40, "huge": 10,
}  # fmt: skip
_DONE = """
SELECT count(*), extract(epoch FROM max(finished_at))::float8 FROM tasks
WHERE id >= $1::uuid AND type = $2 AND status = 'completed'"""


@cell("Pushes")
def measure(asked: Asked) -> list[Table]:
    """Echo alone and beside bad hosts, in turn; then pushes."""
    count = asked.size(TASKS)
    with (
        running_ground(2, DEFAULT_CONCURRENCY, PUSH_HOST_CONCURRENCY="60") as ground,
        ExitStack() as stack,
    ):
        bad = {kind: stack.enter_context(receiving()) for kind in BAD}
        good = stack.enter_context(receiving())
        _echo(ground, asked.size(WARM_UP))
        alone, beside = [], []
        for _ in range(asked.rounds):
            alone.append(_echo(ground, count))
            with _bad_pushes(ground, bad):
                beside.append(_echo(ground, count))
        ratios = spread(mine / theirs for mine, theirs in zip(beside, alone, strict=True))
        pushed = [_pushed(ground, good, asked.size(PUSHED)) for _ in range(asked.rounds)]
    echo = Table("Echo beside pushes to bad hosts", [
        Row("alone", {"tasks/s": spread(alone)}),
        Row("beside", {"tasks/s": spread(beside), "of alone": ratios}),
    ])  # fmt: skip
    return [echo, Table("Pushes to a good host", [Row("two workers", {"tasks/s": spread(pushed)})])]


def _echo(ground: Ground, count: int) -> float:
    """Drain so many echo tasks, submitted in batches while the queue was paused; tasks a second."""
    first = first_id_now()
    ground.pause()
    ground.submit_many(count)
    time.sleep(SETTLE_SECONDS)
    began = ground.resume()
    wait_until_sync(
        lambda: ground.rows(_DONE, first, "echo")[0][0] >= count,
        "echo is drained",
        PATIENCE_SECONDS,
        interval=0.25,
    )
    return count / (ground.rows(_DONE, first, "echo")[0][1] - began)


@contextmanager
def _bad_pushes(ground: Ground, bad: dict[str, Receiver]) -> Iterator[None]:
    """Pushes under way to all kinds of bad hosts, each kind a host of its own; cancelled in the end."""
    items = [
        {"type": "bad", "tags": ["bad"], "target": {"url": bad[kind].url(kind)}, "timeout_seconds": 60}
        for kind, count in BAD.items() for _ in range(count)
    ]  # fmt: skip
    seen = _received(bad)
    ground.system.submit_many(items)
    wait_until_sync(lambda: _received(bad) > seen + 100, "pushes are under way", 60, interval=0.1)
    try:
        yield
    finally:
        ground.system.post(
            "/tasks/cancel", {"filter": {"type": "bad"}, "rate_per_second": 10_000}, expect=202
        )
        ground.until_idle()


def _received(bad: dict[str, Receiver]) -> int:
    return sum(len(each.received) for each in bad.values())


def _pushed(ground: Ground, receiver: Receiver, count: int) -> float:
    """Pushes a second."""
    first = first_id_now()
    ground.system.submit_many([{"type": "good", "target": {"url": receiver.url("good")}}] * count)
    wait_until_sync(
        lambda: ground.rows(_DONE, first, "good")[0][0] >= count,
        "all are pushed",
        PATIENCE_SECONDS,
        interval=0.25,
    )
    started, ended = ground.rows(
        "SELECT extract(epoch FROM min(started_at))::float8, extract(epoch FROM max(finished_at))::float8 "
        "FROM tasks WHERE id >= $1::uuid AND type = 'good'", first,
    )[0]  # fmt: skip
    return count / (ended - started)
