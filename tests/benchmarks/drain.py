"""How fast workers finish no-op tasks that wait already.

The queue is paused, 20,000 `echo` tasks are submitted over HTTP, the system rests a moment, the queue is resumed. The
rate is their number, divided by the time from the call that resumes until PostgreSQL's clock at the end of the last one
(`max(finished_at)`): claimed, run, and recorded with result, execution and figures, each committed. *In batches*: submitted
by 10,000, so that one message carries many ids. *Singly*: one task a call, and half as many, as to submit them takes
longer. The other tables tell what a drain in batches costs each process, children included in the seconds (memory is RSS;
of PostgreSQL the sum of the proportional shares).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.figures import Figure, Row, Table, spreads
from tests.benchmarks.ground import (
    DEFAULT_CONCURRENCY,
    SETTLE_SECONDS,
    STATED_CONCURRENCY,
    Ground,
    first_id_now,
    running_ground,
)
from tests.benchmarks.processes import MIB, Usage

TASKS = 20_000
SINGLE_TASKS = 10_000
WARM_UP = 2_000


class Drained(NamedTuple):
    """One round. `used` is what each process used meanwhile, its memory at the end."""

    per_second: float
    used: dict[str, Usage]


@cell("Drain")
def measure(asked: Asked) -> list[Table]:
    """One and two workers, by two settings of WORKER_CONCURRENCY, by two ways of submitting."""
    rates = Table("Drain", [])
    seconds, memory = Table("CPU seconds for 10,000", []), Table("MiB afterwards", [])
    for workers in (1, 2):
        for concurrency in (STATED_CONCURRENCY, DEFAULT_CONCURRENCY):
            named = f"{workers} worker{'s' * (workers > 1)}, concurrency {concurrency}"
            with running_ground(workers, concurrency) as ground:
                rounds = _measure_system(ground, asked, named, rates)
            seconds.rows.append(Row(named, _cpu_seconds(rounds, asked.size(TASKS))))
            memory.rows.append(Row(named, _mebibytes(rounds)))
    return [rates, seconds, memory]


def _measure_system(ground: Ground, asked: Asked, named: str, rates: Table) -> list[Drained]:
    """Add the rates of one system; the rounds in batches."""
    count = asked.size(TASKS)
    drain(ground, ground.submit_many, asked.size(WARM_UP))
    rounds = [drain(ground, ground.submit_many, count) for _ in range(asked.rounds)]
    singly = [drain(ground, ground.submit_singly, asked.size(SINGLE_TASKS)) for _ in range(asked.rounds)]
    for how, found in (("in batches", rounds), ("singly", singly)):
        figures = spreads([{"tasks/s": each.per_second} for each in found])
        rates.rows.append(Row(f"{named}, {how}", figures))
    return rounds


def drain(ground: Ground, submit: Callable[[int], object], count: int) -> Drained:
    """Submit with the queue paused, resume, and wait until all is done."""
    first, finished = first_id_now(), ground.finished()
    ground.pause()
    submit(count)
    time.sleep(SETTLE_SECONDS)
    before = ground.usage()
    began = ground.resume()
    ground.until_finished(finished + count)
    after = ground.usage()
    done, last = ground.rows(
        "SELECT count(*), extract(epoch FROM max(finished_at))::float8 FROM tasks "
        "WHERE id >= $1 AND status = 'completed'", first,
    )[0]  # fmt: skip
    assert done == count, f"{done} of {count} are completed"
    used = {
        name: Usage(use.cpu_seconds - before[name].cpu_seconds, use.memory_bytes)
        for name, use in after.items()
    }
    return Drained(count / (last - began), used)


def _cpu_seconds(rounds: list[Drained], count: int) -> dict[str, Figure]:
    part = 10_000 / count
    return spreads([{name: use.cpu_seconds * part for name, use in each.used.items()} for each in rounds])


def _mebibytes(rounds: list[Drained]) -> dict[str, Figure]:
    return spreads([{name: use.memory_bytes / MIB for name, use in each.used.items()} for each in rounds])
