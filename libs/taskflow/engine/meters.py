"""What the engine counts, in this process since its start. Names and labels are what operators build on.

Told of in docs/guides/operations.md; what is known of the whole system is told by the scheduler alone (`rounds`).
"""

from __future__ import annotations

from taskflow.kit.metrics import counter

RESCUED = counter(
    "taskflow_tasks_rescued_total",
    "Running tasks that were taken from their worker: its lease was lost, or their time was over.",
    ["outcome"],
    [("lost",), ("timed_out",)],
)
RUNG_AGAIN = counter("taskflow_doorbells_rung_again_total", "Lost doorbells that were rung again.")
FENCED = counter("taskflow_results_fenced_total", "Late results that changed nothing.")
