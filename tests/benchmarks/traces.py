"""What traces cost while queues are drained.

The drain of 20,000 tasks in batches by one worker at the stated concurrency, in three systems at once, of which one is
drained at a time, in turns: traces off, at the default of 1 %, and of everything. Spans go to a receiver that throws them
away. The ratios are to the system with traces off, round by round.
"""

from __future__ import annotations

from contextlib import ExitStack

from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.drain import TASKS, WARM_UP, drain
from tests.benchmarks.figures import Row, Table, spreads
from tests.benchmarks.ground import STATED_CONCURRENCY, running_ground
from tests.support.otlp import otlp_receiver

WAYS = {
    "off": {},
    "1 %": {"TRACES": "true"},
    "all": {"TRACES": "true", "TRACE_SAMPLE_RATIO": "1"},
}


@cell("Traces")
def measure(asked: Asked) -> list[Table]:
    """One system a way, drained in turns."""
    with ExitStack() as stack:
        endpoint = stack.enter_context(otlp_receiver(keeps=False)).url
        grounds = {
            name: stack.enter_context(
                running_ground(1, STATED_CONCURRENCY, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **settings)
            )
            for name, settings in WAYS.items()
        }
        for ground in grounds.values():
            drain(ground, ground.submit_many, asked.size(WARM_UP))
        rounds = [
            {
                name: drain(each, each.submit_many, asked.size(TASKS)).per_second
                for name, each in grounds.items()
            }
            for _ in range(asked.rounds)
        ]
    rows = [
        Row(
            name,
            spreads([{"tasks/s": found[name], "of off": found[name] / found["off"]} for found in rounds]),
        )
        for name in WAYS
    ]
    return [Table("Traces", rows)]
