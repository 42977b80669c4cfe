"""What an api has borrowed of a limit and not used yet."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

AHEAD_SECONDS = 0.25
SHARE_OF_LEFT = 20


class Slice(NamedTuple):
    """Permits that came together; `minute` is PostgreSQL's, `came_at` monotonic."""

    minute: int
    permits: int
    came_at: float


class Stock(Struct):
    """What this api has of a limit. Times are monotonic. Below `low` permits the next slice is asked for.

    Callers use up the oldest slices first, but only `permits` counts down: how much of a slice is left is found out
    when permits go back.
    """

    permits: int = 0
    low: int = 0
    left: int = 0
    minute: int = 0
    reset_at: float = 0.0
    asked_at: float = 0.0
    used_at: float = 0.0
    spent: int = 0
    dry_until: float = 0.0
    is_refilled: bool = False
    slices: list[Slice] = []

    def ahead(self, moment: float) -> int:
        """How many may be needed soon."""
        seconds = max(moment - self.asked_at, 0.001)
        return min(int(self.spent / seconds * AHEAD_SECONDS), self.left // SHARE_OF_LEFT)

    def restore(self, permits: int) -> None:
        """What was taken is not needed after all."""
        if permits:
            self.permits += permits
            self.slices.insert(0, Slice(self.minute, permits, self.asked_at))

    def give_up(self, before: float) -> list[Slice]:
        """Part with the permits that came before."""
        rest = self.permits
        kept: list[Slice] = []
        gone: list[Slice] = []
        for one in reversed(self.slices):
            left = one._replace(permits=min(one.permits, rest))
            rest -= left.permits
            if left.permits:
                (kept if left.came_at > before else gone).append(left)
        self.slices = kept[::-1]
        self.permits = sum(one.permits for one in kept)
        self.left += sum(one.permits for one in gone)
        return gone
