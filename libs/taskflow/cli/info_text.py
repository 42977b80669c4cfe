"""What `taskflow info` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

_STATUSES = ("scheduled", "queued", "running", "retrying")


def told(found: dict[str, Any]) -> str:
    """The whole of it as text."""
    lines = [f"{name:<24}{value or 'not installed'}" for name, value in found["versions"].items()]
    system = found["system"]
    if system is None:
        return "\n".join([*lines, "", "Of a running system: set DATABASE_URL and NATS_URL."])
    return "\n".join([*lines, "", *_postgres(system), "", *_nats(system)])


def _postgres(system: dict[str, Any]) -> Iterator[str]:
    facts = system["postgres"]
    if facts is None:
        yield f"PostgreSQL              not reached: {system['unreachable']['postgres']}"
        return
    number, applied = facts["server"]
    known = system["schema_known"]
    newest = max(applied, default=0)
    state = "up to date" if newest == known else f"this program knows {known}"
    yield f"PostgreSQL              {number}, schema {newest} ({state})"
    yield f"partitions until        {facts['ranges_end'] or 'there are none'}"
    by_version = ", ".join(
        f"{count} of version {name}" for name, count in facts["workers_by_version"].items()
    )
    yield f"live workers            {by_version or 'none'}"
    yield f"pending dead letters    {facts['dead_letters_pending']}"
    yield ""
    rows = [
        [
            queue["name"] + (" (paused)" if queue["paused"] else ""),
            *(queue["tasks"].get(status, 0) for status in _STATUSES),
            ", ".join(f"{lane} {seconds:g} s" for lane, seconds in queue["oldest_seconds"].items()) or "-",
            queue["workers"],
            f"{queue['slots_busy']} of {queue['slots']}",
        ]
        for queue in facts["queues"]
    ]
    yield from _table(["queue", *_STATUSES, "oldest queued", "workers", "slots busy"], rows)


def _nats(system: dict[str, Any]) -> Iterator[str]:
    facts = system["nats"]
    if facts is None:
        yield f"NATS                    not reached: {system['unreachable']['nats']}"
        return
    yield f"NATS                    {facts['version']}"
    yield ""
    yield from _table(["stream", "messages", "bytes", "of at most", "replicas"], [
        [each["name"], "missing", "-", "-", "-"] if each["messages"] is None else
        [each["name"], each["messages"], each["bytes"], each["bytes_max"] or "-", each["replicas"]]
        for each in facts["streams"]
    ])  # fmt: skip
    yield ""
    yield from _table(["consumer", "waiting", "delivered", "redelivered", "pulls"], [
        [f"{each['queue']} {each['priority']}", each["waiting"], each["delivered"], each["redelivered"], each["pulls"]]
        for each in facts["consumers"]
    ])  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Columns as wide as they need be; numbers to the right."""
    cells = [list(head), *([str(value) for value in row] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(head))]
    for row in cells:
        first, *others = (
            text.ljust(width) if place == 0 else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join([first, *others]).rstrip()
