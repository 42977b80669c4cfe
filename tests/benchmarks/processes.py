"""What the processes of a system have used, read from /proc: man 5 proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
MIB = 1024 * 1024


class Usage(NamedTuple):
    """Seconds of processor time since the start, and bytes of memory now."""

    cpu_seconds: float
    memory_bytes: int


class _Stat(NamedTuple):
    """Of one process: its parent, its own ticks, and those of the children it has waited for."""

    parent: int
    own: int
    reaped: int


def usage_of_system(pids: dict[str, Any]) -> dict[str, Usage]:
    """By the names that tables show, from the pids in `dev.json`."""
    found = dict(_stats())
    named = {name: pids[name] for name in ("api", "scheduler", "dlq_consumer", "notifier", "nats")}
    named |= {f"worker {place}": pid for place, pid in enumerate(pids["workers"], 1)}
    used = {name: Usage(_cpu_seconds(found, pid), resident_bytes(pid)) for name, pid in named.items()}
    family = list(_family(found, pids["postgres"]))
    shared = sum(_proportional_bytes(pid) for pid in family)
    return {**used, "postgres": Usage(_cpu_seconds(found, pids["postgres"]), shared)}


def resident_bytes(pid: int) -> int:
    """What a process alone holds in memory (RSS)."""
    return _kilobytes(_PROC / str(pid) / "status", "VmRSS:")


def _proportional_bytes(pid: int) -> int:
    """Its share (PSS): PostgreSQL's shared buffers, which all backends show, are to count once."""
    return _kilobytes(_PROC / str(pid) / "smaps_rollup", "Pss:")


def _cpu_seconds(found: dict[int, _Stat], pid: int) -> float:
    """Of a process and all below it. Those that have ended are in what their parents have waited for."""
    ticks = sum(found[each].own + found[each].reaped for each in _family(found, pid))
    return ticks / _TICKS_A_SECOND


def _family(found: dict[int, _Stat], pid: int) -> Iterator[int]:
    if pid in found:
        yield pid
    for child, stat in found.items():
        if stat.parent == pid:
            yield from _family(found, child)


def _stats() -> Iterator[tuple[int, _Stat]]:
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has ended meanwhile
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                own, reaped = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
                yield int(folder.name), _Stat(int(fields[1]), own, reaped)


def _kilobytes(path: Path, label: str) -> int:
    with suppress(OSError):
        for line in path.read_text().splitlines():
            if line.startswith(label):
                return int(line.split()[1]) * 1024
    return 0
