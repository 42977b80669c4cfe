"""What the parts of a worker share: who it is, and how many tasks it may still take."""

from __future__ import annotations

from taskflow.kit.ids import new_id


class Identity:
    """A worker's name, made at start; a worker whose lease was lost takes a new one. And its code's version."""

    def __init__(self, version: str) -> None:
        self.id = new_id()
        self.version = version

    def become(self, worker_id: str) -> None:
        """Be another worker from now on: one that is registered already."""
        self.id = worker_id


UNRECORDED_MAX = 5_000
"""Attempts that have ended and wait to be recorded; beyond that nothing new is claimed."""


class Slots:
    """How many handlers may run at once, and do; pushes beside them; how many attempts are held until recorded."""

    def __init__(self, total: int, push_total: int = 0) -> None:
        self.total = total
        self.push_total = push_total
        self.busy = 0
        self.pushing = 0
        self.held = 0

    @property
    def free(self) -> int:
        """How many may start now."""
        return min(self.total - self.busy, self.total + UNRECORDED_MAX - self.held)

    def ended(self, count: int) -> bool:
        """So many attempts are recorded; True if that made room."""
        full = self.free <= 0
        self.held -= count
        return full and self.free > 0
