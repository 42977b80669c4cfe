"""How long a task waits for its handler, and its caller for the result, at a steady rate.

Single submits over HTTP at fixed distances, two workers with default settings, nothing else to do. All times are counted
from the moment the request was *meant* to be sent, so that a stall is charged to every request it delays. *Start*: until
the handler really runs, told by the handler itself (same machine, same clock). *Result*: until `POST /tasks?wait=30` has
answered with the completed task. *Refused*: answered 503; the times are those of the others.
"""

from __future__ import annotations

from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.figures import Row, Table, curve, percentiles, spreads
from tests.benchmarks.ground import Ground, first_id_now, running_ground

RATES = ((100, 15.0), (1_000, 10.0))
"""Tasks a second, and for how many seconds."""
STAMP = '{"type":"bench.stamp","payload":{due}}'
_WAITS = """
SELECT ((result::text)::float8 - (payload::text)::float8) * 1000 FROM tasks
WHERE id >= $1 AND type = 'bench.stamp' AND status = 'completed'"""


@cell("Latency")
def measure(asked: Asked) -> list[Table]:
    """Start and result at each rate."""
    table = Table("Latency", [])
    with running_ground(workers=2) as ground:
        _starts(ground, 100, 200)
        _results(ground, 100, 200)
        for rate, seconds in RATES:
            count = max(20, round(rate * asked.seconds(seconds)))
            for what, take in (("start", _starts), ("result", _results)):
                rounds = [take(ground, rate, count) for _ in range(asked.rounds)]
                figures = [
                    {**percentiles(found, 50, 90, 99, 100), "refused": count - len(found)} for found in rounds
                ]
                table.rows.append(Row(f"submit to {what} at {rate:,}/s", spreads(figures)))
                table.curves[table.rows[-1].what] = curve(value for found in rounds for value in found)
    return [table]


def _starts(ground: Ground, rate: int, count: int) -> list[float]:
    """Milliseconds until the handlers started."""
    first, finished = first_id_now(), ground.finished()
    ground.send([STAMP], count, connections=_connections(rate), rate=rate)
    ground.until_finished(finished + count)
    found = [row[0] for row in ground.rows(_WAITS, first)]
    assert len(found) == count
    return found


def _results(ground: Ground, rate: int, count: int) -> list[float]:
    """Milliseconds until the callers had the results, of those that were answered with one."""
    path = "/api/v1/tasks?wait=30"
    answers = ground.send(
        [STAMP], count, path=path, may_refuse=True, connections=_connections(rate), rate=rate
    )
    if answers.refusal:
        print(f"the first that was refused: {answers.refusal}")
    ground.until_idle()
    return answers.milliseconds


def _connections(rate: int) -> int:
    """So many callers with one request at a time; a request that finds none free waits, and that counts."""
    return max(32, rate // 4)
