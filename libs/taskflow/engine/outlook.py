"""When a queued task will start, as far as its place in the queue tells: how many go before it, and how fast they start."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

AHEAD_MAX = 10_000
"""So many tasks that go before one are counted; of more it is told that there are at least as many."""
RATE_MINUTES = 5


class Line(Struct, frozen=True):
    """A task's place in its queue, and what those of the queue's workers can do that run its type.

    `starts_per_second`: of this queue in the last minutes, 0 if none; `run_seconds`: of the task's type, None if unknown.
    """

    slots: int
    busy: int
    waiting: int
    ahead: int
    starts_per_second: float = 0.0
    run_seconds: float | None = None

    @property
    def slots_free(self) -> int:
        """How many may start now."""
        return max(0, self.slots - self.busy)


class Outlook(Struct, frozen=True):
    """The place in words and in numbers."""

    words: str
    numbers: dict[str, Any]


def outlook(line: Line, *, doorbells_heard: bool = True) -> Outlook:
    """What may be told of a task's turn. Every 16th start goes to the lowest lane that waits, which is left out."""
    seconds, by = _estimate(line) if doorbells_heard else (None, "unknown: workers hear of nothing")
    at_least = line.ahead >= AHEAD_MAX
    numbers = {
        "slots": line.slots,
        "busy": min(line.busy, line.slots),
        "slots_free": line.slots_free,
        "waiting": line.waiting,
        "position": line.ahead,
        "position_is_at_least": at_least,
        "estimated_start_seconds": seconds,
        "estimated_by": by,
        "starts_per_second": round(line.starts_per_second, 3),
        "run_seconds": line.run_seconds,
    }
    before = f"{'at least ' if at_least else ''}{line.ahead} start before it"
    when = f"it may start in {seconds:.1f} s" if seconds is not None else f"when it starts is {by}"
    return Outlook(f"{before}; {when}", numbers)


def _estimate(line: Line) -> tuple[float | None, str]:
    """In how many seconds it starts, and by what that is judged."""
    if line.ahead < line.slots_free:
        return 0.0, "slots_free"
    turn = line.ahead + 1 - line.slots_free  # how many slots must become free, its own included
    if line.starts_per_second > 0:
        return round(turn / line.starts_per_second, 3), "starts_per_second"
    if line.run_seconds is not None and line.slots > 0:
        return round(turn * line.run_seconds / line.slots, 3), "run_seconds"
    return (
        None,
        f"unknown: none started in the last {RATE_MINUTES} minutes, nor is known how long its type runs",
    )
