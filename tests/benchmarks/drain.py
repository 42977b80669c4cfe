"""How fast a whole system takes and finishes tasks: `make bench ARGS="--tasks 20000 --workers 2 --concurrency 10"`.

Starts `taskflow dev` on real PostgreSQL (fsync on) and NATS, submits no-op `echo` tasks through the HTTP batch call, and
waits until the last is done. Everything shares this machine's cores. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time

from tests.support.systems import System, running_system

BATCH = 10_000


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(description="drain and bulk submit, end to end")
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with running_system("--workers", str(asked.workers), WORKER_CONCURRENCY=str(asked.concurrency)) as system:
        _round(system, 1_000)  # warm-up
        rounds = [_round(system, asked.tasks) for _ in range(asked.rounds)]
    print(
        json.dumps(
            {
                "benchmark": "drain",
                "tasks": asked.tasks,
                "workers": asked.workers,
                "worker_concurrency": asked.concurrency,
                "cores": os.cpu_count(),
                "python": platform.python_version(),
                "submitted_per_second": _spread([each["submit"] for each in rounds]),
                "drained_per_second": _spread([each["drain"] for each in rounds]),
                "single_submits_per_second": _spread([each["single"] for each in rounds]),
            },
            indent=2,
        )
    )


def _round(system: System, count: int) -> dict[str, float]:
    """Drain is counted with the queues paused until all is submitted, so that it is the workers' figure alone."""
    system.post("/queues/default/pause")
    began = time.perf_counter()
    for start in range(0, count, BATCH):
        system.submit_many([{"type": "echo", "payload": n} for n in range(start, min(count, start + BATCH))])
    submitted = time.perf_counter() - began
    time.sleep(1)  # the pause has reached every worker
    began = time.perf_counter()
    system.post("/queues/default/resume")
    while system.get("/tasks", status=["queued", "running"], limit=1)["items"]:
        time.sleep(0.02)
    drained = time.perf_counter() - began
    return {"submit": count / submitted, "drain": count / drained, "single": _singles(system)}


def _singles(system: System, count: int = 300) -> float:
    """One caller, one connection, one after the other."""
    began = time.perf_counter()
    for n in range(count):
        system.submit("echo", n)
    return count / (time.perf_counter() - began)


def _spread(values: list[float]) -> dict[str, int]:
    return {
        "median": round(statistics.median(values)),
        "least": round(min(values)),
        "most": round(max(values)),
    }


if __name__ == "__main__":
    main()
