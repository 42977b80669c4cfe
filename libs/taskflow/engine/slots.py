"""What the parts of a worker share: who it is, and how many tasks it may still take."""

from __future__ import annotations

from taskflow.kit.ids import new_id


class Identity:
    """A worker's name, made at start; a worker whose lease was lost takes a new one."""

    def __init__(self) -> None:
        self.id = new_id()

    def renew(self) -> None:
        """Become another worker."""
        self.id = new_id()


class Slots:
    """How many handlers may run at once, and do."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.busy = 0

    @property
    def free(self) -> int:
        """How many may start now."""
        return self.total - self.busy
