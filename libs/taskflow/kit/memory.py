"""How much memory this process and its children hold, as Linux tells it in /proc (proc_pid_statm(5)).

https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html
"""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_RESIDENT = 1
"""Which number of `statm` counts the pages in memory."""


def resident_bytes(proc: Path = _PROC) -> int | None:
    """What is in memory of this process and all below it; pages they share count for each. None where it is not told."""
    pages, pids = 0, [os.getpid()]
    while pids:
        place = proc / str(pids.pop())
        try:
            pages += int((place / "statm").read_text().split()[_RESIDENT])
            threads = list((place / "task").iterdir())
        except (OSError, ValueError, IndexError):  # a child may have just ended
            continue
        pids += [pid for thread in threads for pid in _children(thread)]
    return pages * os.sysconf("SC_PAGE_SIZE") or None


def _children(thread: Path) -> list[int]:
    """The processes that a thread has begun; one that has just ended hides none of the others'."""
    try:
        return [int(pid) for pid in (thread / "children").read_text().split()]
    except (OSError, ValueError):
        return []
