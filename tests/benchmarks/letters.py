"""Dead letters by the hundred thousand: how fast they are looked through, and how evenly they are replayed.

Two workers at the stated concurrency fail 100,000 tasks of 50 kinds of failure for good. Each question is then asked 20
times over HTTP. All are replayed at 2,000/s, the cause being gone. Then as many fail anew, and are replayed with the cause
still there, so that each leaves a second letter meanwhile, and the dlq-consumer is killed (SIGKILL) twice on the way. The
rate is counted in every stretch of 10 s between the first and the last replay, by the moments PostgreSQL gave them; memory
is that of the dlq-consumer (RSS).
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.figures import Row, Table, percentiles, short
from tests.benchmarks.ground import BATCH, STATED_CONCURRENCY, Ground, running_ground
from tests.benchmarks.processes import MIB, resident_bytes
from tests.support.waiting import wait_until_sync

LETTERS = 100_000
RATE = 2_000
ASKED = 20
WINDOW_SECONDS = 10
PATIENCE_SECONDS = 600

QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "the newest 100": ("", {}),
    "of a type, pending": ("", {"type": "bench.fails", "status": "pending"}),
    "of one fingerprint": ("", {"fingerprint": "<example>"}),
    "by a text that few errors hold": ("", {"error": "kind 49 of row 77"}),
    "by a text that none holds": ("", {"error": "no such text"}),
    "by a tag that few have": ("", {"tag": "row-77"}),
    "groups of all": ("/groups", {}),
    "groups by a text": ("/groups", {"error": "kind 4"}),
}

_EVENNESS = """
WITH done AS (SELECT resolved_at AS at FROM dead_letters WHERE operation_id = $1),
     span AS (SELECT min(at) AS first, max(at) AS last FROM done),
     starts AS (SELECT generate_series(first, last - $2 * interval '1 second', interval '0.5 seconds') AS at FROM span)
SELECT (SELECT count(*) FROM done WHERE done.at >= starts.at AND done.at < starts.at + $2 * interval '1 second') AS n
FROM starts"""
_TWICE = """
SELECT count(*) FROM (SELECT FROM task_events WHERE data->>'operation_id' = $1
                      GROUP BY task_id HAVING count(*) > 1) twice"""


class Replayed(NamedTuple):
    """A bulk replay: seconds, of these until it was accepted; the least and most of its rate in any window; memory."""

    seconds: float
    accepted: float
    least: float
    most: float
    before_bytes: int
    most_bytes: int
    done: int
    twice: int


@cell("Dead letters", once=True)
def measure(asked: Asked) -> list[Table]:
    """Fill, ask, replay twice."""
    count = asked.size(LETTERS)
    window = asked.seconds(WINDOW_SECONDS)
    with tempfile.TemporaryDirectory(prefix="tf-cause-", dir="/tmp") as folder:
        cause = Path(folder) / "mended"
        with running_ground(2, STATED_CONCURRENCY, DEAD_LETTER_SURGE="1000") as ground:
            bury(ground, count, cause)
            questions = [_timed(ground, what, *question) for what, question in QUESTIONS.items()]
            questions.append(_dry_run(ground))
            cause.touch()
            replays = [_row("the cause gone", replay(ground, window, kills=0), count)]
            ground.until_idle()
            completed = ground.value("SELECT count(*) FROM tasks WHERE status = 'completed' AND life = 2")
            assert completed == count, f"{completed} of {count} completed in their second life"
            cause.unlink()
            bury(ground, count, cause)
            replays.append(_row("the cause still there, two kills", replay(ground, window, kills=2), count))
    return [Table("Questions", questions), Table("Bulk replay", replays)]


def bury(ground: Ground, count: int, cause: Path) -> None:
    """Fail so many tasks for good, and wait until their letters are handled."""
    for start in range(0, count, BATCH):
        ground.system.submit_many(
            [
                {
                    "type": "bench.fails",
                    "payload": {"row": row, "cause": str(cause)},
                    "tags": [f"row-{row % 1000}"],
                }
                for row in range(start, min(start + BATCH, count))
            ]
        )
    _until_handled(ground, count)


def _until_handled(ground: Ground, count: int) -> None:
    ground.until_idle()
    asked = "SELECT count(*) = $1 FROM dead_letters WHERE status = 'pending' AND handled_at IS NOT NULL"
    wait_until_sync(lambda: ground.value(asked, count), "letters are handled", PATIENCE_SECONDS, interval=0.5)


def _timed(ground: Ground, what: str, path: str, filters: dict[str, Any]) -> Row:
    if "fingerprint" in filters:
        groups = ground.system.get("/dead-letters/groups", limit=1)["items"]
        filters = {"fingerprint": groups[0]["fingerprint"]}
    took = []
    for _ in range(ASKED):
        began = time.perf_counter()
        ground.system.get(f"/dead-letters{path}", **filters)
        took.append((time.perf_counter() - began) * 1000)
    return Row(what, {name: short(value) for name, value in percentiles(took, 50, 100).items()})


def _dry_run(ground: Ground) -> Row:
    took = []
    for _ in range(ASKED):
        began = time.perf_counter()
        ground.system.post("/dead-letters/replay", {"all": True, "dry_run": True})
        took.append((time.perf_counter() - began) * 1000)
    return Row("dry run of all", {name: short(value) for name, value in percentiles(took, 50, 100).items()})


def replay(ground: Ground, window: float, *, kills: int) -> Replayed:
    """Replay all pending letters at the rate."""
    before = resident_bytes(_consumer(ground))
    began = time.monotonic()
    body = {"all": True, "rate_per_second": RATE, "reason": "measured"}
    operation = ground.system.post("/dead-letters/replay", body, expect=202)
    accepted = time.monotonic() - began
    path = f"/operations/{operation['id']}"
    deaths = [operation["matched"] * share // (kills + 1) for share in range(1, kills + 1)]
    most = before
    while (now := ground.system.get(path))["status"] == "running":
        if deaths and now["done"] >= deaths[0]:
            del deaths[0]
            os.kill(_consumer(ground), signal.SIGKILL)
        elif not deaths:
            most = max(most, resident_bytes(_consumer(ground)))
        assert time.monotonic() - began < PATIENCE_SECONDS
        time.sleep(0.25)
    rates = [row["n"] / window for row in ground.rows(_EVENNESS, operation["id"], window)] or [0.0]
    twice = ground.value(_TWICE, operation["id"])
    assert (now["status"], now["done"]) == ("done", operation["matched"]), now
    seconds = time.monotonic() - began
    return Replayed(seconds, accepted, min(rates), max(rates), before, most, now["done"], twice)


def _consumer(ground: Ground) -> int:
    pid: int = ground.system.facts()["pids"]["dlq_consumer"]
    return pid


def _row(what: str, found: Replayed, count: int) -> Row:
    assert found.done == count and found.twice == 0, found
    return Row(
        f"{count:,} letters, {what}",
        {
            "accepted within ms": short(found.accepted * 1000),
            "replayed/s": short(found.done / found.seconds),
            "least in any 10 s": short(found.least),
            "most in any 10 s": short(found.most),
            "replayed twice": found.twice,
            "MiB before": short(found.before_bytes / MIB),
            "MiB at most": short(found.most_bytes / MIB),
        },
    )
