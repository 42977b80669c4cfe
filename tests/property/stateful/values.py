"""A task with all that belongs to it as one value, and the ends an attempt can have."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

WAITING = frozenset({"scheduled", "queued", "retrying"})
LIVE = WAITING | {"running"}
ENDED = frozenset({"completed", "failed", "cancelled", "expired"})
GONE = "gone"
POISON_LOSSES = 3

When = Literal["later", "past"]
"""A time of a row, against PostgreSQL's now."""


class End(StrEnum):
    """How an attempt ends, as a worker or rescue tells it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PERMANENT = "permanent"
    UNSTORABLE = "unstorable"
    TIMED_OUT = "timed_out"
    DIED = "died"
    LOST = "lost"
    LATER = "retry_later"
    SNOOZED = "snoozed"
    RELEASED = "released"
    UNBEGUN = "released_unbegun"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Try:
    """A row of executions. `overdue`: it is open past its task's timeout and margin."""

    number: int
    life: int
    attempt: int
    status: str
    worker: str
    started_seq: int
    finished_seq: int | None
    moved_to: str
    overdue: bool = False


@dataclass(frozen=True)
class Letter:
    """A dead letter; `old`: resolved long ago."""

    life: int
    attempts: int
    reason: str
    status: str = "pending"
    old: bool = False


@dataclass(frozen=True)
class Claim:
    """A try in a worker's hands."""

    version: int
    number: int
    worker: str


@dataclass(frozen=True)
class State:
    """A task with all that belongs to it. `rung`: whether a queued task has a doorbell, as its row believes.

    `told` is its history, one word an event; it cannot be read back from one table and is compared by itself.
    """

    type: str
    lane: int
    max_attempts: int
    patient: bool
    """Whether a failed attempt waits before the next."""
    status: str
    due: When | None = None
    expiry: When | None = None
    rung: Literal["rung", "parked"] | None = None
    overdue: bool = False
    old: bool = False
    version: int = 1
    seq: int = 1
    started_seq: int = 0
    life: int = 1
    attempt: int = 0
    number: int = 0
    losses: int = 0
    snoozes: int = 0
    worker: str | None = None
    tries: tuple[Try, ...] = ()
    letters: tuple[Letter, ...] = ()
    marks: tuple[tuple[int, str], ...] = ()
    logs: tuple[int, ...] = ()
    told: tuple[str, ...] = field(default=(), compare=False)

    def letter(self, life: int) -> Letter | None:
        """The dead letter of that life."""
        return next((letter for letter in self.letters if letter.life == life), None)

    @property
    def claim(self) -> Claim:
        """The claim under which it runs."""
        assert self.status == "running" and self.worker is not None
        return Claim(self.version, self.number, self.worker)
