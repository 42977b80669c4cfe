"""How fast `POST /api/v1/tasks` takes tasks one by one, and how much of that time is HTTP itself.

64 keep-alive connections, the next request of each once the last is answered; the queue is paused. In turn with it, on the
same cores and from the same load generator: a bare Litestar app that decodes the same JSON body and answers it, run by the
same server code. The ratio is that of the rates of each round.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.benchmarks.cell import Asked, cell
from tests.benchmarks.echo_app import PATH
from tests.benchmarks.figures import Row, Table, spreads
from tests.benchmarks.ground import Ground, running_ground, send
from tests.benchmarks.load import Answers, Orders
from tests.support.systems import ROOT
from tests.support.waiting import wait_until_sync

from taskflow.cli.dev.places import free_port

CONNECTIONS = 64
SUBMITS = 12_000
ECHOES = 24_000
BODY = '{"type":"echo","payload":{"order":12345,"customer":"c-42"},"priority":"normal"}'


@cell("Single submits")
def measure(asked: Asked) -> list[Table]:
    """Ours and the bare app, alternately."""
    with running_ground(workers=1) as ground, echo_app() as port:
        ground.pause()
        round_of(ground, port, asked.size(SUBMITS // 10), asked.size(ECHOES // 10))
        rounds = [
            round_of(ground, port, asked.size(SUBMITS), asked.size(ECHOES)) for _ in range(asked.rounds)
        ]
    return [Table("Single submits", [Row(f"{CONNECTIONS} connections", spreads(rounds))])]


def round_of(ground: Ground, port: int, submits: int, echoes: int) -> dict[str, float]:
    """One after the other, so that neither disturbs the other."""
    ours = ground.send([BODY], submits, connections=CONNECTIONS)
    orders = Orders(
        host="127.0.0.1", port=port, path=PATH, bodies=[BODY], connections=CONNECTIONS, count=echoes
    )
    bare = send(orders)
    assert bare.statuses == {"202": echoes}, bare.statuses
    rates = {"submits/s": _per_second(ours), "bare echo/s": _per_second(bare)}
    return {**rates, "submit / echo": rates["submits/s"] / rates["bare echo/s"]}


@contextmanager
def echo_app() -> Iterator[int]:
    """Run the bare app; its port."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.echo_app", str(port)], cwd=ROOT)
    try:
        wait_until_sync(lambda: _listens(port), "the echo app listens", 20)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _per_second(answers: Answers) -> float:
    return sum(answers.statuses.values()) / answers.seconds
