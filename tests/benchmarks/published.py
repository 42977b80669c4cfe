"""Other queues, measured earlier on a like machine: two cores, PostgreSQL 18, nats-server 2.15, 20,000 no-op tasks.

Not part of any run: they stand beside ours so that the order of magnitude is seen.
"""

from __future__ import annotations

from typing import NamedTuple


class Peer(NamedTuple):
    """Drained a second by one and two processes, submitted in bulk a second, milliseconds to start at 100/s."""

    name: str
    one: int
    two: int
    bulk: int | None
    p50: float
    p99: float | None
    keeps: str | None


PEERS = (
    Peer("graphile-worker, batched preset", 16_700, 16_300, 22_000, 6.1, 33, "nothing"),
    Peer("FastStream on JetStream, batch handler", 11_100, 17_600, None, 504, 996, "nothing"),
    Peer("BullMQ 6 (Redis)", 5_800, 5_000, 8_900, 2.2, 8.9, "results in Redis"),
    Peer("PgQueuer", 5_700, 8_800, 19_400, 4.7, 16, "a log row"),
    Peer("FastStream on JetStream, one by one", 3_300, 6_400, None, 1.9, 5.5, "nothing"),
    Peer("oban-py", 1_100, 2_600, 1_100, 8.7, 33, "rows"),
    Peer("taskiq-nats", 1_100, 1_500, None, 1.7, 4.9, "results"),
    Peer("Dramatiq", 870, 1_300, 1_500, 5.9, None, None),
    Peer("pydocket", 780, 1_200, 4_600, 3.2, None, None),
    Peer("SAQ", 750, 1_200, None, 2.9, None, None),
    Peer("DBOS", 430, 650, None, 88, None, None),
    Peer("Procrastinate", 390, 440, 4_800, 6.1, None, None),
    Peer("Celery (Redis)", 360, 340, 590, 4.4, None, None),
)
HEAD = (
    "| queue | drain/s, 1 process | drain/s, 2 processes | bulk submit/s | start p50 / p99 ms at 100/s | keeps |\n"
    "|---|--:|--:|--:|--:|---|"
)


def table() -> str:
    """The table in Markdown."""
    return "\n".join([HEAD, *map(_row, PEERS)])


def _row(peer: Peer) -> str:
    bulk = f"{peer.bulk:,}" if peer.bulk else "–"
    start = f"{peer.p50:g} / {peer.p99:g}" if peer.p99 else f"{peer.p50:g} / –"
    return f"| {peer.name} | {peer.one:,} | {peer.two:,} | {bulk} | {start} | {peer.keeps or '–'} |"
